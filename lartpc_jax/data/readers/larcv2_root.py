"""LArCV2 ROOT files: images (`image2d_*_tree`) with the truth of their particles (`particle_*_tree`), read
with uproot.

A pixel of an image lies at column * rows + row of its vector. Where three images of an event are projections
of one window onto its axes (their ranges agree in pairs: x against y, y against z, z against x, as the
single-particle samples of the LArCV tutorials have them), they become the views xy, xz and yz of the package,
first axis first; images of wire planes stay as they are. The values have no calibration: their unit is ADC,
unless `scale_mev` tells one. LArCV files mix units: energies are GeV, and momenta MeV/c or GeV/c, which the
energies tell. Positions are cm.
"""
import os

import numpy as np

from lartpc_jax.data.readers.api import MEV, ImageSource, check_values
from lartpc_jax.data.readers.root import first_line, open_tree, root_file, tree_names

CM = 10.0  # mm
GEV = 1000.0  # MeV
ADC = "ADC count"
META = ("_p1.x", "_p1.y", "_p2.x", "_p2.y", "_col_count", "_row_count")
PARTICLE = ("_pdg", "_px", "_py", "_pz", "_energy_init", "_vtx._x", "_vtx._y", "_vtx._z", "_trackid",
            "_parent_trackid")
ORDER = ((0, False), (2, True), (1, False))  # (image of the file, transposed) of the views xy, xz, yz
TOLERANCE = 0.01  # of energies that are compared


def open_larcv2_root(path: str | os.PathLike, *, image_tree: str = "", particle_tree: str = "",
                     scale_mev: float | None = None) -> ImageSource:
  """Images of a file, with `momentum`, `pdg` and `vertex_mm` of events that have one primary particle (else
  zeros).

  Args:
    path: ROOT file.
    image_tree: name of the tree of images; by default the first that is called image2d_*_tree.
    particle_tree: likewise, particle_*_tree; none is needed.
    scale_mev: MeV of one ADC count; without it the values stay as they are.
  Raises FileNotFoundError or ValueError naming file, tree and branch.
  """
  if scale_mev is not None and not 0 < scale_mev < np.inf:
    raise ValueError(f"scale_mev must be positive; got {scale_mev}.")
  path = root_file(path)
  trees = tree_names(path)
  find = lambda given, prefix: given or next(
      (t for t in trees if t.startswith(prefix) and t.endswith("_tree")), "")
  name = find(image_tree, "image2d_")
  if not name:
    raise ValueError(f"{path}: lacks a tree 'image2d_*_tree'; it holds {trees}.")
  tree, branches = open_tree(path, name)
  with tree.file:
    if not tree.num_entries:
      raise ValueError(f"{path}: tree {name!r} holds no events.")
    meta = _meta(path, name, branches)
  projections = _are_projections(meta)
  truth = _truth(path, find(particle_tree, "particle_"), tree.num_entries, meta if projections else None)
  scale = np.float32(1.0 if scale_mev is None else scale_mev)

  def read(start, stop):
    images = _images(path, name, meta, start, stop)
    if projections:
      images = np.stack([np.swapaxes(images[:, i], 1, 2) if turned else images[:, i] for i, turned in ORDER],
                        axis=1)
    return images * scale

  extra = {field: lambda start, stop, values=values: values[start:stop] for field, values in truth.items()}
  note = "views as in the file: its images are no projections of one window"
  if projections:
    note = "views xy, xz, yz"
  if scale_mev is None:
    note += "; values are ADC counts, not MeV (--scale_mev gives MeV per count)"
  return ImageSource(tree.num_entries, meta["_col_count"].shape[1], read, extra, note,
                     ADC if scale_mev is None else MEV)


def _read(path: str, tree: str, branches: dict, prefix: str, name: str, start: int | None = None,
          stop: int | None = None):
  found = next((b for n, b in branches.items() if n.endswith(f"{prefix}.{name}")), None)
  if found is None:
    raise ValueError(
        f"{path}: tree {tree!r} lacks the branch {prefix}.{name}; it has {sorted(branches)[:10]}.")
  try:
    return found.array(entry_start=start, entry_stop=stop, library="np")
  except Exception as error:
    raise ValueError(
        f"{path}: tree {tree!r}, branch {prefix}.{name} is not readable (truncated or damaged?): "
        f"{first_line(error)}.") from error


def _meta(path: str, tree: str, branches: dict) -> dict[str, np.ndarray]:
  """Ranges and sizes [n views] of all images."""
  meta = {}
  for name in META:
    rows = _read(path, tree, branches, "_image_v._meta", name)
    if len({len(row) for row in rows}) > 1 or not len(rows[0]):
      raise ValueError(f"{path}: tree {tree!r} must hold the same number of images in each event; got "
                       f"{sorted({len(row) for row in rows})}.")
    meta[name] = np.stack([np.asarray(row, np.float64) for row in rows])
  if len(np.unique([meta["_col_count"], meta["_row_count"]])) > 1:
    raise ValueError(f"{path}: tree {tree!r} must hold images of one size, as high as wide; got "
                     f"{np.unique(meta['_col_count'])} columns and {np.unique(meta['_row_count'])} rows.")
  return meta


def _are_projections(meta: dict) -> bool:
  """Whether the images are (x, y), (y, z) and (z, x) of the same window."""
  if meta["_p1.x"].shape[1] != 3:
    return False
  return all(np.array_equal(meta[f"{end}.x"], np.roll(meta[f"{end}.y"], 1, axis=1)) for end in ("_p1", "_p2"))


def _images(path: str, name: str, meta: dict, start: int, stop: int) -> np.ndarray:
  """[b views columns rows]."""
  tree, branches = open_tree(path, name)
  side = int(meta["_col_count"][0, 0])
  with tree.file:
    events = _read(path, name, branches, "_image_v", "_img", start, stop)
  images = [[np.asarray(image, np.float32) for image in event] for event in events]
  if any(image.size != side * side for event in images for image in event):
    raise ValueError(
        f"{path}: tree {name!r} holds images of another size than their meta data say, {side} x {side}.")
  images = np.stack([np.stack(event) for event in images]).reshape(stop - start, -1, side, side)
  return check_values(images, path, f"{name}._img", minimum=0.0)


def _truth(path: str, name: str, num: int, meta: dict | None) -> dict[str, np.ndarray]:
  """`pdg` [n], `momentum` [n 3] in MeV/c and `vertex_mm` [n 3] from the middle of the window; zeros where
  there is not just one primary particle."""
  if not name:
    return {}
  tree, branches = open_tree(path, name)
  with tree.file:
    fields = {field: _read(path, name, branches, "_part_v", field) for field in PARTICLE}
  if tree.num_entries != num:
    raise ValueError(f"{path}: tree {name!r} has {tree.num_entries} events, but there are images of {num}.")
  pdg, momentum = np.zeros(num, np.int64), np.zeros((num, 3), np.float32)
  vertex = np.zeros((num, 3), np.float32)
  for i in range(num):
    row = {field: np.asarray(values[i]) for field, values in fields.items()}
    primary = np.flatnonzero(row["_parent_trackid"] == row["_trackid"])
    if len(primary) != 1:
      continue
    j = primary[0]
    pdg[i] = row["_pdg"][j]
    p = np.array([row[f"_p{x}"][j] for x in "xyz"], np.float64)
    momentum[i] = p * _momentum_unit(f"{path}: event {i}", p, float(row["_energy_init"][j]), int(pdg[i]))
    if meta is not None:
      middle = np.array([0.5 * (meta["_p1.x"][i, k] + meta["_p2.x"][i, k]) for k in range(3)])
      vertex[i] = (np.array([row[f"_vtx._{x}"][j] for x in "xyz"]) - middle) * CM
  truth = {"pdg": pdg, "momentum": momentum}
  check_values(momentum, path, f"{name}._px, _py, _pz")
  return {**truth, "vertex_mm": vertex} if meta is not None else truth


def _momentum_unit(source: str, momentum: np.ndarray, energy_gev: float, pdg: int) -> float:
  """1 if a momentum is in MeV/c, 1000 if it is in GeV/c: which of both gives the energy, in GeV, that the
  file tells."""
  from lartpc_jax.units import masses_mev  # needs jax, for which --help should not wait
  mass = float(masses_mev(np.array([pdg]))[0])
  for unit in (1.0, GEV):
    expected = np.hypot(np.linalg.norm(momentum) * unit, mass)
    if not np.isfinite(mass) or abs(expected - energy_gev * GEV) <= TOLERANCE * expected:
      return unit
  raise ValueError(
      f"{source}: momentum {momentum.round(3).tolist()} of particle {pdg} fits its energy of {energy_gev:g} "
      "GeV neither in MeV/c nor in GeV/c.")
