"""How the inference bears faults of the detector and events that the generator seldom draws: a table of
degradation.
"""
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.build import inference as config_inference
from lartpc_jax.build.generators import build_generator
from lartpc_jax.data import detector_faults as faults, pictures
from lartpc_jax.data.events import deposited_energy
from lartpc_jax.data.image_files import save_images
from lartpc_jax.data.images import INTERACTION_TOLERANCE, check_views, clean_events
from lartpc_jax.data.open import open_events
from lartpc_jax.experiments import chunks, infer
from lartpc_jax.experiments.protocol import STARTS, Console, DescentSettings, exit_code, setting, settings_as
from lartpc_jax.inference.errors import LARGE_ERROR_MEV, momentum_error
from lartpc_jax.tables import markdown_table, write_text
from lartpc_jax.units import kinetic_energy

TEXTS = {"clean": "clean events", "nuclear": "nuclear interaction",
         "noise": "noise, {0.noise:.0%} of the brightest pixel", "charge": "charge {0.charge:.0%} too large",
         "dead_wires": "{0.dead_wires:.0%} dead wires", "vertex": "vertex off by {0.vertex_px:g} pixel"}


@dataclasses.dataclass(frozen=True)
class Settings(DescentSettings):
  """What to infer in every condition."""
  input: str = setting("sample", 'File of sparse events, or "sample".')
  num_events: int = setting(32, "Events a row.", lower=1)
  vertex_start: str = setting("classical", "The same where the vertex is fitted.", choices=STARTS)
  vertex_variant: str = setting("vertex", "Variant of configs/protons64_infer.py that fits the vertex.")
  fit: bool = setting(True, "Descend; otherwise the classical and the amortised estimates alone.")
  seed: int = setting(0, "Seed of faults, candidates and noise.")


class Sets(NamedTuple):
  """Images of every condition, one after the other."""
  images: np.ndarray          # [c n v p p]
  momentum_mev: np.ndarray    # [c n 3]


def make_sets(path: str, *, views: tuple[str, ...], spec, num: int, first_event: int, seed: int,
              sizes: faults.Faults = faults.Faults()) -> Sets:
  """`num` events in each of the conditions of TEXTS; those without nuclear interaction are the same in all
  but "nuclear".

  Raises:
    ValueError: if the file has fewer such events.
  """
  events = open_events(path)
  numbers = np.arange(first_event, len(events))
  clean = numbers[clean_events(events, numbers, views=views, spec=spec)]
  kinetic = kinetic_energy(events.momentum_mev[numbers])
  nuclear = numbers[np.abs(deposited_energy(events)[numbers] - kinetic) > INTERACTION_TOLERANCE * kinetic]
  if min(len(clean), len(nuclear)) < num:
    raise ValueError(f"{path}: has {len(clean)} clean and {len(nuclear)} interacting events from number "
                     f"{first_event}; asked for {num} of each (--num_events).")
  clean, nuclear = clean[:num], nuclear[:num]
  draw = lambda chosen: pictures.images_of(events, chosen, views=views, spec=spec)
  rng, found = np.random.default_rng(seed), {"clean": draw(clean), "nuclear": draw(nuclear)}
  found |= {name: fault(found["clean"], rng, sizes) for name, fault in faults.FAULTS.items()}
  shifts = faults.random_shifts(num, sizes.vertex_px * spec.pitch_mm, rng)
  found["vertex"] = faults.shifted_images(events, clean, shifts, views=views, spec=spec)
  chosen = {name: nuclear if name == "nuclear" else clean for name in TEXTS}
  return Sets(np.stack([found[name] for name in TEXTS]),
              np.stack([events.momentum_mev[chosen[name]] for name in TEXTS]))


def run(settings: Settings, config: Mapping, vertex_config: Mapping, console: Console) -> int:
  """Infers every condition, and "clean" and "vertex" with the vertex fitted; writes robustness.md. Resumable.

  Args:
    settings: the first num_events that fit serve in each condition.
    config: of the inference of all conditions.
    vertex_config: of the one that fits the vertex.
    console: what it reports to; asked after each chunk whether to stop.
  """
  views, num, fit, out = check_views(settings.views), settings.num_events, settings.fit, Path(settings.out)
  spec = build_generator(settings.weights).generator.spec
  sets = make_sets(settings.input, views=views, spec=spec, num=num, first_event=settings.first_event,
                   seed=settings.seed)
  conditions = list(TEXTS)
  lines = []
  runs = [("", conditions, config, settings.start),
          (", vertex fitted", ["clean", "vertex"], vertex_config, settings.vertex_start)]
  for label, chosen, block, begin in runs[:1 + fit]:
    index = [conditions.index(name) for name in chosen]
    directory = out / ("fitted_vertex" if label else "known_vertex" if fit else "baselines")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "images.npz"
    # always anew, or those of other flags would be taken for these; the same flags write the same bytes, so a
    # run goes on
    save_images(file, sets.images[index].reshape(-1, *sets.images.shape[2:]),
                sets.momentum_mev[index].reshape(-1, 3))
    job = infer.prepare(settings_as(infer.Settings, settings, input=str(file), first_event=0, num_events=None,
                                    start=begin,
                                    num_pictures=0), _with_number(block))
    estimates, fields = dict(job.baselines), {}
    if fit:
      with console.workdir(directory, job.identity):
        stopped = infer.execute(job, directory, console._replace(say=lambda text: None))
      if stopped is not None:
        console.say(f"Stopped; the same command goes on in {directory}.")
        return exit_code(stopped)
      fields = chunks.load_fields(directory / "chunks", job.events, ["momentum_mev", "converged", "emd_end"],
                                  identity=job.identity)
      estimates = {"inferred": fields["momentum_mev"], **estimates}
    for i, name in enumerate(chosen):
      rows = slice(i * num, (i + 1) * num)
      errors = {who: momentum_error(p[rows], job.data.momentum_mev[rows], views)
                for who, p in estimates.items()}
      lines.append(row(TEXTS[name].format(faults.Faults()) + label, errors,
                       {k: x[rows] for k, x in fields.items()}))
  text = markdown_table(head(list(estimates)), lines) + "\n"
  write_text(out / "robustness.md", text)
  console.say(f"{num} events a row, views {','.join(views)}, start {settings.start}; |dp| in "
              f"MeV/c\n\n{text}\n"
              f"Wrote {out / 'robustness.md'}")
  return 0


def _with_number(config: Mapping) -> dict:
  """The inference config with the number of pixels that its distance compares by default.

  All conditions share it, and it must not follow the images: noise lights every pixel of some.
  """
  config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
  number = config_inference.seen_pixels(config)
  return config if number is None else {**config, "distance": {**config["distance"], "num_pixels": number}}


def head(names: list[str]) -> list[str]:
  """The cells above the table, for estimators of these names."""
  cells = ["condition", *(f"{name}: median, 95 %, above 50 (%)" for name in names)]
  return cells + (["flagged, %", "above 50 of the not flagged, %", "EMD at the end, px"]
                  if "inferred" in names else [])


def row(label: str, errors: dict[str, np.ndarray], fields: dict[str, np.ndarray]) -> list[str]:
  """Cells of one line, from |dp| [n] of each estimator, and `converged` [n] and `emd_end` [n v] of a fit."""
  wrong = lambda error: f"{100 * np.mean(~(error <= LARGE_ERROR_MEV)):.1f}" if len(error) else "-"
  cells = [label, *(f"{np.median(e):.1f}, {np.quantile(e, 0.95):.1f}, {wrong(e)}" for e in errors.values())]
  if fields:
    converged = fields["converged"].astype(bool)
    cells += [f"{100 * np.mean(~converged):.1f}", wrong(errors["inferred"][converged])]
    cells.append(f"{np.median(fields['emd_end']):.2f}")
  return cells
