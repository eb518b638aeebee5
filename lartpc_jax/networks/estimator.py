"""A conditional mixture density (Bishop 1994, "Mixture density networks"): from features to Gaussians in
three numbers."""
import flax.linen as nn
import jax

# Of a component: logit of its weight, 3 means, 3 logarithms of the diagonal and 3 other entries of a Cholesky
# factor.
NUM_OUTPUTS = 10


class MixtureDensity(nn.Module):
  """features [b f] -> raw parameters [b k 10]: residual perceptron, normalised by layer; all-zero outputs at
  the start.

  Attributes:
    width: of the hidden layers.
    num_blocks: residual blocks of two layers.
    num_components: k.
  """
  width: int = 512
  num_blocks: int = 3
  num_components: int = 4

  @nn.compact
  def __call__(self, features: jax.Array) -> jax.Array:
    h = nn.Dense(self.width)(features)
    for _ in range(self.num_blocks):
      y = nn.silu(nn.Dense(self.width)(nn.LayerNorm()(h)))
      h = h + nn.Dense(self.width, kernel_init=nn.initializers.zeros)(y)
    h = nn.silu(nn.LayerNorm()(h))
    # Components must not start alike, or they stay alike.
    spread = lambda key, shape, dtype: 0.3 * jax.random.normal(key, shape, dtype)
    raw = nn.Dense(self.num_components * NUM_OUTPUTS, kernel_init=nn.initializers.zeros, bias_init=spread)(h)
    return raw.reshape(*raw.shape[:-1], self.num_components, NUM_OUTPUTS)
