"""Images with dead pixels or noise, completed by a generator: several draws of each, mean and spread."""
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lartpc_jax
from lartpc_jax.data.images import open_images
from lartpc_jax.data.masks import dead_pixels
from lartpc_jax.experiments import chunks
from lartpc_jax.experiments.painters import Painter, draw_many, open_painter
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, exit_code, setting
from lartpc_jax.experiments.targets import describe_images
from lartpc_jax.files import atomic_write
from lartpc_jax.keys import root_key
from lartpc_jax.metrics.recovered import Recovered, recovered
from lartpc_jax.plotting.inpainting import inpainting_figure
from lartpc_jax.tables import markdown_table, write_json, write_text

HEAD = ("images", "charge, drawn over true", "relative error of an image", "truth in the central 68 %",
        "width, MeV", "error, MeV")
FIELDS = ("draws", "seen", "given")


@dataclasses.dataclass(frozen=True)
class Settings:
  """Which images, what of them is missing, and how it is drawn."""
  input: str | None = setting(None, "File of events or images, as for launch.infer.", required=True)
  mask: str | None = setting(None, "Dead pixels: columns=28:36, rows=28:36, wires=0.1, a .npy or .npz file "
                             "(1 is dead); several with ; between them.", required=True)
  weights: str | None = setting(None, "Weights: a directory or a name; default: protons64.")
  cond: str = setting("unknown", "What is known of each image: unknown; truth, as the file has it; or "
                      "NAME=VALUE,... for all.")
  noise_mev: float = setting(0.0, "Noise of each pixel that is seen, MeV.", lower=0.0)
  whole: bool = setting(True, "The images are whole: mask and noise are laid over them here, and draws are "
                        "compared with what they hid. --nowhole: they have both already.")
  num_draws: int = setting(16, "Draws an image.", lower=2)
  num_events: int | None = setting(None, "Number of images; default: to the end of the file.", lower=1)
  first_event: int = setting(0, "Number of the first one.", lower=0)
  min_missing_mev: float = setting(5.0, "Charge behind the mask from which an image counts in the table.",
                                   lower=0.001)
  covariance: str = setting("moments", "Spread of clean states given noisy ones: see "
                            "lartpc_jax.diffusion.inverse.", choices=("moments", "unit", "none"))
  num_iterations: int = setting(2, "Conjugate gradients a step.", lower=1)
  floor: float = setting(0.05, "Error of the decoder, in roots of MeV (of pixel models: in their states).",
                         lower=1e-4)
  inflation: float = setting(0.5, "Of latent models: what is seen counts less while the noise is high, see "
                             "lartpc_jax.diffusion.inverse.", lower=0.0)
  sampler: str = setting("dpm_solver_pp_2m", "Name of the sampler.")
  num_steps: int = setting(10, "Steps of it.", lower=1)
  out: str | None = setting(None, "Directory of the results.", required=True)
  chunk_size: int = setting(4, "Images a device works on at once, with all draws of each.", lower=1)
  num_pictures: int = setting(8, "Images in the picture.", lower=1)
  seed: int = setting(0, "Seed of masks, noise and draws.")


class Job(NamedTuple):
  """What is to be computed."""
  numbers: np.ndarray       # [n] of the images in their file
  images: np.ndarray        # [n h w] MeV, as the file has them
  seen: np.ndarray          # [n h w] float32: 1 where a pixel is alive
  given: np.ndarray         # [n h w] MeV, what the draws are told: 0 where dead
  cond: dict | None
  painter: Painter
  identity: dict


def run(settings: Settings, console: Console) -> int:
  """Draws what the directory lacks; prints and writes the table, inpaint.npz, inpaint.json and a picture."""
  job = prepare(settings)
  with console.workdir(settings.out, job.identity) as out:
    directory = out / "chunks"
    stopped = chunks.run_with_progress(console, "inpaint", _make_compute(settings, job), job.numbers,
                                       directory=directory, stride=settings.chunk_size, unit="image",
                                       identity=job.identity)
    if stopped is not None:
      console.say("Stopped; what is finished is saved. The same command goes on.")
      return exit_code(stopped)
    _report(settings, job, chunks.load_fields(directory, job.numbers, FIELDS, identity=job.identity), out,
            console)
  return 0


def prepare(settings: Settings) -> Job:
  """Reads and checks everything. Raises OSError or ValueError naming the flag, file or key that is wrong."""
  painter = open_painter(settings)
  spec = painter.spec
  data = open_images(settings.input, views=("xy",), spec=spec, first=settings.first_event,
                     num=settings.num_events)
  images = np.asarray(data.images[:, 0], np.float32)
  if not np.isfinite(images).all():
    bad = settings.first_event + int(np.flatnonzero(~np.isfinite(images).all((1, 2)))[0])
    raise ValueError(f"{settings.input}: image {bad} holds NaN or infinity.")
  numbers = settings.first_event + np.arange(len(images))
  seen = (~dead_pixels(settings.mask, spec.num_pixels, numbers, seed=settings.seed)).astype(np.float32)
  given = images * seen
  if settings.whole and settings.noise_mev:
    noise = np.stack([np.random.default_rng((settings.seed, 1, int(i))).normal(size=images.shape[1:])
                      for i in numbers])
    given = ((images + settings.noise_mev * noise) * seen).astype(np.float32)
  given = np.maximum(given, 0.0)  # charge transforms know no negative charge
  cond = painter.conditions(data, len(images))
  identity = {name: value for name, value in dataclasses.asdict(settings).items() if name not in (
      "input", "weights", "out", "chunk_size", "num_pictures", "min_missing_mev", "num_events",
      "first_event")}
  identity |= {"weights": painter.digests, "version": lartpc_jax.__version__,
               "images": describe_images(given)}
  return Job(numbers, images, seen, given, cond, painter, identity)


def _make_compute(settings: Settings, job: Job) -> Callable:
  """Numbers of images -> their draws, for `chunks.run_chunks`; a key for each, so chunks do not matter."""
  draw = draw_many(job.painter, settings.num_draws)

  def compute(numbers: np.ndarray) -> dict[str, np.ndarray]:
    rows = np.resize(np.searchsorted(job.numbers, numbers), settings.chunk_size)
    root = root_key(settings.seed)
    keys = jax.vmap(lambda number: jax.random.fold_in(root, number))(jnp.asarray(job.numbers[rows]))
    drawn = draw(keys, job.given[rows], job.seen[rows], jax.tree.map(lambda x: x[rows], job.cond))
    kept = slice(len(numbers))
    return {"draws": np.asarray(drawn, np.float16)[kept], "seen": job.seen[rows][kept].astype(bool),
            "given": job.given[rows][kept]}
  return compute


def _report(settings: Settings, job: Job, found: dict, out: Path, console: Console) -> None:
  draws = found["draws"].astype(np.float32)
  hidden = 1.0 - job.seen
  missing = (draws * hidden[:, None]).sum((2, 3))
  mean, spread = draws.mean(1), draws.std(1, ddof=1)
  arrays = {"event": job.numbers, "images": draws[:, :1], "mean": mean, "spread": spread,
            "dead": hidden.astype(bool), "missing_mev": missing}
  truth = (job.images * hidden).sum((1, 2))
  with atomic_write(out / "inpaint.npz", "wb") as file:
    np.savez_compressed(file, **arrays, **({"true_missing_mev": truth} if settings.whole else {}))
  few = slice(min(settings.num_pictures, len(draws)))
  figure = inpainting_figure(job.images[few] if settings.whole else None, found["given"][few], hidden[few],
                             draws[few], mean[few], spread[few])
  paths = [out / "inpaint.npz", save_figure(figure, out / "inpaint.png")]
  text = f"{len(draws)} images, {settings.num_draws} draws of each"
  if settings.whole:
    counted = truth >= settings.min_missing_mev
    if counted.any() and settings.num_draws >= 6:
      result = recovered(missing[counted], truth[counted])
      text = markdown_table(HEAD, [_row(result)])
      paths.append(write_json(out / "inpaint.json", {"settings": settings, "result": result}))
    else:
      text += (f"; no table: {counted.sum()} of them hide {settings.min_missing_mev:g} MeV, and an interval "
               "needs six draws")
  paths.append(write_text(out / "inpaint.md", text))
  console.say(f"{text}\nWrote {', '.join(map(str, paths))}")


def _row(result: Recovered) -> list[str]:
  shown = lambda x: f"{x.value:.3f} +- {x.error:.3f}"
  return [str(result.num_events), shown(result.charge_ratio), shown(result.relative_error),
          shown(result.coverage), f"{result.width_mev:.2f}", f"{result.error_mev:.2f}"]
