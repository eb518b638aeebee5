r"""Draws from an unconditional model: images.npz, a mosaic beside real images, and their statistics against held-out ones.

python -m launch.sample --weights=crops64 --num=100 --out=runs/sample
python -m launch.sample --weights=runs/crops/weights --data=lartpc_crops_geant4.npz --num=5000 --out=runs/sample
python -m launch.sample --weights=runs/crops/weights --data=lartpc_crops_geant4.npz --num=64 --sampler=euler_maruyama \
    --num_evaluations=1000 --uniform --out=runs/published

python -m launch.sample --weights=runs/events512_ldm/weights --data=lartpc_events_geant4.npz --num=500 --grid=9 \
    --chunk_size=16 --out=runs/events512_sample

python -m launch.sample --weights=runs/fine/weights --cond=track_share=1,charge_mev=100 --num=64 --out=runs/tracks

images.npz holds `images` (N,1,n,n) in MeV; of a cascade also the conditions that were asked for. A cascade has two stages,
with samplers of their own (--coarse_sampler, --fine_sampler; else those of its weights). Real against real (as many
training images) stands beside every chi-squared. Without --data there is nothing to compare with: images and mosaic alone.
"""
import sys
from pathlib import Path

import numpy as np
from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("weights", None, "Directory of weights as launch.train writes it, or crops64: those of the package.",
                    required=True)
flags.DEFINE_string("data", None, "The file that the model was trained on; its last events were held out.")
flags.DEFINE_string("out", None, "Directory of the results.", required=True)
flags.DEFINE_integer("num", 5000, "Images.", lower_bound=1)
flags.DEFINE_string("sampler", "dpm_solver_pp_2m", "Name of the sampler, see lartpc_jax.diffusion.samplers.")
flags.DEFINE_integer("num_evaluations", 20, "Network evaluations an image, at most.", lower_bound=2)
flags.DEFINE_bool("uniform", False, "Equal steps in time instead of those of Karras et al. 2022.")
flags.DEFINE_string("coarse_sampler", "", "Of a cascade: NAME, NAME:EVALUATIONS or NAME:EVALUATIONS:ETA.")
flags.DEFINE_string("fine_sampler", "", "The same of its second stage.")
flags.DEFINE_string("cond", "", "Of a cascade: NAME=NUMBER,... for all images; the rest is as in training images.")
flags.DEFINE_float("guidance_scale", 1.0, "Of a cascade's first stage; 1 means none.")
flags.DEFINE_integer("chunk_size", 64, "Images a device draws at once.", lower_bound=1)
flags.DEFINE_integer("tile", 0, "Of latent models: decode squares of so many latents at a time; 0: the whole image.",
                     lower_bound=0)
flags.DEFINE_integer("grid", 5000, "Images in each mosaic, at most.", lower_bound=1)
flags.DEFINE_integer("columns", 0, "Columns of the mosaics; 0: a square.", lower_bound=0)
flags.DEFINE_integer("seed", 0, "Seed of the noise.")


def open_model(f):
  """(draw(update) -> images [n h w] MeV, arrays to save beside them, seconds an image), JSON of the weights, label."""
  from lartpc_jax.build import cascade as builders
  from lartpc_jax.build.generators import build_generator
  from lartpc_jax.experiments import cascades, pixels
  common = dict(seed=f.seed, chunk_size=min(f.chunk_size, f.num))
  if not builders.is_cascade(f.weights):
    generator, info, _ = build_generator(f.weights, tile=f.tile)

    def draw(update):
      images, seconds = pixels.draw_images(generator, f.num, update=update, name=f.sampler, uniform=f.uniform,
                                           num_evaluations=f.num_evaluations, **common)
      return images, {}, seconds
    return draw, info, f"{f.sampler}, {f.num_evaluations} evaluations"
  cascade, info = builders.build_cascade(f.weights)
  changed = {name: cascades.parse_sampler(text) if (text := f[f"{name}_sampler"].value) else {} for name in builders.STAGES}
  samplers = builders.build_cascade_samplers(cascade, info, **changed)
  asked = cascades.parse_condition(f.cond)
  draw = lambda update: cascades.draw_images(cascade, samplers, f.num, update=update, asked=asked,
                                             guidance_scale=f.guidance_scale, **common)
  knobs = [{**info[name]["sampler"], **changed[name]} for name in builders.STAGES]
  label = " and ".join(f"{x['name']} {x['num_evaluations']} evaluations" for x in knobs)
  return draw, info["fine"], label


def main(argv) -> int:
  del argv
  from lartpc_jax.experiments import pixels
  from lartpc_jax.experiments.pictures import save_figure
  from lartpc_jax.metrics.pixels import compare, pixel_statistics
  from lartpc_jax.plotting.pixel_statistics import statistics_figure
  from lartpc_jax.plotting.pixels import mosaics
  f = flags.FLAGS
  draw, info, label = open_model(f)
  real = pixels.load_real(f.data, info, 1_000_000) if f.data else None
  with cli.progress_bar(f.num, description="draw", unit="image") as bar:
    images, arrays, seconds = draw(bar.update)
  out = Path(f.out)
  out.mkdir(parents=True, exist_ok=True)
  with cli.atomic_write(out / "images.npz", "wb") as file:
    np.savez_compressed(file, images=images[:, None], **arrays)
  count = min(f.grid, f.num) if real is None else min(f.grid, f.num, len(real.holdout))
  columns = f.columns or int(np.ceil(count**0.5))
  shown = {} if real is None else {"held-out": real.holdout[:count]}
  shown[f"generated, {label}"] = images
  inches = max(5.0, 0.3 * columns)
  save_figure(mosaics(shown, num_columns=columns, max_images=count, inches=inches), out / "mosaic.png",
              dpi=max(110, int(np.ceil(columns * (images.shape[1] + 1) / inches))))  # no pixel is lost
  if real is None:
    print(f"{1e3 * seconds:.1f} ms an image\nWrote {out}/images.npz, mosaic.png")
    return 0
  cut = {"threshold_mev": pixels.threshold_of(info)}
  samples = {"generated": images, "training": real.training[:len(images)]}
  chi2 = {name: compare(real.holdout, x, **cut) for name, x in samples.items()}
  samples = {name: pixel_statistics(x, **cut) for name, x in samples.items()}
  held = pixel_statistics(real.holdout, **cut)
  save_figure(statistics_figure(held, samples, chi2), out / "statistics.png")
  lines = [f"{info['step']} training steps, {label}, {1e3 * seconds:.1f} ms an image, "
           f"{len(real.holdout)} held-out images", "",
           "| sample | images | active pixels, mean | charge, mean MeV | chi2/ndf active | charge | spectrum |",
           "|" + " --- |" * 7]
  for label, sample, cells in [("held-out", held, ["", "", ""])] + [
      (name, samples[name], pixels.chi2_cells(chi2[name])) for name in samples]:
    lines.append(f"| {label} | {len(sample.active)} | {sample.active.mean():.1f} | {sample.charge.mean():.1f} | "
                 + " | ".join(cells) + " |")
  with cli.atomic_write(out / "sample.md") as file:
    file.write("\n".join(lines) + "\n")
  print("\n".join(lines) + f"\nWrote {out}/images.npz, mosaic.png, statistics.png, sample.md")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
