"""Likelihood of images under a trained model: of an unconditional diffusion by its probability-flow ODE, of
codes and sequences of pixels exactly; nats and bits per dimension."""
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import lartpc_jax
from lartpc_jax.build.generators import build_generator
from lartpc_jax.diffusion.likelihood import bits_per_dim, log_likelihood
from lartpc_jax.diffusion.sde import alpha_std
from lartpc_jax.diffusion.time_grids import karras_grid
from lartpc_jax.experiments import chunks, pixels
from lartpc_jax.experiments.models import KEYED
from lartpc_jax.experiments.protocol import Console, exit_code, setting
from lartpc_jax.experiments.samples import load_images, name_columns
from lartpc_jax.experiments.targets import describe_images
from lartpc_jax.generators.generator import Generator, state_score
from lartpc_jax.keys import root_key
from lartpc_jax.metrics.estimate import mean_estimate
from lartpc_jax.tables import markdown_table, write_json, write_text

HEAD = ("images", "number", "nats an image", "bits a dimension")
MARGIN = 0.99  # of the noise at t = 1, for the largest one of the grid between


@dataclasses.dataclass(frozen=True)
class Settings:
  """Which model, and which images."""
  weights: str = setting("crops64",
                         "Directory of weights as launch.train writes it, or crops64: those of the package.")
  data: str | None = setting(None,
                             "The file that the model was trained on: its held-out and its training images.")
  input: tuple[str, ...] = setting((),
                                   "Files of images, as for launch.evaluate; NAME=FILE gives a row a name.")
  num: int = setting(64, "Images a row, at most.", lower=2)
  num_steps: int = setting(32, "Runge-Kutta steps of the flow.", lower=2)
  num_probes: int = setting(1, "Probes of the divergence.", lower=1)
  sigma_min: float = setting(0.02, "Noise that images are seen with, in units of the state.", lower=1e-4)
  level_mev: float = setting(0.02, "MeV of one grey level, for 8-bit files of --input.")
  chunk_size: int = setting(8, "Images at once.", lower=1)
  out: str | None = setting(None, "Directory of the results.", required=True)
  seed: int = setting(0, "Seed of the noise and the probes.")


def run(settings: Settings, console: Console) -> int:
  """Computes what the directory lacks, prints the table and writes likelihood.md and likelihood.json."""
  if not (settings.data or settings.input):
    raise ValueError("Give --data or --input; --help says what they may be.")
  density = _open(settings)
  info = density.info
  rows = _images(settings, info)
  identity = {name: value for name, value in dataclasses.asdict(settings).items()
              if name not in ("weights", "data", "input", "out", "chunk_size")}
  identity |= {"weights": info["sha256"], "version": lartpc_jax.__version__,
               "images": {name: describe_images(images) for name, images in rows.items()}}
  nats_of = jax.jit(density.nats)
  with console.workdir(settings.out, identity) as out:
    found = {}
    for name, images in rows.items():
      nats = _in_chunks(_make_compute(nats_of, images, settings), len(images), name, identity, out, settings,
                        console)
      if isinstance(nats, int):
        console.say("Stopped; what is finished is saved. The same command goes on.")
        return exit_code(nats)
      found[name] = nats
    _report(settings, found, density, out, console)
  return 0


class _Density(NamedTuple):
  """How likely a model finds images."""
  nats: Callable   # (images [b h w] MeV, keys [b]) -> [b]
  info: dict       # JSON of the weights
  num_dims: int
  note: str        # what the numbers are of


def _open(settings: Settings) -> _Density:
  """Of a diffusion by its flow, of codes and sequences exactly. Raises ValueError for a model without."""
  for holds, build, label in KEYED.values():
    if holds(settings.weights):
      model, info = build(settings.weights)
      if model.nats is None:
        raise ValueError(f"--weights={settings.weights} ({label}) has no likelihood.")
      return _Density(lambda images, keys, model=model: model.nats(images), info, int(np.prod(info["shape"])),
                      f"Exact probability, without a condition, of what the model draws ({label}): codes, or "
                      "lit pixels with a bin of charge; nats are of the image, bits of each of its pixels.")
  generator, info, _ = build_generator(settings.weights)
  num_dims = int(np.prod(generator.codec.state_shape))
  nats = make_nats(generator, num_steps=settings.num_steps, num_probes=settings.num_probes,
                   sigma_min=settings.sigma_min)
  return _Density(nats, info, num_dims,
                  f"Density of states of {num_dims} dimensions with noise {settings.sigma_min:g}, in units "
                  f"of the state; {settings.num_steps} steps, {settings.num_probes} probes.")


def _in_chunks(compute: Callable, num: int, name: str, identity: dict, out: Path, settings: Settings,
               console: Console
               ) -> np.ndarray | int:
  """nats [n] of the images of one row, or the signal that stopped it."""
  numbers, directory = np.arange(num), out / name / "chunks"
  stopped = chunks.run_with_progress(console, name, compute, numbers, directory=directory, unit="image",
                                     stride=settings.chunk_size, identity=identity)
  if stopped is not None:
    return stopped
  return chunks.load_fields(directory, numbers, ["nats"], identity=identity)["nats"]


def _images(settings: Settings, info: dict) -> dict[str, np.ndarray]:
  """Name -> images [n h w] in MeV, cut at the threshold of the model."""
  rows = {}
  if settings.data:
    real = pixels.load_real(settings.data, info, settings.num)
    rows = {"held-out": real.holdout, "training": real.training}
  for name, path in name_columns(settings.input).items():
    if name in rows:
      raise ValueError(f"A row of --input is called {name!r}, as one of --data; give it another name: "
                       f"NAME={path}.")
    loaded = load_images(path, threshold_mev=pixels.threshold_of(info), level_mev=settings.level_mev)
    rows[name] = loaded.values[:settings.num]
  return rows


def make_nats(generator: Generator, *, num_steps: int, num_probes: int, sigma_min: float) -> Callable:
  """Builds nats(images [b h w] in MeV, keys [b]) -> [b], the log density of their noised states.

  Images hold exact zeros, of which the density is not finite. So the state of each gets noise of standard
  deviation sigma_min (a draw of its own), and the density is that of such noised states, in units of the
  state (normalised pixels, or latents).
  Values of different models compare where their states are in the same units.

  Args:
    generator: the model, without a condition.
    num_steps: Runge-Kutta steps from sigma_min to the prior.
    num_probes: of the Hutchinson estimator.
    sigma_min: noise over signal at the end of the flow.
  Raises:
    ValueError: if the generator takes a condition, or the grid or the number of probes is not allowed.
  """
  if generator.condition.variables:
    raise ValueError("The likelihood is of generators without a condition; this one is asked for "
                     f"{sorted(generator.condition.variables)}.")
  sde = generator.denoiser.sde
  alpha, std = (float(x[0]) for x in alpha_std(sde, jnp.ones(1)))
  grid = karras_grid(sde, num_steps, sigma_min=sigma_min, sigma_max=MARGIN * std / alpha)
  times = np.concatenate([[1.0], grid[1:]])
  logp = log_likelihood(sde, times, num_probes=num_probes)

  def nats(images: Float[Array, "b h w"], keys: Array) -> Float[Array, " b"]:
    states = generator.codec.encode(images, None)
    signal, noise = alpha_std(sde, jnp.full(len(images), times[-1], states.dtype))
    score_fn = state_score(generator.denoiser)

    def one(state, signal, noise, key):
      key_noise, key_probes = jax.random.split(key)
      seen = signal * state + noise * jax.random.normal(key_noise, state.shape, state.dtype)
      return logp(score_fn, seen[None], key_probes)[0]
    return jax.vmap(one)(states, signal, noise, keys)
  return nats


def _make_compute(nats_of: Callable, images: np.ndarray, settings: Settings) -> Callable:
  """Numbers of images -> their nats, for `chunks.run_chunks`; a key for each, so chunks do not matter."""
  root = root_key(settings.seed)

  def compute(numbers: np.ndarray) -> dict[str, np.ndarray]:
    padded = np.resize(numbers, settings.chunk_size)
    keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.clone(root), number))(jnp.asarray(padded))
    return {"nats": np.asarray(nats_of(jnp.asarray(images[padded]), keys))[:len(numbers)]}
  return compute


def _report(settings: Settings, found: dict[str, np.ndarray], density: _Density, out: Path,
            console: Console) -> None:
  rows, content = [], {}
  for name, nats in found.items():
    bits = np.asarray(bits_per_dim(jnp.asarray(nats), density.num_dims))
    estimates = {"nats": mean_estimate(nats), "bits_per_dim": mean_estimate(bits)}
    rows.append((name, len(nats),
                 *(f"{x.value:.{d}f} +- {x.error:.{d}f}" for x, d in zip(estimates.values(), (1, 4)))))
    content[name] = {"num": len(nats), **estimates, "nats_an_image": nats}
  table = markdown_table(HEAD, rows)
  write_text(out / "likelihood.md", f"{table}\n\n{density.note}")
  write_json(out / "likelihood.json", {"settings": settings, "num_dims": density.num_dims, "rows": content})
  console.say(f"{table}\n\n{density.note}\nWrote {out}/likelihood.md, likelihood.json")
