r"""Sampler x network evaluations x quality x time of a trained pixel model, as a Markdown table.

python -m launch.benchmark_samplers --weights=runs/crops/weights --data=lartpc_crops_geant4.npz --num=256 --out=runs/samplers

Quality: two-sample chi2/ndf against all held-out crops of active pixels, total charge and pixel spectrum; the first rows are
as many real (training) images. The last row is the published setting, 1000 uniform steps of Euler-Maruyama. The network is
compiled once and the steps run one by one, so times include a little overhead. The same command again does what is missing.
"""
import json
import sys
from pathlib import Path

from absl import flags

from lartpc_jax import cli
from lartpc_jax.files import write_json

flags.DEFINE_string("weights", None, "Directory of weights as launch.train writes it, or crops64: those of the package.",
                    required=True)
flags.DEFINE_string("data", None, "The crops that the model was trained on; its last events were held out.", required=True)
flags.DEFINE_string("out", None, "Directory of the table.", required=True)
flags.DEFINE_integer("num", 256, "Images a row.", lower_bound=2)
flags.DEFINE_integer("num_published", 64, "Images of the row with 1000 evaluations.", lower_bound=0)
flags.DEFINE_list("samplers", ["dpm_solver_pp_2m", "ddim", "heun", "sde_dpm_solver_pp_2m", "ancestral", "euler_maruyama",
                               "predictor_corrector"], "Samplers.")
flags.DEFINE_list("evaluations", ["5", "10", "20", "50", "100", "200"], "Network evaluations.")
flags.DEFINE_integer("chunk_size", 64, "Images a device draws at once.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of the noise.")
COLUMNS = ("sampler", "evaluations", "images", "active pixels", "charge, MeV", "chi2/ndf active", "charge", "spectrum",
           "ms an image")


def key_of(name: str, evaluations: int) -> str:
  """What tells lines of the table apart."""
  return f"{name} {evaluations}"


def row_of(name, evaluations, images, chi2, seconds) -> dict:
  """One line of the table."""
  from lartpc_jax.metrics.pixels import pixel_statistics
  statistics = pixel_statistics(images)
  cells = [f"{statistics.active.mean():.1f}", f"{statistics.charge.mean():.1f}",
           *(f"{chi2[key].reduced:.2f}" for key in ("active", "charge", "spectrum")),
           "" if seconds is None else f"{1e3 * seconds:.0f}"]
  return {"key": key_of(name, evaluations), "cells": [name, str(evaluations), str(len(images)), *cells]}


def main(argv) -> int:
  del argv
  from lartpc_jax.build.images import build_image_diffusion
  from lartpc_jax.experiments import pixels
  from lartpc_jax.metrics.pixels import compare
  f = flags.FLAGS
  diffusion, info = build_image_diffusion(f.weights)
  jobs = [(name, int(n), f.num, False) for n in f.evaluations for name in f.samplers]
  jobs += [("euler_maruyama", 1000, f.num_published, True)] if f.num_published else []
  real = pixels.load_real(f.data, info, 1_000_000)
  out = Path(f.out)
  out.mkdir(parents=True, exist_ok=True)
  cache = out / "rows.json"
  identity = {"weights": info["sha256"], "seed": f.seed, "num": f.num, "num_published": f.num_published}
  saved = json.loads(cache.read_text()) if cache.exists() else {}
  rows = saved["rows"] if saved.get("identity") == identity else []
  done = {row["key"] for row in rows}
  if not rows:
    rows += [row_of("real", n, real.training[:n], compare(real.holdout, real.training[:n]), None)
             for n in sorted({f.num, f.num_published} - {0})]
  chunk = min(f.chunk_size, f.num)
  compiled = pixels.compile_network(diffusion, chunk)
  for name, evaluations, num, uniform in jobs:
    if key_of(name, evaluations) in done:
      continue
    try:
      images, seconds = pixels.draw_images(compiled, num, seed=f.seed, chunk_size=chunk, one_by_one=True, name=name,
                                           num_evaluations=evaluations, uniform=uniform)
    except ValueError as error:
      print(f"Left out {name} with {evaluations} evaluations: {error}", flush=True)
      continue
    rows.append(row_of(name, evaluations, images, compare(real.holdout, images), seconds))
    print("| " + " | ".join(rows[-1]["cells"]) + " |", flush=True)
    write_json(cache, {"identity": identity, "rows": rows})
  lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
  lines += ["| " + " | ".join(row["cells"]) + " |" for row in rows]
  with cli.atomic_write(out / "samplers.md") as file:
    file.write("\n".join(lines) + "\n")
  print("\n".join(["", f"{len(real.holdout)} held-out images, {cli.device_summary()}", *lines, f"Wrote {out}/samplers.md"]))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
