"""Geant4's data sets: which a physics list needs, where they are, and how to get those that are missing.

Geant4 reads cross sections and the like from folders that environment variables name. `find_data` returns
those variables for a worker process; nothing here imports Geant4.
"""
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

URL = "https://cern.ch/geant4-data/datasets"
DOWNLOADED = "~/.geant4_pybind"  # where geant4_pybind puts what it downloads
COMPACT_EMPTY = "empty"          # a folder of this name marks the compact layout of EM-only data


class DataSet(NamedTuple):
  """One data set of Geant4 11.4 (names and versions: geant4_pybind 0.1.3)."""
  variable: str     # environment variable
  name: str         # folder name without version
  version: str
  archive: str      # file name without version
  probe: str        # a path inside that only this set has; "" for a set that nothing here needs
  compact: str      # folder in the compact layout


_EMPTY = COMPACT_EMPTY
DATA_SETS = (
    DataSet("G4LEDATA", "G4EMLOW", "8.8", "G4EMLOW", "brem_SB/br18", "em"),
    DataSet("G4ENSDFSTATEDATA", "G4ENSDFSTATE", "3.0", "G4ENSDFSTATE", "ENSDFSTATE.dat", "ensdf"),
    DataSet("G4PARTICLEXSDATA", "G4PARTICLEXS", "4.2", "G4PARTICLEXS", "neutron", _EMPTY),
    DataSet("G4LEVELGAMMADATA", "PhotonEvaporation", "6.1.2", "G4PhotonEvaporation", "z18.a40", _EMPTY),
    DataSet("G4NEUTRONHPDATA", "G4NDL", "4.7.1", "G4NDL", "Elastic", _EMPTY),
    DataSet("G4RADIOACTIVEDATA", "RadioactiveDecay", "6.1.2", "G4RadioactiveDecay", "", _EMPTY),
    DataSet("G4PIIDATA", "G4PII", "1.3", "G4PII", "", _EMPTY),
    DataSet("G4REALSURFACEDATA", "RealSurface", "2.2", "G4RealSurface", "", _EMPTY),
    DataSet("G4SAIDXSDATA", "G4SAIDDATA", "2.0", "G4SAIDDATA", "", _EMPTY),
    DataSet("G4ABLADATA", "G4ABLA", "3.3", "G4ABLA", "", _EMPTY),
    DataSet("G4INCLDATA", "G4INCL", "1.3", "G4INCL", "", _EMPTY),
    DataSet("G4CHANNELINGDATA", "G4CHANNELING", "2.0", "G4CHANNELING", "", _EMPTY),
)
_EM = ("G4LEDATA", "G4ENSDFSTATEDATA")
_HADRONIC = (*_EM, "G4PARTICLEXSDATA", "G4LEVELGAMMADATA")
_HP = (*_HADRONIC, "G4NEUTRONHPDATA")
# Physics list -> the variables of the sets that it cannot do without for argon.
PHYSICS = {
    "em": _EM, "QGSP_BERT": _HADRONIC, "FTFP_BERT": _HADRONIC, "QGSP_BIC": _HADRONIC, "QBBC": _HADRONIC,
    "QGSP_BERT_HP": _HP, "FTFP_BERT_HP": _HP, "QGSP_BIC_HP": _HP
}


def check_physics(physics: str) -> None:
  """Raises ValueError naming the physics list and the allowed set if it is not in PHYSICS."""
  if physics not in PHYSICS:
    raise ValueError(f"Unknown physics {physics!r}; choose from {sorted(PHYSICS)}.")


def find_data(physics: str, folder: str | os.PathLike | None = None, environ: Mapping[str, str] | None = None
              ) -> dict[str, str]:
  """Environment variables of every data set, for a process that imports geant4_pybind.

  Looked at, in this order: `folder`; the set's own variable; the folder GEANT4_DATA_DIR; what geant4_pybind
  downloaded. A folder holds the sets as Geant4 unpacks them (`G4EMLOW8.8/`, any version), or is a compact one
  with `em/`, `ensdf/` and `empty/`, which serves physics="em" in pure argon.

  Args:
    physics: a name in PHYSICS.
    folder: folder of the sets; None looks at the environment only.
    environ: default os.environ.
  Returns:
    Variable -> path; a set that is neither needed nor found maps to "", for which the caller puts an empty
    folder.
  Raises:
    ValueError: for an unknown physics list, or naming the sets that it needs and that are missing, and how to
      get them.
    FileNotFoundError: if `folder` does not exist.
  """
  check_physics(physics)
  environ = os.environ if environ is None else environ
  if folder and not Path(folder).is_dir():
    raise FileNotFoundError(f"No folder of Geant4 data at {os.fspath(folder)!r}.")
  if folder:
    folders = [Path(folder)]
  else:
    folders = [Path(p) for p in (environ.get("GEANT4_DATA_DIR"), os.path.expanduser(DOWNLOADED)) if p]
  found = {}
  for data_set in DATA_SETS:
    places = [place for parent in folders for place in _places(data_set, parent)]
    if not folder and environ.get(data_set.variable):
      places.insert(0, Path(environ[data_set.variable]))
    usable = [
        str(p.resolve())
        for p in places
        if p.is_dir() and (not data_set.probe or (p / data_set.probe).exists())
    ]
    found[data_set.variable] = usable[0] if usable else ""
  missing = [d for d in DATA_SETS if d.variable in PHYSICS[physics] and not found[d.variable]]
  if missing:
    raise ValueError(_explain(physics, missing, folders))
  if physics != "em" and not Path(found["G4LEDATA"], "epics2017").is_dir():
    raise ValueError(
        _explain(physics, [DATA_SETS[0]], folders, f" ({found['G4LEDATA']} has argon for physics='em' only)"))
  return found


def _places(data_set: DataSet, parent: Path) -> list[Path]:
  """Folders of a set in `parent`: the expected version, other versions (the newest first), the compact
  layout."""
  if not parent.is_dir():
    return []
  exact = parent / (data_set.name + data_set.version)
  others = sorted((p for p in parent.glob(f"{data_set.name}*") if p != exact), reverse=True)
  return [exact, *others, parent / data_set.compact]


def _explain(physics: str, missing: list[DataSet], folders: list[Path], note: str = "") -> str:
  names = ", ".join(f"{d.name}{d.version} ({d.variable})" for d in missing)
  archives = ", ".join(f"{d.archive}.{d.version}.tar.gz" for d in missing)
  looked = ", ".join(str(p) for p in folders) or "the environment"
  return (
      f"Geant4 data sets that physics={physics!r} needs are missing: {names}. Looked in {looked}{note}. To "
      "get them: run `python -c 'import geant4_pybind'` in a terminal with GEANT4_DATA_DIR unset, which "
      f"offers to download all sets to {DOWNLOADED}; or unpack {archives} from {URL} into a folder and name "
      "it by --geant4_data or GEANT4_DATA_DIR.")
