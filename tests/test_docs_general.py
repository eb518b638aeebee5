"""docs/general.py: what measurements leave behind becomes results that `docs/tables.py` accepts."""
import importlib.util
import json
import shutil

import pytest

from tests.docs_text import REPO, load_tables


@pytest.fixture
def general(tmp_path, monkeypatch):
  """The script as a module, which writes into a copy of the results."""
  spec = importlib.util.spec_from_file_location("docs_general", REPO / "docs" / "general.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  shutil.copytree(REPO / "docs" / "results", tmp_path / "results")
  monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
  monkeypatch.setattr(module, "PAGE", tmp_path / "results" / "general.md")
  monkeypatch.setattr(module, "FIGURES", tmp_path)
  for name in ("general", "surface_general", "identification"):  # a measured page has its marks already
    (tmp_path / "results" / f"{name}.json").unlink(missing_ok=True)
  (tmp_path / "results" / "general.md").write_text("".join(
      f"*Not measured yet: {name}.*\n" for name in ("general", "surface_general", "identification")))
  done = type("Done", (), {"stdout": "abc1234\n"})
  monkeypatch.setattr(module.subprocess, "run", lambda *args, **kwargs: done)
  return module


def save(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def test_protons(general, tmp_path):
  out = tmp_path / "out"
  inferred = dict(median_dp_mev=11.31, q68_dp_mev=16.0, q95_dp_mev=60.0, share_above_50_mev=0.061)
  for name in ("infer", "infer_one_view"):
    save(out / name / "results.json", {"summary": dict(
        inferred=inferred, classical=dict(median_dp_mev=15.8), num_events=500, num_converged=490,
        seconds_per_event=3.21, median_emd_end_px={"xy": 0.612})})
  row = dict(length_mm=[50.0, 49.0], charge_median=[1.0, 1.01], charge_ratio=[0.98, 0.97],
             dedx=[[2.0, None, 1.0], [2.2, None, 1.0]])
  save(out / "fidelity" / "fidelity.json", [row, {**row, "length_mm": [50.0, 50.5]}])
  save(out / "report" / "metrics.json", {"rows": [
      {"metric": f"AUC, {name}", "values": {"general": dict(value=0.5512, error=0.006)}}
      for name in ("CNN on images", "boosting on physics")]})
  save(out / "surface" / "surface.json", dict(
      momentum_mev=[[245.0, -356.0, 40.0], [-355.2, -246.1, 30.0]], mean_px=[20.0, 0.5], best_px=[19.0, 0.2],
      published_px=[19.1, 0.21], charge_off=[0.1, 0.02]))
  (out / "surface" / "surface.png").write_bytes(b"picture")
  general.protons(out)
  tables = load_tables()
  results = tables.load_results(tmp_path / "results")
  page = tables.fill((tmp_path / "results" / "general.md").read_text(), results,
                     REPO / "docs" / "results" / "general.md")
  assert "| end | -355 | -246 | 30 |" in page and "](../figures/surface_general.png)" in page
  assert (tmp_path / "surface_general.png").read_bytes() == b"picture" and page.count("Not measured yet") == 1
  rows = {row[0]: list(map(str, row[2:3])) for row in results["general"]["rows"]}
  assert rows["median |dp|, MeV/c, two views, random starts"] == ["11.3"]
  assert rows["mean length over Geant4's, worst of 18 samples, %"] == ["-2.0"]
  assert rows["mean dE/dx, worst of nine bins, %"] == ["10.0"]
  assert results["surface_general"]["rows"][1][:4] == ["end", -355, -246, 30]


def test_particles(general, tmp_path):
  told = dict(counts=[[80, 20], [10, 90]], accuracy=dict(value=0.85, error=0.025), log_loss=dict(value=0.4),
              calibration=dict(expected_error=0.01, confidence=[None, 0.6, 0.9], accuracy=[None, 0.61, 0.89],
                               count=[0, 50, 150]))
  content = dict(types=["proton", "e-"], inversion=told, classifier=told, ms_per_event=55.4)
  for name in ("identify", "identify_refined"):
    save(tmp_path / "out" / name / "identify.json", content)
  (tmp_path / "out" / "identify" / "identify.png").write_bytes(b"picture")
  general.particles(tmp_path / "out")
  result = load_tables().load_results(tmp_path / "results")["identification"]
  assert result["columns"] == ["by", "true", "called proton", "called e-", "events"]
  assert [str(cell) for cell in result["rows"][3]] == ["classifier", "e-", "10.0", "90.0", "100"]
  assert "0.60: 0.61 (50); 0.90: 0.89 (150)" in result["note"] and "55 ms an event" in result["note"]
