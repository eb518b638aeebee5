"""launch.display on files of every kind, and on what launch.infer and launch.surface leave."""
import json

import numpy as np
import pytest

from lartpc_jax.experiments import chunks, display
from lartpc_jax.experiments.protocol import SILENT
from lartpc_jax.experiments.targets import describe_input


def page_of(tmp_path, **settings):
  display.run(display.Settings(out=str(tmp_path / "page"), plotlyjs="cdn", **settings), SILENT)
  return (tmp_path / "page" / "display.html").read_text()


@pytest.fixture
def inferred(tmp_path):
  """A directory as launch.infer leaves it, of events 2 and 3 of the sample, and one of launch.surface."""
  identity = {"input": describe_input("sample"), "views": "xy,xz", "start": "random"}
  steps = np.linspace(300.0, 350.0, 6)[None, :, None] * np.ones((2, 1, 3))
  compute = lambda events: {"trajectory": steps, "values": np.ones((2, 6)), "momentum_mev": steps[:, -1]}
  chunks.run_chunks(compute, np.array([2, 3]), directory=tmp_path / "infer" / "chunks", stride=2,
                    identity=identity)
  (tmp_path / "infer" / "config.json").write_text(json.dumps(identity))
  (tmp_path / "surface").mkdir()
  np.savez(tmp_path / "surface" / "surface.npz", first=np.arange(4.0), second=np.arange(3.0),
           values=np.ones((3, 4)), axes=np.array([0, 2]))
  return tmp_path


def test_an_event(tmp_path):
  page = page_of(tmp_path, input="sample", event=3, num_samples=0)
  assert [name in page for name in ("Images", "Voxels", "Transport", "Labels", "Posterior")] == [
      True, True, True, False, False]
  assert "from event 3 to event 4" in page


def test_a_labelled_crop(tmp_path):
  page = page_of(tmp_path, input="sample_crops", event=7, other_event=12)
  assert [name in page for name in ("Images", "Labels", "Transport", "Voxels")] == [True, True, True, False]
  assert "from event 7 to event 12" in page and "michel" in page


def test_a_descent_over_its_surface(inferred, monkeypatch):
  monkeypatch.setattr(display, "_drawn", lambda path, *_: np.ones((len(path), 64, 64), np.float32))
  page = page_of(inferred, input="sample", event=3, num_samples=0, infer=str(inferred / "infer"),
                 surface=str(inferred / "surface"))
  assert "Inference" in page and '"pz, MeV\\u002fc"' in page and '"contour"' in page


@pytest.mark.parametrize("change,message", [
    (dict(event=500), "holds 500 events"),
    (dict(other_event=500), "holds 500 events"),
    (dict(surface="x"), "--surface goes with --infer"),
    (dict(infer="INFER", event=4), r"no result of events \[4\]"),
    (dict(infer="INFER", views=("yz",)), "was inferred from xy,xz, but --views has yz"),
    (dict(infer="INFER", surface="INFER"), "surface.npz"),
    (dict(views=("xy", "xy")), "each once"),
])
def test_mistakes_are_named(inferred, change, message):
  change = {name: str(inferred / "infer") if value == "INFER" else value for name, value in change.items()}
  with pytest.raises((ValueError, OSError), match=message):
    page_of(inferred, **{"input": "sample", "event": 3, "num_samples": 0, **change})


def test_a_descent_of_another_file_is_named(inferred):
  config = inferred / "infer" / "config.json"
  config.write_text(config.read_text().replace("sample", "other"))
  with pytest.raises(ValueError, match="is of 'other, sha256 .*', but --input names 'sample"):
    page_of(inferred, input="sample", event=3, num_samples=0, infer=str(inferred / "infer"))


@pytest.mark.slow
def test_the_posterior_is_around_the_truth(tmp_path):
  assert "1000 momenta drawn" in page_of(tmp_path, input="sample", event=3)
