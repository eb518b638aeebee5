"""All that inference sees of a generator: how it is called, for which views, with which noise.

`generate(noise, cond, pose=None)` is that of `generators.generator.make_generate`, its condition a momentum.
"""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.geometry.rasterize import to_view

NOISES = ("paired", "independent", "by_track")


class Imager(NamedTuple):
  """A generator of images of single tracks, as functions and numbers."""
  generate: Callable       # (noise [n h w c], cond, pose=) -> images [n p p] or [n m p p], MeV; descent
  generate_fast: Callable  # the same with fewer sampler steps, one image a draw; candidates of the screening
  latent_shape: tuple[int, int, int]      # (h, w, c) of the noise
  num_pixels: int                         # p
  kinetic_range_mev: tuple[float, float]  # energies that it was trained on


def generate_views(generate: Callable, noise: Float[Array, "*r v k h w c"], momentum_mev: Float[Array, "b 3"],
                   views: tuple[str, ...], vertex_mm: Float[Array, "b 3"] | None = None,
                   told: Mapping[str, Array] | None = None) -> Float[Array, "b v mk n n"]:
  """Images of each momentum in each view for each noise draw, in one call of `generate`.

  Draws are shared by the batch; with a leading axis of r, momentum i sees those of row i mod r. A `generate`
  that returns m images a draw ([n m n n], see `make_generate`) gives m k of them. Momentum and vertex are
  seen by it in the frame of the view; a vertex at another place than the middle is its pose. `told` are
  further variables of the condition, [b] a value for each momentum.
  """
  b, rows = momentum_mev.shape[0], noise.reshape(-1, *noise.shape[-5:])
  r, v, k = rows.shape[:3]
  in_views = lambda x: jnp.stack([to_view(x, view) for view in views], axis=1)         # [b v 3]
  repeated = lambda x: jnp.broadcast_to(in_views(x)[:, :, None, :], (b, v, k, 3)).reshape(-1, 3)
  draws = jnp.broadcast_to(rows[None], (b // r, *rows.shape)).reshape(-1, *rows.shape[3:])
  pose = {} if vertex_mm is None else {"pose": repeated(vertex_mm)}
  further = {name: jnp.broadcast_to(x[:, None, None], (b, v, k)).reshape(-1)
             for name, x in (told or {}).items()}
  images = generate(draws, {"momentum_mev": repeated(momentum_mev), **further}, **pose)
  return images.reshape(b, v, -1, *images.shape[-2:])


def sum_tracks(images: Float[Array, "bt v k n n"], num_tracks: int) -> Float[Array, "b v k n n"]:
  """Images of events from those of their tracks, `num_tracks` in a row."""
  return images if num_tracks == 1 else images.reshape(-1, num_tracks, *images.shape[1:]).sum(1)


def antithetic_noise(key: Array, num_views: int, num_draws: int, shape: tuple[int, ...]
                     ) -> Float[Array, "v k h w c"]:
  """Fixed draws for the objective, in pairs z, -z (Hammersley & Morton 1956).

  To first order in z a pair scatters a track to both sides alike, so few draws do not pull the momentum to
  one side. The two of a pair are neighbours: the first 2 m draws are m pairs.
  """
  half = jax.random.normal(key, (num_views, -(-num_draws // 2), *shape))
  return jnp.stack([half, -half], axis=2).reshape(num_views, -1, *shape)[:, :num_draws]


def make_noise(kind: str, *, num_views: int, shape: tuple[int, ...], num_tracks: int = 1) -> Callable:
  """Builds noise(key, num_draws) -> [v k h w c], or [t v k h w c] of tracks that scatter independently.

  Args:
    kind: "paired" (z, -z), "independent", or "by_track": paired, with a key for each track.
    num_views: v.
    shape: (h, w, c).
    num_tracks: t.
  Raises:
    ValueError: naming a kind that is unknown, or that several tracks would share.
  """
  if kind not in NOISES:
    raise ValueError(f"Unknown noise {kind!r}; choose from {NOISES}.")
  if num_tracks > 1 and kind != "by_track":
    raise ValueError(f"{num_tracks} tracks need noise 'by_track': they scatter independently; got {kind!r}.")
  if kind == "independent":
    return lambda key, num_draws: jax.random.normal(key, (num_views, num_draws, *shape))
  paired = lambda key, num_draws: antithetic_noise(key, num_views, num_draws, shape)
  if kind == "paired":
    return paired
  return lambda key, num_draws: jax.vmap(lambda k: paired(k, num_draws))(jax.random.split(key, num_tracks))
