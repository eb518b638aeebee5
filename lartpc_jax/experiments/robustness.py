"""How the inference bears faults of the detector and events that the generator seldom draws: a table of degradation."""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.build.tasks import build_image_spec
from lartpc_jax.data import detector_faults as faults, pipeline
from lartpc_jax.data.events import deposited_energy
from lartpc_jax.data.images import INTERACTION_TOLERANCE, check_views, clean_events, save_images
from lartpc_jax.experiments import infer
from lartpc_jax.files import atomic_write
from lartpc_jax.inference import chunks
from lartpc_jax.inference.errors import LARGE_ERROR_MEV, momentum_error
from lartpc_jax.units import kinetic_energy

TEXTS = {"clean": "clean events", "nuclear": "nuclear interaction",
         "noise": "noise, {0.noise:.0%} of the brightest pixel", "charge": "charge {0.charge:.0%} too large",
         "dead_wires": "{0.dead_wires:.0%} dead wires", "vertex": "vertex off by {0.vertex_px:g} pixel"}


class Sets(NamedTuple):
  """Images of every condition, one after the other."""
  images: np.ndarray          # [c n v p p]
  momentum_mev: np.ndarray    # [c n 3]


def make_sets(path: str, *, views: tuple[str, ...], spec, num: int, first_event: int, seed: int,
              sizes: faults.Faults = faults.Faults()) -> Sets:
  """`num` events in each of the conditions of TEXTS; those without nuclear interaction are the same in all but "nuclear".

  Raises:
    ValueError: if the file has fewer such events.
  """
  events = pipeline.open_events(path)
  numbers = np.arange(first_event, len(events))
  clean = numbers[clean_events(events, numbers, views=views, spec=spec)]
  kinetic = kinetic_energy(events.momentum_mev[numbers])
  nuclear = numbers[np.abs(deposited_energy(events)[numbers] - kinetic) > INTERACTION_TOLERANCE * kinetic]
  if min(len(clean), len(nuclear)) < num:
    raise ValueError(f"{path}: has {len(clean)} clean and {len(nuclear)} interacting events from number "
                     f"{first_event}; asked for {num} of each (--num_events).")
  clean, nuclear = clean[:num], nuclear[:num]
  draw = lambda chosen: pipeline.images_of(events, chosen, views=views, spec=spec)
  rng, found = np.random.default_rng(seed), {"clean": draw(clean), "nuclear": draw(nuclear)}
  found |= {name: fault(found["clean"], rng, sizes) for name, fault in faults.FAULTS.items()}
  shifts = faults.random_shifts(num, sizes.vertex_px * spec.pitch_mm, rng)
  found["vertex"] = faults.shifted_images(events, clean, shifts, views=views, spec=spec)
  chosen = {name: nuclear if name == "nuclear" else clean for name in TEXTS}
  return Sets(np.stack([found[name] for name in TEXTS]), np.stack([events.momentum_mev[chosen[name]] for name in TEXTS]))


def run(request: infer.Request, out: Path, config, vertex_config, *, vertex_start: str, setup: Callable,
        progress: Callable, stop: Callable = lambda: None, fit: bool = True, say: Callable = print) -> int | None:
  """Infers every condition, and "clean" and "vertex" with the vertex fitted; writes robustness.md. Resumable.

  Args:
    request: names sparse events, of which the first num_events that fit serve in each condition.
    out: directory.
    config: of the inference of all conditions.
    vertex_config: of the one that fits the vertex.
    vertex_start: where that one starts.
    setup: (directory, identity) -> context manager of a work directory of one identity, as `cli.hold_workdir`.
    progress: as in `infer.execute`.
    stop: the same.
    fit: False leaves the estimates that need no descent.
    say: prints a text.
  Returns:
    None, or the signal that stopped it.
  """
  views, num = check_views(request.views), request.num_events
  spec, _ = build_image_spec(request.weights)
  sets = make_sets(request.input, views=views, spec=spec, num=num, first_event=request.first_event, seed=request.seed)
  conditions = list(TEXTS)
  lines = []
  runs = [("", conditions, config, request.start), (", vertex fitted", ["clean", "vertex"], vertex_config, vertex_start)]
  for label, chosen, block, begin in runs[:1 + fit]:
    index = [conditions.index(name) for name in chosen]
    directory = out / ("fitted_vertex" if label else "known_vertex" if fit else "baselines")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "images.npz"
    # always anew, or those of other flags would be taken for these; the same flags write the same bytes, so a run goes on
    save_images(file, sets.images[index].reshape(-1, *sets.images.shape[2:]), sets.momentum_mev[index].reshape(-1, 3))
    job = infer.prepare(request._replace(input=str(file), first_event=0, num_events=None, start=begin), block)
    estimates, fields = dict(job.baselines), {}
    if fit:
      with setup(directory, job.identity):
        stopped = infer.execute(job, directory, progress=progress, stop=stop, num_pictures=0, say=lambda text: None)
      if stopped is not None:
        say(f"Stopped; the same command goes on in {directory}.")
        return stopped
      fields = chunks.load_fields(directory / "chunks", job.events, ["momentum_mev", "converged", "emd_end"],
                                  identity=job.identity)
      estimates = {"inferred": fields["momentum_mev"], **estimates}
    for i, name in enumerate(chosen):
      rows = slice(i * num, (i + 1) * num)
      errors = {who: momentum_error(p[rows], job.data.momentum_mev[rows], views) for who, p in estimates.items()}
      lines.append(row(TEXTS[name].format(faults.Faults()) + label, errors, {k: x[rows] for k, x in fields.items()}))
  text = "\n".join([*head(list(estimates)), *lines]) + "\n"
  with atomic_write(out / "robustness.md") as file:
    file.write(text)
  say(f"{num} events a row, views {','.join(views)}, start {request.start}; |dp| in MeV/c\n\n{text}\n"
      f"Wrote {out / 'robustness.md'}")
  return None


def head(names: list[str]) -> list[str]:
  """The two first lines of the table, for estimators of these names."""
  cells = ["condition", *(f"{name}: median, 95 %, above 50 (%)" for name in names)]
  cells += ["flagged, %", "above 50 of the not flagged, %", "EMD at the end, px"] if "inferred" in names else []
  return ["| " + " | ".join(cells) + " |", "|" + " --- |" * len(cells)]


def row(label: str, errors: dict[str, np.ndarray], fields: dict[str, np.ndarray]) -> str:
  """One line of the table, from |dp| [n] of each estimator, and `converged` [n] and `emd_end` [n v] of a fit."""
  wrong = lambda error: f"{100 * np.mean(~(error <= LARGE_ERROR_MEV)):.1f}" if len(error) else "-"
  cells = [label, *(f"{np.median(e):.1f}, {np.quantile(e, 0.95):.1f}, {wrong(e)}" for e in errors.values())]
  if fields:
    converged = fields["converged"].astype(bool)
    cells += [f"{100 * np.mean(~converged):.1f}", wrong(errors["inferred"][converged])]
    cells.append(f"{np.median(fields['emd_end']):.2f}")
  return "| " + " | ".join(cells) + " |"
