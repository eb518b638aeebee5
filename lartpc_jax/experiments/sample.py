"""Draws of a model of images: a mosaic beside real ones, and their statistics against held-out ones."""
import dataclasses
from pathlib import Path

import numpy as np

from lartpc_jax.build.crops import TABLE
from lartpc_jax.config.schema import Sampler
from lartpc_jax.experiments import pixels
from lartpc_jax.experiments.generator_table import COST
from lartpc_jax.experiments.models import Model, open_model
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.files import atomic_write
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.metrics.pixels import compare, pixel_statistics
from lartpc_jax.plotting.pixel_statistics import statistics_figure
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.tables import markdown_table, write_json, write_text

HEAD = ("sample", "images", "active pixels, mean", "charge, mean MeV", "chi2/ndf active", "charge",
        "spectrum")


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to draw, and what to compare with."""
  weights: str | None = setting(
      None, "Directory of weights as launch.train writes it, or crops64: those of the package.",
      required=True)
  data: str | None = setting(None, "The file that the model was trained on; its last events were held out.")
  out: str | None = setting(None, "Directory of the results.", required=True)
  num: int = setting(5000, "Images.", lower=1)
  sampler: str = setting(Sampler.name, "Name of the sampler, see lartpc_jax.diffusion.samplers.")
  num_evaluations: int = setting(20, "Network evaluations an image, at most.", lower=2)
  uniform: bool = setting(False, "Equal steps in time instead of those of Karras et al. 2022.")
  coarse_sampler: str = setting("", "Of a cascade: NAME, NAME:EVALUATIONS or NAME:EVALUATIONS:ETA.")
  middle_sampler: str = setting("", "The same of its second stage, if it has three.")
  fine_sampler: str = setting("", "The same of its last stage.")
  cond: str = setting("", "NAME=VALUE,... for all images, numbers or names of classes; the rest is as in "
                           "training images: a cascade knows those, others take them from --data. A model "
                           "that is told nothing draws as its training data are.")
  guidance_scale: float = setting(1.0, "Of a cascade's first stage; 1 means none.")
  guide: str = setting("", "Weights of a guide, for draws by Bayes' rule: a directory or a name.")
  guide_cond: str = setting("", "What the guide asks for, NAME=VALUE,...: numbers, or names of classes.")
  guide_scale: float = setting(1.0, "Power of the guide's likelihood; 1 is Bayes' rule.")
  chunk_size: int = setting(64, "Images a device draws at once.", lower=1)
  tile: int = setting(0, "Of latent models: decode squares of so many latents at a time; 0: the whole image.",
                      lower=0)
  grid: int = setting(5000, "Images in each mosaic, at most.", lower=1)
  columns: int = setting(0, "Columns of the mosaics; 0: a square.", lower=0)
  seed: int = setting(0, "Seed of the noise.")
  core_hours: float = setting(0.0, "What training took, for weights that do not tell; 0: they tell, or it is "
                                   "not known.", lower=0.0)


def run(settings: Settings, console: Console) -> None:
  """Draws, and compares where there are real images."""
  model = open_model(settings)
  real = pixels.load_real(settings.data, model.info, 1_000_000) if settings.data else None
  with console.progress(settings.num, description="draw", unit="image") as bar:
    images, arrays, seconds = model.draw(bar.update)
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  with atomic_write(out / "images.npz", "wb") as file:
    np.savez_compressed(file, images=images[:, None], **arrays)
  _write_cost(settings, model, seconds, out)
  _draw_mosaic(settings, model, real, images, out)
  if real is None:
    console.say(f"{1e3 * seconds:.1f} ms an image\nWrote {out}/images.npz, mosaic.png")
    return
  text = _compare(model, real, images, out, seconds)
  write_text(out / "sample.md", text)
  console.say(f"{text}\nWrote {out}/images.npz, mosaic.png, statistics.png, sample.md")


def _write_cost(settings: Settings, model: Model, seconds: float, out: Path) -> None:
  """What the images cost, for the table of launch.evaluate."""
  parameters = weight_files.num_parameters(weight_files.find_weights(settings.weights), leave_out=(TABLE,))
  hours = settings.core_hours or model.info.get("cpu_seconds", 0.0) / 3600.0
  write_json(out / COST, {"model": model.label, "parameters": parameters, "core_hours": hours,
                          "ms_an_image": 1e3 * seconds, "images": settings.num})


def _draw_mosaic(settings: Settings, model: Model, real: pixels.RealImages | None, images: np.ndarray,
                 out: Path) -> None:
  count = min(settings.grid, settings.num, *([] if real is None else [len(real.holdout)]))
  columns = settings.columns or int(np.ceil(count**0.5))
  shown = {} if real is None else {"held-out": real.holdout[:count]}
  shown[f"generated, {model.label}"] = images
  inches = max(5.0, 0.3 * columns)
  save_figure(mosaics(shown, num_columns=columns, max_images=count, inches=inches), out / "mosaic.png",
              dpi=max(110, int(np.ceil(columns * (images.shape[1] + 1) / inches))))  # no pixel is lost


def _compare(model: Model, real: pixels.RealImages, images: np.ndarray, out: Path, seconds: float) -> str:
  """Draws the statistics, and returns the table."""
  cut = {"threshold_mev": pixels.threshold_of(model.info)}
  samples = {"generated": images, "training": real.training[:len(images)]}
  chi2 = {name: compare(real.holdout, x, **cut) for name, x in samples.items()}
  samples = {name: pixel_statistics(x, **cut) for name, x in samples.items()}
  held = pixel_statistics(real.holdout, **cut)
  save_figure(statistics_figure(held, samples, chi2), out / "statistics.png")

  def row(label, sample, cells):
    return [label, len(sample.active), f"{sample.active.mean():.1f}",
            f"{sample.charge.mean():.1f}", *cells]

  rows = [row("held-out", held, ["", "", ""])]
  rows += [row(name, sample, pixels.chi2_cells(chi2[name])) for name, sample in samples.items()]
  return (f"{model.info['step']} training steps, {model.label}, {1e3 * seconds:.1f} ms an image, "
          f"{len(real.holdout)} held-out images\n\n{markdown_table(HEAD, rows)}")
