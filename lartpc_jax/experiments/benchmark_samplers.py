"""Sampler x network evaluations x quality x time of a trained pixel model, as a Markdown table."""
import dataclasses
import json
from pathlib import Path

from lartpc_jax.build.generators import build_generator
from lartpc_jax.experiments import pixels
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.metrics.pixels import compare, pixel_statistics
from lartpc_jax.parallel import device_summary
from lartpc_jax.tables import markdown_table, write_json, write_text

COLUMNS = ("sampler", "evaluations", "images", "active pixels", "charge, MeV", "chi2/ndf active", "charge",
           "spectrum",
           "ms an image")
PUBLISHED = ("euler_maruyama", 1000)  # with uniform steps


@dataclasses.dataclass(frozen=True)
class Settings:
  """Which samplers to run with how many evaluations."""
  weights: str | None = setting(
      None, "Directory of weights as launch.train writes it, or crops64: those of the package.",
      required=True)
  data: str | None = setting(None, "The crops that the model was trained on; its last events were held out.",
                             required=True)
  out: str | None = setting(None, "Directory of the table.", required=True)
  num: int = setting(256, "Images a row.", lower=2)
  num_published: int = setting(64, "Images of the row with 1000 evaluations.", lower=0)
  samplers: tuple[str, ...] = setting(("dpm_solver_pp_2m", "ddim", "heun", "sde_dpm_solver_pp_2m",
                                       "ancestral",
                                       "euler_maruyama", "predictor_corrector"), "Samplers.")
  evaluations: tuple[str, ...] = setting(("5", "10", "20", "50", "100", "200"), "Network evaluations.")
  chunk_size: int = setting(64, "Images a device draws at once.", lower=1)
  seed: int = setting(0, "Seed of the noise.")


def run(settings: Settings, console: Console) -> None:
  """Measures what rows.json of an earlier run lacks, and writes the table."""
  generator, info, _ = build_generator(settings.weights)
  real = pixels.load_real(settings.data, info, 1_000_000)
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  identity = {"weights": info["sha256"], "seed": settings.seed, "num": settings.num,
              "num_published": settings.num_published}
  saved = json.loads((out / "rows.json").read_text(encoding="utf-8")) if (out / "rows.json").exists() else {}
  rows = saved["rows"] if saved.get("identity") == identity else []
  if not rows:
    rows += [_row("real", n, real.training[:n], compare(real.holdout, real.training[:n]), None)
             for n in sorted({settings.num, settings.num_published} - {0})]
  done, chunk = {row["key"] for row in rows}, min(settings.chunk_size, settings.num)
  compiled = pixels.compile_network(generator, chunk)
  jobs = [(name, int(n), settings.num, False) for n in settings.evaluations for name in settings.samplers]
  jobs += [(*PUBLISHED, settings.num_published, True)] if settings.num_published else []
  for name, evaluations, num, uniform in jobs:
    if _key(name, evaluations) in done:
      continue
    try:
      images, seconds = pixels.draw_images(compiled, num, seed=settings.seed, chunk_size=chunk,
                                           one_by_one=True, name=name,
                                           num_evaluations=evaluations, uniform=uniform)
    except ValueError as error:
      console.say(f"Left out {name} with {evaluations} evaluations: {error}")
      continue
    rows.append(_row(name, evaluations, images, compare(real.holdout, images), seconds))
    console.say("| " + " | ".join(rows[-1]["cells"]) + " |")
    write_json(out / "rows.json", {"identity": identity, "rows": rows})
  table = markdown_table(COLUMNS, [row["cells"] for row in rows])
  write_text(out / "samplers.md", table)
  console.say(f"\n{len(real.holdout)} held-out images, {device_summary()}\n{table}\nWrote {out}/samplers.md")


def _key(name: str, evaluations: int) -> str:
  """What tells lines of the table apart."""
  return f"{name} {evaluations}"


def _row(name: str, evaluations: int, images, chi2: dict, seconds: float | None) -> dict:
  """One line of the table."""
  statistics = pixel_statistics(images)
  cells = [f"{statistics.active.mean():.1f}", f"{statistics.charge.mean():.1f}",
           *(f"{chi2[key].reduced:.2f}" for key in ("active", "charge", "spectrum")),
           "" if seconds is None else f"{1e3 * seconds:.0f}"]
  return {"key": _key(name, evaluations), "cells": [name, str(evaluations), str(len(images)), *cells]}
