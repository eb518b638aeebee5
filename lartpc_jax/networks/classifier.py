"""A small convolutional classifier of charge images, to tell two samples apart or classes."""
import flax.linen as nn
import jax
import jax.numpy as jnp

from lartpc_jax.networks.blocks import space_to_depth


class ImageClassifier(nn.Module):
  """y [b h w 1] -> logit [b], or logits [b c] of classes: space-to-depth stem, strided residual convolutions,
  mean and maximum over pixels."""
  features: int = 32
  num_strides: int = 2
  stem: int = 4
  num_classes: int = 1  # 1: one logit an image

  @nn.compact
  def __call__(self, y: jax.Array) -> jax.Array:
    h = nn.relu(nn.Conv(self.features, (3, 3))(space_to_depth(y, self.stem)))
    for level in range(self.num_strides + 1):
      width = self.features * 2**level
      if level:
        h = nn.relu(nn.Conv(width, (3, 3), strides=2)(h))
      # no normalisation: it would hide how much charge there is
      h = h + nn.Conv(width, (3, 3))(nn.relu(h))
    pooled = jnp.concatenate([h.mean((1, 2)), h.max((1, 2)), y.sum((1, 2)) / 100.0], axis=-1)
    logits = nn.Dense(self.num_classes)(nn.relu(nn.Dense(64)(pooled)))
    return logits[:, 0] if self.num_classes == 1 else logits
