"""Defects of known size planted in real crops are detected, each by the metric made for it, at the size of a
report."""
import numpy as np
import pytest
from scipy import stats

from lartpc_jax.experiments import samples
from lartpc_jax.metrics import c2st, defects, gof, memorisation, neighbours
from lartpc_jax.metrics.estimate import significance
from lartpc_jax.train.segmentation import Segmenter

DETECTED = 1e-3  # p-value


def flat(images):
  return images.reshape(len(images), -1)


def features(images):
  """What boosting sees, without SSNet: every pixel is half track, half shower."""
  def run(images, progress):
    charged = images > 0
    return np.stack([~charged, 0.5 * charged, 0.5 * charged], axis=-1), np.zeros((len(images), 8, 8, 1))
  return samples.examine("", images, None, Segmenter(run, ("background", "track", "shower"))).features


class Cases:
  """Reference, floor and training images, no event in two of them, and the detectors."""

  def __init__(self, path, size, num_training):
    load = lambda start, count: samples.load_images(f"{path}[{start}:{start + count}]", threshold_mev=0.09,
                                                    level_mev=0.02).values
    self.reference, self.floor = load(0, size), load(size, size)
    self.training = load(2 * size, num_training)
    self.cache = {}

  def planted(self, name):
    table = {**defects.DEFECTS, "memorised": defects.make_memorised(self.training)}
    return self.floor if name == "floor" else table[name](self.floor, 0)

  def occupancy(self, name):
    return gof.occupancy_test(flat(self.reference), flat(self.planted(name)), num_permutations=1000).p_value

  def boosting(self, name):
    if "reference" not in self.cache:
      self.cache["reference"] = features(self.reference)
    fit = c2st.gradient_boosting(num_trees=60)
    return c2st.cross_validated_test(self.cache["reference"], features(self.planted(name)), fit,
                                     num_folds=3).auc.p_value

  def repetition(self, name):
    """Normal p-value of the excess over the floor, as the report states it in standard errors."""
    rate = lambda which: memorisation.duplicate_rate(flat(self.planted(which)))
    return float(stats.norm.sf(significance(rate(name), rate("floor"))))

  def memory(self, name):
    size = min(len(self.training), len(self.reference))
    pool = flat(np.concatenate([self.training[:size], self.reference[:size]]))
    near = neighbours.nearest_l2(flat(self.planted(name)), pool, num_neighbours=20)
    return memorisation.closer_to_training(*near, size, size).ratio.p_value


CASES = [("shift", "occupancy"), ("dead", "occupancy"), ("charge", "boosting"), ("blur", "boosting"),
         ("duplicates", "repetition"), ("memorised", "memory")]


@pytest.fixture(scope="module")
def full(shared_data):
  return Cases(shared_data / "lartpc_crops_geant4.npz", 5000, 20_000)


@pytest.fixture(scope="module")
def small():
  return Cases("sample_crops", 150, 100)


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("name,detector", CASES)
def test_found_at_the_size_of_a_report(full, name, detector):
  assert getattr(full, detector)(name) < DETECTED


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("detector", ["occupancy", "boosting", "memory"])
def test_nothing_found_where_nothing_was_planted(full, detector):
  assert getattr(full, detector)("floor") > DETECTED


@pytest.mark.parametrize("name,detector", [case for case in CASES
                                           if case[0] in ("blur", "memorised", "duplicates")])
def test_coarse_defects_are_found_with_150_images(small, name, detector):
  assert getattr(small, detector)(name) < DETECTED


@pytest.mark.parametrize("detector", ["occupancy", "boosting", "memory"])
def test_nothing_found_in_150_images_without_a_defect(small, detector):
  assert getattr(small, detector)("floor") > DETECTED
