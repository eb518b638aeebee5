"""Sparse events: energy deposits in voxels around a vertex, the momentum of the particle that made them,
further truth."""
import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lartpc_jax.data.npz import field_names, read_fields
from lartpc_jax.units import PDG_CODES, PROTON_PDG

# name -> number of axes in the file
FIELDS = {"momentum": 2, "offsets": 1, "voxel": 2, "edep": 1, "voxel_mm": 0}
OPTIONAL_FIELDS = {"vlabel": 1, "pdg": 1, "primaries": 2, "settings": 0}
PRIMARY_COLUMNS = 6       # event, PDG code, kinetic energy in MeV, direction
# MeV of deposits to one MeV/c, above which the momenta cannot be MeV/c; see `check_events`
GEV_RATIO = 10.0


class Events(NamedTuple):
  """n events with m voxels in all, on the host (numpy). Event i owns voxels offsets[i]:offsets[i + 1].

  What not every file tells is None.
  """
  momentum_mev: np.ndarray  # [n 3] float32, MeV/c at the vertex; zero means unknown
  offsets: np.ndarray       # [n + 1] int64
  # [m 3] int16, floor(position / voxel_mm); the vertex is the corner of voxel (0, 0, 0)
  voxel: np.ndarray
  edep_mev: np.ndarray      # [m] float32, deposited energy
  voxel_mm: float           # voxel edge length
  label: np.ndarray | None = None      # [m] uint8, see data.readers.api.LABELS
  # [n] int64, PDG code of the particle whose momentum is given; 0: unknown or several
  pdg: np.ndarray | None = None
  # [k 6] float64: event, PDG code (0: unknown), kinetic energy in MeV (NaN: unknown),
  primaries: np.ndarray | None = None
  # direction (0, 0, 0: unknown); in the order of the events

  def __len__(self) -> int:  # number of events, not of fields
    return len(self.offsets) - 1


class PaddedEvents(NamedTuple):
  """A batch with a static number of deposits an event; padding has zero energy."""
  momentum_mev: np.ndarray  # [b 3]
  position_mm: np.ndarray   # [b v 3], relative to the vertex
  edep_mev: np.ndarray      # [b v]


def load_events(path: str | os.PathLike) -> Events:
  """Reads a sparse-event npz: `momentum`, `offsets`, `voxel`, `edep`, `voxel_mm`, and what there is of
  `vlabel`, `pdg`, `primaries` and `settings` (of launch.simulate, which name the particle). Files of
  interactions, which have `vlabel` or `primaries`, may lack `momentum`: it is then unknown.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is truncated, lacks a field, or a field has the wrong shape or values; names file
      and field.
  """
  # of several particles: no one momentum
  interactions = {"vlabel", "primaries"} & set(field_names(path, kind="event file"))
  required = [name for name in FIELDS if name != "momentum" or not interactions]
  arrays = read_fields(path, required, ["momentum", *OPTIONAL_FIELDS], kind="event file")
  for name, array in arrays.items():
    axes = {**FIELDS, **OPTIONAL_FIELDS}[name]
    if array.ndim != axes or array.dtype.kind not in ("U" if name == "settings" else "iuf"):
      raise ValueError(
          f"{path}: field {name!r} must hold {'text' if name == 'settings' else 'numbers'} on {axes} axes; "
          f"got {array.dtype} of shape {array.shape}.")
  offsets = arrays["offsets"]
  if offsets.dtype.kind == "f" and not np.array_equal(offsets, np.round(offsets)):
    raise ValueError(
        f"{path}: field 'offsets' must hold integers; got {offsets[offsets != np.round(offsets)][0]}.")
  momentum = arrays.get("momentum", np.zeros((len(offsets) - 1, 3)))
  fields = dict(momentum_mev=np.asarray(momentum, np.float32), offsets=np.asarray(offsets, np.int64),
                voxel=arrays["voxel"], edep_mev=np.asarray(arrays["edep"], np.float32),
                voxel_mm=float(arrays["voxel_mm"]), label=arrays.get("vlabel"))
  if "primaries" in arrays:
    fields["primaries"] = np.asarray(arrays["primaries"], np.float64)
  check_events(Events(**fields), str(path))
  events = Events(**fields, pdg=_pdg_of(arrays, Events(**fields), str(path)))
  check_momenta(events, str(path))
  return events


def _pdg_of(arrays: dict, events: Events, source: str) -> np.ndarray | None:
  """PDG code [n] of the particle of each event, as far as the file tells."""
  if "pdg" in arrays:
    if arrays["pdg"].shape != (len(events),) or arrays["pdg"].dtype.kind == "f":
      raise ValueError(
          f"{source}: field 'pdg' must hold {len(events)} integers; got {arrays['pdg'].dtype} of shape "
          f"{arrays['pdg'].shape}.")
    return arrays["pdg"].astype(np.int64)
  if events.primaries is not None:
    number = events.primaries[:, 0].astype(np.int64)
    single = np.bincount(number, minlength=len(events)) == 1
    pdg = np.zeros(len(events), np.int64)
    pdg[number] = events.primaries[:, 1].astype(np.int64)
    return np.where(single, pdg, 0)
  if "settings" not in arrays:
    return None
  try:
    particles = json.loads(str(arrays["settings"]))["particles"]
    return np.full(len(events), PDG_CODES[particles[0]], np.int64) if len(particles) == 1 else None
  except (ValueError, KeyError, IndexError,
          TypeError):  # settings of another kind, or a particle that has no code
    return None


def check_events(events: Events, source: str = "events") -> None:
  """Raises ValueError naming `source` and the field if shapes, dtypes or values are not those of `Events`."""
  n, m = len(events), len(events.edep_mev)
  def need(condition, field, text):
    if not condition:
      raise ValueError(f"{source}: field {field!r} {text}.")
  need(events.momentum_mev.shape == (n, 3), "momentum", f"must be ({n}, 3); got {events.momentum_mev.shape}")
  need(events.voxel.shape == (m, 3), "voxel", f"must be ({m}, 3); got {events.voxel.shape}")
  need(np.issubdtype(events.voxel.dtype, np.integer), "voxel",
       f"must hold integers; got {events.voxel.dtype}")
  need(n >= 1, "offsets", "describes no event")
  need(events.offsets[0] == 0 and events.offsets[-1] == m and bool(np.all(np.diff(events.offsets) >= 0)),
       "offsets", f"must rise from 0 to the number of voxels {m}")
  need(bool(np.all(np.isfinite(events.momentum_mev))), "momentum", "holds NaN or infinity")
  need(bool(np.all(np.isfinite(events.edep_mev))), "edep", "holds NaN or infinity")
  need(bool(np.all(events.edep_mev >= 0)), "edep",
       f"must not be negative; smallest is {events.edep_mev.min(initial=0)}")
  need(0 < events.voxel_mm < np.inf, "voxel_mm", f"must be positive and finite; got {events.voxel_mm}")
  if events.label is not None:
    need(events.label.shape == (m,) and events.label.dtype.kind == "u", "vlabel",
         f"must hold {m} unsigned integers; got {events.label.dtype} of shape {events.label.shape}")
  if events.primaries is not None:
    rows = events.primaries
    need(rows.ndim == 2 and rows.shape[1] == PRIMARY_COLUMNS, "primaries",
         f"must have rows of {PRIMARY_COLUMNS} numbers; got shape {rows.shape}")
    number = rows[:, 0]
    need(
        bool(
            np.all((number >= 0) & (number < n) & (number == np.round(number))) and
            np.all(np.diff(number) >= 0)), "primaries", f"must name events 0 to {n - 1} in their order")


def check_momenta(events: Events, source: str = "events") -> None:
  """Raises ValueError if the momenta are not in MeV/c but, as the deposits show, in GeV/c.

  What a particle deposits is at most its kinetic energy, which is below |p| c, and what its rest mass sets
  free where it stops; so in MeV and MeV/c the median of the ratio is about 1, or a few for slow muons and
  pions. In GeV/c it is above 50.
  """
  size = np.linalg.norm(events.momentum_mev, axis=1)
  known = size > 0
  if known.any():
    check_momentum_unit(deposited_energy(events)[known], size[known], source)


def check_momentum_unit(charge_mev: np.ndarray, momentum: np.ndarray, source: str) -> None:
  """Raises ValueError if |p| [n] of particles that deposit `charge_mev` [n] seem to be in GeV/c; see
  `check_momenta`."""
  ratio = float(np.median(charge_mev / momentum))
  if ratio > GEV_RATIO:
    raise ValueError(
        f"{source}: field 'momentum' must be in MeV/c; |p| has a median of {np.median(momentum):.3g} where "
        f"{np.median(charge_mev):.3g} MeV are deposited, so it seems to be in GeV/c.")


def describe_others(events: Events, chosen: np.ndarray | slice = slice(None)) -> str:
  """What the momenta of the chosen events belong to, in words, if the file says that it is not a proton each;
  else "".

  The models of the package are of single protons: others may go through them, but not unremarked.
  """
  parts = []
  if events.primaries is not None:
    several = int(
        np.sum(np.bincount(events.primaries[:, 0].astype(np.int64), minlength=len(events))[chosen] > 1))
    parts.append(f"{several} of several particles" if several else "")
  if events.pdg is not None:
    parts.append(describe_codes(events.pdg[chosen]))
  return ", ".join(part for part in parts if part)


def describe_codes(pdg: np.ndarray) -> str:
  """The particles among PDG codes [n] that are known not to be protons, in words; "" if there are none."""
  names = {code: name for name, code in reversed(PDG_CODES.items())}
  codes, counts = np.unique(pdg[(pdg != 0) & (pdg != PROTON_PDG)], return_counts=True)
  return ", ".join(f"{count} of {names.get(int(code), 'particle')} (PDG code {code})"
                   for code, count in zip(codes, counts))


def save_events(path: str | os.PathLike, events: Events, *, compress: bool = True) -> None:
  """Writes `events` in the layout that `load_events` reads. Overwrites `path` only when complete."""
  check_events(events, str(path))
  limits = np.iinfo(np.int16)
  if events.voxel.size and not limits.min <= events.voxel.min() <= events.voxel.max() <= limits.max:
    raise ValueError(
        f"{path}: field 'voxel' must fit int16; it spans {events.voxel.min()} to {events.voxel.max()}.")
  temporary = f"{os.fspath(path)}.tmp.npz"
  save = np.savez_compressed if compress else np.savez
  optional = {"vlabel": events.label, "pdg": events.pdg, "primaries": events.primaries}
  save(temporary, momentum=events.momentum_mev, offsets=events.offsets, voxel=events.voxel.astype(np.int16),
       edep=events.edep_mev, voxel_mm=np.float32(events.voxel_mm),
       **{name: array for name, array in optional.items() if array is not None})
  os.replace(temporary, path)


def select_events(events: Events, indices: np.ndarray) -> Events:
  """The events numbered `indices` (any order, repeats allowed), as a container of their own."""
  indices = np.asarray(indices)
  starts, counts = events.offsets[:-1][indices], np.diff(events.offsets)[indices]
  offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
  rows = np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
  label = None if events.label is None else events.label[rows]
  pdg = None if events.pdg is None else events.pdg[indices]
  primaries = None if events.primaries is None else _select_primaries(events, indices)
  return Events(events.momentum_mev[indices], offsets, events.voxel[rows], events.edep_mev[rows],
                events.voxel_mm, label, pdg, primaries)


def _select_primaries(events: Events, indices: np.ndarray) -> np.ndarray:
  """Rows of the chosen events, numbered anew."""
  bounds = np.searchsorted(events.primaries[:, 0], np.arange(len(events) + 1))
  starts, counts = bounds[:-1][indices], np.diff(bounds)[indices]
  first = np.cumsum(counts) - counts
  rows = np.repeat(starts - first, counts) + np.arange(counts.sum())
  chosen = events.primaries[rows]
  chosen[:, 0] = np.repeat(np.arange(len(indices)), counts)
  return chosen


def join_events(parts: Sequence[Events]) -> Events:
  """The events of several files, one after another; truth that one of them lacks is left out.

  Raises:
    ValueError: naming the voxel sizes, if they differ.
  """
  sizes = sorted({part.voxel_mm for part in parts})
  if len(sizes) > 1:
    raise ValueError(f"Events of different voxels cannot be joined: {sizes} mm.")
  together = lambda field: (None if any(getattr(part, field) is None for part in parts) else
                            np.concatenate([getattr(part, field) for part in parts]))
  starts = np.cumsum([0, *(len(part.edep_mev) for part in parts)])
  offsets = [part.offsets[1:] + start for part, start in zip(parts, starts)]
  primaries = together("primaries")
  if primaries is not None:
    numbers = np.cumsum([0, *(len(part) for part in parts)])
    primaries[:, 0] += np.repeat(numbers[:-1], [len(part.primaries) for part in parts])
  return Events(together("momentum_mev"), np.concatenate([[0], *offsets]).astype(np.int64), together("voxel"),
                together("edep_mev"), sizes[0], together("label"), together("pdg"), primaries)


def pad_events(events: Events, indices: np.ndarray, *, multiple: int = 64) -> PaddedEvents:
  """Gathers events into a dense batch, padded to the longest, rounded up to `multiple` (few shapes: few
  compilations)."""
  chosen = select_events(events, indices)
  counts = np.diff(chosen.offsets)
  width = max(1, -(-int(counts.max()) // multiple)) * multiple
  filled = np.arange(width) < counts[:, None]
  position_mm = np.zeros((len(chosen), width, 3), np.float32)
  edep_mev = np.zeros((len(chosen), width), np.float32)
  position_mm[filled] = (chosen.voxel.astype(np.float32) + 0.5) * np.float32(chosen.voxel_mm)
  edep_mev[filled] = chosen.edep_mev
  return PaddedEvents(chosen.momentum_mev, position_mm, edep_mev)


def deposited_energy(events: Events) -> np.ndarray:
  """Total deposited energy of each event [n], MeV."""
  cumulative = np.concatenate([[0.0], np.cumsum(events.edep_mev, dtype=np.float64)])
  return (cumulative[events.offsets[1:]] - cumulative[events.offsets[:-1]]).astype(np.float32)
