"""ROOT files, opened by uproot with errors that name file, tree and branch."""
import os

import numpy as np

from lartpc_jax.data.readers.api import existing, load_extra


def root_file(path: str | os.PathLike) -> str:
  """The path of an existing ROOT file. Raises ValueError naming it, if it is a directory or uproot is
  missing."""
  load_extra("uproot")
  path = existing(path)
  if not path.is_file():
    raise ValueError(f"{path}: must be a ROOT file, not a directory.")
  return str(path)


def open_tree(path: str, name: str, required: tuple[str, ...] = ()):
  """(tree, branches by name) of an open file, of which the caller closes `tree.file`. Raises ValueError
  naming what lacks.

  Of other objects nothing is read: the geometry of an edep-sim file may need more memory than there is.
  """
  import uproot
  try:
    file = uproot.open(path)
    kinds = file.classnames(cycle=False)
    tree = file[name] if kinds.get(name) == "TTree" else None
    branches = {} if tree is None else {branch.name: branch for _, branch in tree.iteritems()}
  except Exception as error:  # uproot raises many kinds for damaged files
    raise ValueError(f"{path}: is not a readable ROOT file (truncated?): {first_line(error)}.") from error
  if tree is None:
    held = [f"{key} ({kind})" for key, kind in sorted(kinds.items())]
    raise ValueError(f"{path}: lacks the tree {name!r}; it holds {held}.")
  missing = [branch for branch in required if branch not in branches]
  if missing:
    raise ValueError(f"{path}: tree {name!r} lacks the branches {missing}; it has {sorted(branches)}.")
  return tree, branches


def first_line(error: Exception) -> str:
  """An error in one line: those of uproot print the whole file."""
  return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def tree_names(path: str | os.PathLike) -> list[str]:
  """Names of the trees of a file, without reading any of them."""
  import uproot
  try:
    with uproot.open(os.fspath(path)) as file:
      return sorted(name for name, kind in file.classnames(cycle=False).items() if kind == "TTree")
  except Exception as error:
    raise ValueError(f"{path}: is not a readable ROOT file (truncated?): {first_line(error)}.") from error


def lorentz_vectors(lorentz) -> list[np.ndarray]:
  """[k 4] of each event, from an awkward array of TLorentzVector: x, y, z and the time (or energy)."""
  awkward = load_extra("awkward")  # uproot brings it
  counts, flat = np.asarray(awkward.num(lorentz, axis=1)), awkward.flatten(lorentz)
  columns = [np.asarray(flat["fP", f"f{x}"], np.float64) for x in "XYZ"
            ] + [np.asarray(flat["fE"], np.float64)]
  return np.split(np.stack(columns, axis=-1), np.cumsum(counts)[:-1])
