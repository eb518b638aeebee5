"""How the inference bears faults of the detector and events that the generator seldom draws: a table of degradation."""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.config import build_image_spec
from lartpc_jax.data import detector_faults as faults, pipeline
from lartpc_jax.data.events import deposited_energy
from lartpc_jax.data.images import INTERACTION_TOLERANCE, check_views, clean_events, save_images
from lartpc_jax.files import atomic_write
from lartpc_jax.inference import chunks
from lartpc_jax.inference.errors import LARGE_ERROR_MEV, momentum_error
from lartpc_jax.runs import infer
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


def run(path: str, out: Path, config, vertex_config, *, views: tuple[str, ...], num: int, first_event: int, start: str,
        weights: str | None, chunk_size: int, seed: int, setup: Callable, progress: Callable, stop: Callable = lambda: None,
        say: Callable = print) -> int | None:
  """Infers every condition, and "clean" and "vertex" with the vertex fitted; writes robustness.md. Resumable.

  `setup(directory, identity)` makes a work directory of one identity, as `cli.setup_workdir`; for the rest see
  `infer.Request` and `infer.execute`.

  Returns:
    None, or the signal that stopped it.
  """
  views = check_views(views)
  spec, _ = build_image_spec(weights)
  sets = make_sets(path, views=views, spec=spec, num=num, first_event=first_event, seed=seed)
  conditions = list(TEXTS)
  lines = []
  for label, chosen, block in (("", conditions, config), (", vertex fitted", ["clean", "vertex"], vertex_config)):
    index = [conditions.index(name) for name in chosen]
    directory = out / ("fitted_vertex" if label else "known_vertex")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "images.npz"
    if not file.exists():
      save_images(file, sets.images[index].reshape(-1, *sets.images.shape[2:]), sets.momentum_mev[index].reshape(-1, 3))
    request = infer.Request(str(file), views, weights=weights, start=start, chunk_size=chunk_size, seed=seed)
    job = infer.prepare(request, block)
    stopped = infer.execute(job, setup(directory, job.identity), progress=progress, stop=stop, num_pictures=0,
                            say=lambda text: None)
    if stopped is not None:
      say(f"Stopped; the same command goes on in {directory}.")
      return stopped
    fields = chunks.load_fields(directory / "chunks", job.events, ["momentum_mev", "converged", "emd_end"])
    for i, name in enumerate(chosen):
      rows = slice(i * num, (i + 1) * num)
      estimates = {"inferred": fields["momentum_mev"], **job.baselines}
      errors = {who: momentum_error(p[rows], job.data.momentum_mev[rows], views) for who, p in estimates.items()}
      lines.append(row(TEXTS[name].format(faults.Faults()) + label, errors, fields["converged"][rows].astype(bool),
                       fields["emd_end"][rows]))
  text = "\n".join([HEAD, "|" + " --- |" * (HEAD.count("|") - 1), *lines]) + "\n"
  with atomic_write(out / "robustness.md") as file:
    file.write(text)
  say(f"{num} events a row, views {','.join(views)}, start {start}; |dp| in MeV/c\n\n{text}\nWrote {out / 'robustness.md'}")
  return None


HEAD = ("| condition | median | 95 % | above 50, % | flagged, % | above 50 of the not flagged, % | EMD at the end, px | "
        "amortised: median | 95 % | above 50, % | classical: median |")


def row(label: str, errors: dict[str, np.ndarray], converged: np.ndarray, emd_end: np.ndarray) -> str:
  """One line of the table, from |dp| [n] of each estimator."""
  wrong = lambda error: f"{100 * np.mean(~(error <= LARGE_ERROR_MEV)):.1f}" if len(error) else "-"
  spread = lambda error: (f"{np.median(error):.1f}", f"{np.quantile(error, 0.95):.1f}", wrong(error))
  found, amortised = errors["inferred"], errors.get("amortised")
  cells = [label, *spread(found), f"{100 * np.mean(~converged):.1f}", wrong(found[converged]), f"{np.median(emd_end):.2f}",
           *(("-",) * 3 if amortised is None else spread(amortised)), f"{np.median(errors['classical']):.1f}"]
  return "| " + " | ".join(cells) + " |"
