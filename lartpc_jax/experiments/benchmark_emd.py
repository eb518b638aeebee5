"""Time and accuracy of the distances in `transport.emd` on curved toy tracks, as a Markdown table."""
import dataclasses
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.inference.selection import dropped_charge
from lartpc_jax.tables import markdown_table
from lartpc_jax.transport import emd
from lartpc_jax.transport.exact import exact_emd

HEAD = ("form", "ms/pair", "median error", "90 %", "mean, px", "turn derivative")
LARGE_HEAD = ("brightest pixels", "charge left out", "CPU ms/pair", "temporaries, MB", "mean error")
LARGE_LIT = 1_000   # lit pixels of a large image
LARGE_PAIRS = 4     # compared one by one
TURN_RAD = 0.02  # half step of the finite differences


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many pairs, and how often."""
  num_pairs: int = setting(128, "Image pairs in a batch.", lower=2)
  num_dense_pairs: int = setting(2, "Pairs for the dense forms, one after another.", lower=1)
  repeats: int = setting(5, "Runs, of which the median counts.", lower=1)
  seed: int = setting(0, "Seed of the toy tracks.")
  large: int = setting(0, "Side of images with 1,000 lit pixels, by which only the number of compared pixels "
                       "is measured; 0: the toy tracks.", lower=0)


class Exact(NamedTuple):
  """What the rows are compared with: exact distances of the pairs, and their slopes as an image of each
  turns.
  """
  exact: np.ndarray    # [n] px
  tangent: np.ndarray  # [n 64 64] change of the image with the angle, MeV a radian
  slope: np.ndarray    # [n] px a radian


def run(settings: Settings, console: Console) -> None:
  """Measures every form and prints the table."""
  if settings.large:
    console.say(markdown_table(LARGE_HEAD, _large(settings)))
    return
  a, b, minus, plus = _toy_pairs(np.random.default_rng(settings.seed), settings.num_pairs)
  exact_emd(a[0], b[0])   # imports POT
  start = time.perf_counter()
  exact = np.array([exact_emd(x, y) for x, y in zip(a, b, strict=True)])
  seconds = time.perf_counter() - start
  slope = [exact_emd(x, z) - exact_emd(y, z) for x, y, z in zip(plus, minus, b, strict=True)]
  truth = Exact(exact, (plus - minus) / (2.0 * TURN_RAD), np.array(slope) / (2.0 * TURN_RAD))
  console.say(f"{len(a)} pairs, {jax.devices()[0].device_kind}, {np.sum(a > 0) / len(a):.0f} active pixels; "
              f"exact W1 {exact.min():.2f} to {exact.max():.2f} px, median {np.median(exact):.2f}\n")
  rows = [("POT, loop, value only", f"{1e3 * seconds / len(a):.2f}", 0, 0, 0, 0)]
  console.say(markdown_table(HEAD, rows))
  for row in (*_compared(settings, a, b, truth), *_dense(settings, a, b, truth)):
    console.say(markdown_table(HEAD, [row]).splitlines()[-1])


def _compared(settings: Settings, a: np.ndarray, b: np.ndarray, truth: Exact) -> Iterator[tuple]:
  """Rows of our own forms, all pairs at once."""
  for name, knobs in (("DESCENT", emd.DESCENT), ("REPORTING", emd.REPORTING)):
    distance = emd.make_emd(**knobs)
    target = jax.jit(jax.vmap(distance.prepare_target))(b)
    f = jax.jit(jax.vmap(jax.value_and_grad(lambda x, y, d=distance: d.emd_to_target(x, y).value)))
    (value, gradient), seconds = _timed(lambda f=f, target=target: f(jnp.asarray(a), target),
                                        settings.repeats)
    yield _row(f"{name}, vmap", seconds, value, gradient, truth)


def _large(settings: Settings) -> Iterator[tuple]:
  """Rows of DESCENT on large images, value and gradient, by the number of pixels that it compares."""
  draw = np.random.default_rng(settings.seed)
  a, b = (np.stack([_blob(draw, settings.large) for _ in range(LARGE_PAIRS)]) for _ in range(2))
  exact = np.array([exact_emd(x, y) for x, y in zip(a, b, strict=True)])
  for number in (64, 256, 1024):
    distance = emd.make_emd(**{**emd.DESCENT, "num_pixels": number})
    value_and_grad = jax.value_and_grad(lambda x, y, d=distance: d.emd(x, y).value)
    one_by_one = lambda x, y, one=value_and_grad: jax.lax.map(lambda pair: one(*pair), (x, y))
    f = jax.jit(one_by_one).lower(a, b).compile()
    (value, _), seconds = _timed(lambda f=f: f(a, b), settings.repeats, clock=time.process_time)
    yield (number, f"{100 * dropped_charge(a[:, None], number).mean():.1f} %",
           f"{1e3 * seconds / LARGE_PAIRS:.1f}", f"{f.memory_analysis().temp_size_in_bytes / 1e6:.0f}",
           f"{100 * np.abs(np.asarray(value) / exact - 1.0).mean():.1f} %")


def _blob(draw: np.random.Generator, size: int) -> np.ndarray:
  """Image [size size]: LARGE_LIT pixels about a random middle, exponential in charge."""
  image = np.zeros(size**2, np.float32)
  middle = draw.uniform(0.4 * size, 0.6 * size, 2)
  place = np.clip(draw.normal(middle, 0.1 * size, (20 * LARGE_LIT, 2)), 0, size - 1).astype(int)
  lit = np.unique(place[:, 0] * size + place[:, 1])
  image[draw.permutation(lit)[:LARGE_LIT]] = draw.exponential(size=LARGE_LIT)
  return image.reshape(size, size)


def _dense(settings: Settings, a: np.ndarray, b: np.ndarray, truth: Exact) -> Iterator[tuple]:
  """Rows of ott's own form, of a few pairs one by one."""
  few = np.linspace(0, len(a) - 1, settings.num_dense_pairs + 2).astype(int)[1:-1]
  for num_pixels, ot_epsilon_px, repeats in ((128, 0.5, settings.repeats), (128, 0.1, 1), (4096, 0.5, 1)):
    f = jax.jit(jax.value_and_grad(lambda x, y, k=num_pixels, e=ot_epsilon_px: _ott_dense(x, y, k, e)))
    select = few if num_pixels < 4096 else few[:1]
    dense = [(jnp.asarray(a[i]), jnp.asarray(b[i])) for i in select]
    pairs, seconds = _timed(lambda f=f, dense=dense: [f(*pair) for pair in dense], repeats)
    value, gradient = zip(*pairs, strict=True)
    yield _row(f"ott 4096 x {num_pixels}, eps {ot_epsilon_px} px ({len(select)} pairs)", seconds, value,
               gradient,
               Exact(*(x[select] for x in truth)))


def _row(name: str, seconds: float, value, gradient, truth: Exact) -> tuple:
  error = np.abs(np.asarray(value) - truth.exact)
  median, tail = (100 * np.percentile(error / truth.exact, level) for level in (50, 90))
  along = np.sum(np.asarray(gradient) * truth.tangent, axis=(1, 2))
  turn = 100 * np.linalg.norm(along - truth.slope) / np.linalg.norm(truth.slope)
  return (name, f"{1e3 * seconds / len(error):.2f}", f"{median:.1f} %", f"{tail:.1f} %",
          f"{error.mean():.3f}",
          f"{turn:.1f} %")


def _toy_track(angle, curvature, length, offset, num_points=200):
  """Image [64 64], MeV: a stopping track of `length` px, smeared by 0.45 px, below 0.01 MeV exactly zero."""
  s = (np.arange(num_points) + 0.5) / num_points * length
  heading = angle + curvature * s
  step = length / num_points
  points = 32.0 + offset + step * np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=-1), axis=0)
  energy = step * 2.0 * (1.0 + (length - s))**-0.45 * 3.0   # rises towards the stopping point
  row, column = (np.exp(-0.5 * ((np.arange(64) - points[:, i, None]) / 0.45)**2) for i in (0, 1))
  row, column = row / row.sum(axis=1, keepdims=True), column / column.sum(axis=1, keepdims=True)
  image = np.einsum("n,nr,nc->rc", energy, row, column)
  return np.where(image > 0.01, image, 0.0).astype(np.float32)


def _toy_pairs(rng, num_pairs):
  """Images a, b [n 64 64] with W1 of 0.2 to 10 px, and a turned by -TURN_RAD and +TURN_RAD."""
  a, b, minus, plus = [], [], [], []
  for size in np.geomspace(0.3, 10.0, num_pairs):
    angle, curvature, length = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.02), rng.uniform(8, 26)
    direction = rng.normal(size=2)
    offset = 0.7 * size * direction / np.linalg.norm(direction)
    turned = angle + rng.choice([-1, 1]) * size / length
    for images, change in ((a, 0.0), (minus, -TURN_RAD), (plus, TURN_RAD)):
      images.append(_toy_track(angle + change, curvature, length, np.zeros(2)))
    b.append(_toy_track(turned, rng.normal(0, 0.02), length * rng.uniform(0.95, 1.05), offset))
  return tuple(np.stack(images) for images in (a, b, minus, plus))


def _timed(function, repeats, *, clock=time.perf_counter):
  """Result and median seconds of function() by a clock, after one call to compile."""
  result = jax.block_until_ready(function())
  seconds = []
  for _ in range(repeats):
    start = clock()
    jax.block_until_ready(function())
    seconds.append(clock() - start)
  return result, float(np.median(seconds))


def _ott_dense(image, target, num_pixels, ot_epsilon_px):
  """ott's own form: 4096 x num_pixels, log domain, to convergence; the entropic cost, not debiased."""
  from ott.geometry import costs, pointcloud
  from ott.solvers import linear
  from ott.solvers.linear import acceleration
  grid = jnp.stack(jnp.divmod(jnp.arange(image.size), image.shape[1]), axis=-1).astype(image.dtype)
  index = jax.lax.top_k(target.reshape(-1), num_pixels)[1]
  weights = image.reshape(-1) + 1e-8, target.reshape(-1)[index] + 1e-8   # exact zeros give NaN gradients
  a, b = (w / w.sum() for w in weights)
  geom = pointcloud.PointCloud(grid, grid[index], cost_fn=costs.Euclidean(), epsilon=ot_epsilon_px)
  momentum = acceleration.Momentum(start=20, value=1.5)
  return linear.solve(geom, a, b, threshold=1e-3, momentum=momentum).reg_ot_cost
