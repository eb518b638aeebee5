"""What real images say of drawn ones, one row a guidance scale: for `experiments.conditions`."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lartpc_jax.generators.generator import Generator
from lartpc_jax.metrics import asked as lib
from lartpc_jax.metrics.estimate import Estimate
from lartpc_jax.metrics.histograms import kolmogorov_smirnov
from lartpc_jax.metrics.memorisation import coverage
from lartpc_jax.units import PDG_CODES, kinetic_energy, masses_mev

HEAD = ("guidance scale", "precision (fidelity)", "recall (diversity)", "distance of two draws",
        "energy, measured over asked", "half width", "direction off, median degrees")


class ScanRow(NamedTuple):
  """Numbers of one scale; what is not known is None."""
  precision: Estimate         # share of draws among real images, in summary features
  recall: Estimate            # share of real images among draws
  pair_distance: Estimate | None
  energy: lib.EnergyClosure
  direction_degrees: float    # median
  purity: Estimate | None     # of types
  confusion: np.ndarray | None


class Judge(NamedTuple):
  """Real images, ready to judge."""
  head: tuple[str, ...]
  real: ScanRow              # other real images in place of draws
  real_cells: list[str]
  scan: Callable             # images [n 2 h w] -> ScanRow
  cells: Callable            # (label, ScanRow) -> cells of its line
  unconditional: Callable    # images [n 2 h w] -> name -> Estimate with a p-value


def _kinetic(cond: dict, classes: tuple[str, ...]) -> np.ndarray:
  """Kinetic energies [n] asked for; particles without a type are protons."""
  momentum = np.asarray(cond["momentum_mev"])
  if not classes:
    return kinetic_energy(momentum)
  codes = np.array([PDG_CODES[name] for name in classes])[cond["particle"]]
  return kinetic_energy(momentum, masses_mev(codes, 0.0))


def make_judge(generator: Generator, images: np.ndarray, cond: dict, reference: dict) -> Judge:
  """The judge of draws of conditions `cond` [n ...], of which `images` [n h w] are real; `reference` is a
  batch of other real images: a floor of the numbers, and what a classifier of types learns from."""
  classes = generator.condition.variables["particle"].classes if "particle" in cond else ()
  features = lib.summary_features(images)
  scale = features.std(0) + 1e-9
  unit = lambda x: x / scale
  kinetic, types = _kinetic(cond, classes), cond.get("particle")
  other = lib.summary_features(reference["image"])
  classify = lib.type_classifier(other, reference["particle"]) if classes else None
  ratios = images.sum((1, 2)) / kinetic
  # charge is not the kinetic energy of every type: each has its own real ratio
  of_type = np.array([np.median(ratios[types == k]) if (types == k).any() else 1.0
                      for k in range(len(classes))])
  ratio = of_type[types] if classes else float(np.median(ratios))

  def row(drawn: np.ndarray, second: np.ndarray | None) -> ScanRow:
    found = lib.summary_features(drawn)
    near = coverage(unit(features), unit(found))
    closure = lib.energy_closure(drawn, kinetic * ratio, 1.0)
    named = None if classify is None else classify(found)
    return ScanRow(near.precision, near.recall,
                   None if second is None else lib.pair_distance(drawn, second), closure,
                   float(np.nanmedian(lib.direction_errors_degrees(drawn, cond["momentum_mev"]))),
                   None if named is None else lib.type_purity(types, named),
                   None if named is None else lib.confusion(types, named, len(classes)))

  # closure and types of the real images themselves, and other real images for precision and recall
  floor = coverage(unit(features), unit(other[-len(images):]))
  real = row(images, None)._replace(precision=floor.precision, recall=floor.recall)
  cells = lambda label, row: _cells(label, row, bool(classes))

  def unconditional(drawn: np.ndarray) -> dict[str, Estimate]:
    found = lib.summary_features(drawn[:, 0])
    tests = {name: kolmogorov_smirnov(features[:, i], found[:, i])
             for i, name in enumerate(lib.FEATURES) if name in ("charge", "length", "offset")}
    return {**tests, "direction": kolmogorov_smirnov(_azimuth(images), _azimuth(drawn[:, 0]))}

  return Judge((*HEAD, "types as asked") if classes else HEAD, real, cells("real images", real),
               lambda drawn: row(drawn[:, 0], drawn[:, 1]), cells, unconditional)


def _azimuth(images: np.ndarray) -> np.ndarray:
  """Azimuth [n] in degrees of the centroid of charge, from the middle of the image."""
  h, w = images.shape[1:]
  first = (images * (np.arange(h) + 0.5 - h / 2)[None, :, None]).sum((1, 2))
  return np.degrees(np.arctan2((images * (np.arange(w) + 0.5 - w / 2)[None, None]).sum((1, 2)), first))


def _cells(label: str, row: ScanRow, types: bool) -> list[str]:
  shown = lambda x: "" if x is None else f"{x.value:.3f} +- {x.error:.3f}"
  cells = [label, shown(row.precision), shown(row.recall), shown(row.pair_distance),
           shown(row.energy.median), f"{row.energy.half_width:.3f}", f"{row.direction_degrees:.2f}"]
  return [*cells, shown(row.purity)] if types else cells
