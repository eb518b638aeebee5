"""Small scores of points in the plane, trained: what sliced and denoising score matching learn of data on a
thin set."""
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lartpc_jax.config.schema import Optim
from lartpc_jax.diffusion import losses
from lartpc_jax.diffusion.sde import batch_mul
from lartpc_jax.diffusion.toy import Mixture, draw_points
from lartpc_jax.train.optimizer import make_optimizer
from lartpc_jax.train.state import init_train_state
from lartpc_jax.train.step import make_train_step

FEATURES = 128


def init_mlp(key, num_inputs: int, num_outputs: int) -> list[dict]:
  """Parameters of a perceptron with two hidden layers, He et al. 2015 initialisation."""
  sizes = (num_inputs, FEATURES, FEATURES, num_outputs)
  keys = jax.random.split(key, len(sizes) - 1)
  return [{"kernel": jax.random.normal(k, (a, b)) * (2.0 / a) ** 0.5, "bias": jnp.zeros(b)}
          for k, a, b in zip(keys, sizes[:-1], sizes[1:])]


def apply_mlp(params: list[dict], x: jax.Array) -> jax.Array:
  """[n i] -> [n o]."""
  for layer in params[:-1]:
    x = jax.nn.silu(x @ layer["kernel"] + layer["bias"][None])
  return x @ params[-1]["kernel"] + params[-1]["bias"][None]


def fit_toy_score(mixture: Mixture, key, *, sigmas: tuple[float, ...] = (), num_steps: int = 2000,
                  batch_size: int = 256, learning_rate: float = 3e-3) -> Callable:
  """Trains score_fn(x [n 2], sigma [n]) on draws of the mixture.

  Without `sigmas` by sliced score matching on the bare points (sigma is ignored); with them by denoising
  score matching at those noise levels (Song & Ermon 2019, eq. 6), where the network is told log sigma and
  gives sigma times the score.
  """
  key_init, key_data, key_train = jax.random.split(key, 3)
  levels = jnp.asarray(sigmas, jnp.float32)

  def score_of(params):
    if not sigmas:
      return lambda x, sigma=None: apply_mlp(params, x)
    return lambda x, sigma: batch_mul(1.0 / sigma, apply_mlp(params, jnp.concatenate(
        [x / jnp.sqrt(1.0 + sigma**2)[:, None], jnp.log(sigma)[:, None]], axis=-1)))

  def loss_fn(params, batch, key):
    if sigmas:
      return losses.ncsn_score_matching(score_of(params), batch, key, sigmas=levels)[0].mean(), {}
    return losses.sliced_score_matching(score_of(params), batch, key, num_probes=2).mean(), {}

  optim = Optim(learning_rate, warmup_steps=min(50, num_steps), schedule="cosine", b2=0.999)
  tx = make_optimizer(optim, num_steps)
  state = init_train_state(init_mlp(key_init, 3 if sigmas else 2, 2), tx)
  step_fn = make_train_step(loss_fn, tx, ema_decay=0.99)

  def step(state, key_batch):
    return step_fn(state, draw_points(key_batch, mixture, batch_size), key_train)[0], None

  run = jax.jit(lambda state, keys: jax.lax.scan(step, state, keys)[0])
  state = run(state, jax.random.split(key_data, num_steps))
  return score_of(state.ema_params)
