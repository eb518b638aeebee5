"""Which data sets are found where, and what is said when they are missing. Needs neither Geant4 nor its
data."""
import pytest

from lartpc_jax.simulation import geant4_data as lib


def install(folder, names, version=None):
  """Folders with the file or folder that tells a data set."""
  for data_set in lib.DATA_SETS:
    if data_set.name in names:
      place = folder / (data_set.name + (version or data_set.version))
      (place / data_set.probe).mkdir(parents=True)
      if data_set.name == "G4EMLOW":
        (place / "epics2017").mkdir()
  return folder


@pytest.fixture
def nothing(tmp_path, monkeypatch):
  """No data sets in the environment or the home directory."""
  monkeypatch.setattr(lib, "DOWNLOADED", str(tmp_path / "home"))
  return tmp_path


def test_a_full_folder_serves_every_list(nothing):
  install(nothing, [d.name for d in lib.DATA_SETS])
  for physics in lib.PHYSICS:
    found = lib.find_data(physics, nothing, environ={})
    assert found["G4LEDATA"] == str(nothing / "G4EMLOW8.8") and len(found) == len(lib.DATA_SETS)
    assert all(found.values())


def test_the_compact_folder_serves_em_only(nothing):
  (nothing / "em" / "brem_SB" / "br18").mkdir(parents=True)
  (nothing / "ensdf").mkdir()
  (nothing / "ensdf" / "ENSDFSTATE.dat").write_text("")
  (nothing / "empty").mkdir()
  found = lib.find_data("em", nothing, environ={})
  assert found["G4LEDATA"] == str(nothing / "em") and found["G4ENSDFSTATEDATA"] == str(nothing / "ensdf")
  assert found["G4PARTICLEXSDATA"] == ""
  with pytest.raises(ValueError) as error:
    lib.find_data("QGSP_BERT", nothing, environ={})
  for words in ("physics='QGSP_BERT'", "G4PARTICLEXS4.2 (G4PARTICLEXSDATA)", "PhotonEvaporation6.1.2",
                "--geant4_data", "G4PhotonEvaporation.6.1.2.tar.gz", "python -c 'import geant4_pybind'",
                str(nothing)):
    assert words in str(error.value)
  assert "G4EMLOW" not in str(error.value)
  install(nothing, ["G4PARTICLEXS", "PhotonEvaporation"])
  with pytest.raises(ValueError, match=r"missing: G4EMLOW8.8 .*argon for physics='em' only"):
    lib.find_data("QGSP_BERT", nothing, environ={})


def test_order_of_the_places(nothing):
  names = ["G4EMLOW", "G4ENSDFSTATE"]
  chosen, variable, home = (install(nothing / n, names) for n in ("chosen", "variable", "home"))
  own = install(nothing / "own", ["G4EMLOW"], version="9.0") / "G4EMLOW9.0"
  environ = {"GEANT4_DATA_DIR": str(variable), "G4LEDATA": str(own)}
  assert lib.find_data("em", chosen, environ=environ)["G4LEDATA"] == str(chosen / "G4EMLOW8.8")
  found = lib.find_data("em", environ=environ)
  assert found["G4LEDATA"] == str(own) and found["G4ENSDFSTATEDATA"].startswith(str(variable))
  assert lib.find_data("em", environ={})["G4LEDATA"].startswith(str(home))
  assert lib.find_data("em", own.parent.parent / "chosen", environ={})["G4LEDATA"]


def test_another_version_will_do(nothing):
  install(nothing, ["G4EMLOW", "G4ENSDFSTATE"], version="8.9")
  assert lib.find_data("em", nothing, environ={})["G4LEDATA"] == str(nothing / "G4EMLOW8.9")


def test_nothing_at_all(nothing):
  with pytest.raises(ValueError, match=r"G4EMLOW8.8 \(G4LEDATA\), G4ENSDFSTATE3.0 .*G4EMLOW.8.8.tar.gz"):
    lib.find_data("em", environ={})
  with pytest.raises(FileNotFoundError, match="no_such"):
    lib.find_data("em", nothing / "no_such", environ={})
  with pytest.raises(ValueError, match="Unknown physics 'QGSP'; choose from .*'em'"):
    lib.find_data("QGSP", environ={})
