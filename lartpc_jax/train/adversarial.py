"""Training task of a generator against a discriminator: both losses in one step, each with its own
parameters.

One backward pass gives both gradients: the discriminator's loss sees the generated states as constants, the
generator's sees the discriminator as constant. The two are stepped at once, by optimisers of their own
(`train.optimizer`, `optim.other`).
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.config.schema import GanLoss
from lartpc_jax.generators.gan import gan_noise, state_of
from lartpc_jax.generators.sparse_state import GapScale
from lartpc_jax.networks.api import GanNetwork
from lartpc_jax.train.task import Drawn, Task

softplus = jax.nn.softplus


def non_saturating(real: Float[Array, " b"], fake: Float[Array, " b"]) -> tuple[Array, Array]:
  """Losses [b] of generator and discriminator from logits (Goodfellow et al. 2014, sec. 3)."""
  return softplus(-fake), softplus(-real) + softplus(fake)


def relativistic(real: Float[Array, " b"], fake: Float[Array, " b"]) -> tuple[Array, Array]:
  """Losses [b] of pairs: each generated state against a real one (Huang et al. 2024, eq. 2, f =
  -softplus(-t))."""
  return softplus(real - fake), softplus(fake - real)


LOSSES = {"non_saturating": non_saturating, "relativistic": relativistic}


def gradient_penalty(judge: Callable, x: Float[Array, "b h w c"]) -> Float[Array, " b"]:
  """Squared norm [b] of the gradient of judge(x) [b] in x: R1 at real states, R2 at generated ones (Mescheder
  et al. 2018, eq. 9 and 10, without gamma / 2). The judge must see each state by itself."""
  slope = jax.grad(lambda x: judge(x).sum())(x)
  return jnp.sum(slope**2, axis=(1, 2, 3))


def adversarial_losses(network: GanNetwork, params: dict, state: Float[Array, "b h w 1"],
                       features: Float[Array, "b f"], noise, *, gap: GapScale, loss: GanLoss
                       ) -> tuple[Array, dict]:
  """Sum of the mean losses, of which each part has a gradient in its own parameters alone, and metrics.

  Args:
    network: the pair.
    params: of both, and moments.
    state: of real images.
    features: their conditions, which the generated ones share.
    noise: `generators.gan.GanNoise` of as many images.
    gap: what a state means.
    loss: see the schema.
  Returns:
    Loss, and metrics with "assigned": the averaged moments of batch norm, for `train.step`.
  """
  raw, moments = network.generate_training({**params, "discriminator": {}}, noise.latent, noise.pixels,
                                           features)
  fake = state_of(raw, gap)
  constant, weights = jax.lax.stop_gradient, params["discriminator"]
  seen = lambda weights, x: network.judge(weights, x, features)
  of_generator = LOSSES[loss.name](seen(constant(weights), state), seen(constant(weights), fake))[0].mean()
  real, judged = seen(weights, state), seen(weights, constant(fake))
  of_discriminator = LOSSES[loss.name](real, judged)[1].mean()
  metrics = {"generator_loss": of_generator, "discriminator_loss": of_discriminator,
             "real_logit": real.mean(), "generated_logit": judged.mean(),
             "generated_lit": jnp.mean(fake > 0.5 * gap.faintest / gap.scale)}
  total = of_generator + of_discriminator
  if loss.gamma:
    num = max(1, round(loss.penalty_share * len(state)))
    judge = lambda x: network.judge(weights, x, features[:num])
    r1, r2 = (gradient_penalty(judge, x[:num]).mean() for x in (state, constant(fake)))
    metrics |= {"r1": r1, "r2": r2}
    total += 0.5 * loss.gamma * (r1 + r2)
  return total, {**metrics, "assigned": {"batch_stats": constant(moments)}}


def adversarial_task(network: GanNetwork, drawn: Drawn, *, gap: GapScale, encode: Callable,
                     batch_fn: Callable, latent: int, side: int, loss: GanLoss) -> Task:
  """Task of a pair of networks.

  Args:
    network: the pair.
    drawn: how it draws, and what is made of that.
    gap: what a state means.
    encode: batch -> state [b h w 1], features [b f].
    batch_fn: step -> batch.
    latent: length of the noise vector.
    side: pixels a side.
    loss: see the schema.
  Raises:
    ValueError: naming an unknown loss, or a share out of range.
  """
  if loss.name not in LOSSES:
    raise ValueError(f"Unknown loss.name {loss.name!r}; choose from {sorted(LOSSES)}.")
  if not (loss.gamma >= 0.0 and 0.0 < loss.penalty_share <= 1.0):
    raise ValueError("Need loss.gamma >= 0 and 0 < loss.penalty_share <= 1; got "
                     f"{loss.gamma} and {loss.penalty_share}.")

  def loss_fn(params, batch, key):
    state, features = encode(batch)
    noise = gan_noise(jax.random.split(key, len(state)), latent, side)
    return adversarial_losses(network, params, state, features, noise, gap=gap, loss=loss)

  return Task(init=network.init, loss_fn=loss_fn, batch_fn=batch_fn,
              evaluate=lambda params, key: drawn.compare(drawn.draws(params, key)),
              draw=lambda params, key: drawn.figure(drawn.draws(params, key)), export=drawn.export)
