"""launch.calibrate on random weights: everything is written, and mistakes are named."""
import contextlib
import json

import numpy as np
import pytest

from configs import protons64_infer
from lartpc_jax.experiments import calibrate, calibration, chunks, protocol
from tests.toy_weights import save_toy_estimator, save_toy_weights

TINY = protons64_infer.get_config("tiny").to_dict()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  directory = save_toy_weights(tmp_path_factory.mktemp("weights"))
  save_toy_estimator(directory, num_views=1)
  return str(directory)


def settings(weights, views=("xy",), **changes):
  return calibrate.Settings("sample", views, weights=weights, **changes)


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_one_view(weights, tmp_path):
  """An untrained estimator is far from calibrated, but one view shows both signs whatever the weights are."""
  found = calibrate.calibrate(settings(weights, num_events=130, num_samples=20))  # two chunks
  assert found.num_events == 130 and found.level.shape == (130,)
  assert 0.35 < found.signs <= 0.5 and list(found.ranks) == ["px", "py", "pz", "|p|"]
  assert found.ranks["pz"].count.sum() == 130
  paths = calibration.write_calibration(found, tmp_path / "out")
  saved = json.loads(paths[0].read_text())
  assert saved["coverage"]["0.68"]["value"] == found.coverage[0.68].value and len(saved["level"]) == 130
  assert paths[1].stat().st_size > 10_000
  text = calibration.calibration_table(found)
  assert "| 95 % |" in text and "rarer sign" in text


def test_an_event_without_a_posterior_is_not_covered(weights, monkeypatch):
  lost = lambda density, known: known._replace(mixture=known.mixture._replace(
      cholesky=known.mixture.cholesky.at[0].set(np.nan)))
  monkeypatch.setattr(calibrate.posterior_lib, "laplace", lost)
  found = calibrate.calibrate(settings(weights, num_events=60, num_samples=20, method="laplace"))
  assert found.num_failed == 1 and found.level[0] == 1.0 and found.ranks["px"].count.sum() == 59
  assert "1 events have no posterior" in calibration.calibration_table(found)


def test_mistakes(weights, tmp_path):
  with pytest.raises(ValueError, match="estimators of .* views; got 3"):
    calibrate.calibrate(settings(weights, views=("xy", "xz", "yz")))
  with pytest.raises(FileNotFoundError, match="estimator_two_views.json"):
    calibrate.calibrate(settings(weights, views=("xy", "xz")))
  with pytest.raises(ValueError, match="num_samples must be at least 20; got 3"):
    calibrate.calibrate(settings(weights, num_samples=3))
  with pytest.raises(ValueError, match="Unknown method 'hmc'; choose from"):
    calibrate.calibrate(settings(weights, method="hmc"))


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_tempered(tmp_path):
  """The whole way on an untrained generator: the events that fit the temperature are not judged, and the
  table names it."""
  directory = save_toy_weights(tmp_path / "weights")
  save_toy_estimator(directory, num_views=1)
  job = calibrate.prepare(settings(str(directory), num_events=45, fit_events=20, num_samples=20), TINY)
  stopping = protocol.SILENT._replace(stopping=lambda: contextlib.nullcontext(lambda: 15))
  assert calibrate.execute(job, tmp_path / "run", stopping) == 15  # after one chunk
  assert len(chunks.finished_events(tmp_path / "run" / "chunks", job.identity)) == calibrate.WEIGHTED_CHUNK
  found = calibrate.execute(job, tmp_path / "run")
  whole = calibrate.execute(job, tmp_path / "whole")
  np.testing.assert_array_equal(found.level, whole.level)
  assert found.num_events == 25 and found.level.shape == (25,) and found.ranks["px"].count.sum() == 25
  assert 1.0 <= found.effective <= 20.0
  assert f"Temperature {found.temperature_px:.3g} px" in calibration.calibration_table(found)
  saved = json.loads(calibration.write_calibration(found, tmp_path / "out")[0].read_text())
  assert saved["temperature_px"] == found.temperature_px


def test_the_temperature_needs_events_of_its_own(weights):
  with pytest.raises(ValueError, match="fit_events must leave 20 of the 50 events on either side; got 40"):
    calibrate.prepare(settings(weights, num_events=50, fit_events=40), TINY)
