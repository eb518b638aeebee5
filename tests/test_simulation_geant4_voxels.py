"""Steps to voxels: against dense sampling along the step; classes of particles by their definitions."""
import numpy as np
import pytest

from lartpc_jax.simulation import geant4_voxels as lib


def steps(num=200, seed=0):
  rng = np.random.default_rng(seed)
  start = rng.normal(0.0, 4.0, (num, 3))
  return lib.Deposits(np.sort(rng.integers(0, 5, num)), start, start + rng.normal(0.0, 1.5, (num, 3)),
                      rng.exponential(size=num), rng.integers(1, 5, num))


def sampled(deposits, voxel_mm, num=4000):
  """Energy by (event, voxel), each step as `num` points."""
  total = {}
  share = (np.arange(num) + 0.5) / num
  for event, a, b, energy in zip(*deposits[:4]):
    voxels, counts = np.unique(
        np.floor((a + share[:, None] * (b - a)) / voxel_mm).astype(int), axis=0, return_counts=True)
    for voxel, count in zip(map(tuple, voxels), counts):
      total[event, *voxel] = total.get((event, *voxel), 0.0) + energy * count / num
  return total


@pytest.mark.parametrize("voxel_mm", [1.0, 0.7, 3.0])
def test_energy_goes_by_length(voxel_mm):
  deposits = steps()
  got = lib.voxelize(deposits, 5, voxel_mm=voxel_mm, half_width_mm=100.0)
  events = np.repeat(np.arange(5), got.count)
  energy = {(event, *voxel): e for event, voxel, e in zip(events, got.voxel.tolist(), got.edep_mev)}
  expected = sampled(deposits, voxel_mm)
  assert set(expected) <= set(energy) and len(energy) == len(got.edep_mev)
  for place, value in energy.items():
    assert abs(value - expected.get(place, 0.0)) < 5e-3  # of the sampling: 1/4000 of a step a face
  np.testing.assert_allclose(got.edep_mev.sum(), deposits.edep_mev.sum(), rtol=1e-6)
  assert got.voxel.dtype == np.int16 and got.label.dtype == np.uint8 and got.edep_mev.dtype == np.float32


def test_a_step_along_an_axis():
  step = lib.Deposits(np.array([0]), np.array([[-0.5, 0.5, 0.5]]), np.array([[2.25, 0.5, 0.5]]),
                      np.array([2.75]), np.array([lib.TRACK]))
  got = lib.voxelize(step, 1, voxel_mm=1.0, half_width_mm=10.0)
  assert got.voxel.tolist() == [[-1, 0, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]]
  np.testing.assert_allclose(got.edep_mev, [0.5, 1.0, 1.0, 0.25], rtol=1e-6)


def test_direction_does_not_matter():
  deposits = steps()
  back = deposits._replace(start_mm=deposits.end_mm, end_mm=deposits.start_mm)
  a, b = (lib.voxelize(d, 5, voxel_mm=1.0, half_width_mm=50.0) for d in (deposits, back))
  np.testing.assert_array_equal(a.voxel, b.voxel)
  np.testing.assert_allclose(a.edep_mev, b.edep_mev, atol=1e-5)


def test_an_event_does_not_depend_on_the_others():
  deposits = steps()
  together = lib.voxelize(deposits, 5, voxel_mm=1.0, half_width_mm=50.0)
  ends = np.cumsum(together.count)
  for event in range(5):
    mine = deposits.event == event
    alone = lib.voxelize(lib.Deposits(np.zeros(mine.sum(), int), *(field[mine] for field in deposits[1:])), 1,
                         voxel_mm=1.0, half_width_mm=50.0)
    rows = slice(ends[event] - together.count[event], ends[event])
    for name in ("voxel", "edep_mev", "label"):
      np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[rows])


def test_label_is_the_class_with_most_energy_and_the_window_cuts():
  point = np.array([[0.5, 0.5, 0.5]] * 3 + [[9.5, 0.5, 0.5]])
  deposits = lib.Deposits(np.zeros(4, int), point, point, np.array([1.0, 0.6, 0.6, 5.0]),
                          np.array([lib.TRACK, lib.MICHEL, lib.MICHEL, lib.SHOWER]))
  got = lib.voxelize(deposits, 2, voxel_mm=1.0, half_width_mm=9.0)
  assert got.count.tolist() == [1, 0] and got.label.tolist() == [lib.MICHEL]
  np.testing.assert_allclose(got.edep_mev, [2.2], rtol=1e-6)


def test_no_steps():
  empty = lib.Deposits(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, int))
  got = lib.voxelize(empty, 3, voxel_mm=1.0, half_width_mm=9.0)
  assert got.count.tolist() == [0, 0, 0] and got.voxel.shape == (0, 3)


@pytest.mark.parametrize("arguments,expected", [
    ((2212, 80.0, None, None, None), lib.TRACK),
    ((13, 80.0, None, None, None), lib.TRACK),
    ((11, 80.0, None, None, None), lib.SHOWER),
    ((22, 80.0, None, None, None), lib.SHOWER),
    ((11, 1.99, "hIoni", 2212, lib.TRACK), lib.TRACK),
    ((11, 2.0, "muIoni", 13, lib.TRACK), lib.DELTA),
    ((11, 0.3, "eIoni", 11, lib.DELTA), lib.DELTA),
    ((22, 0.3, "eBrem", 11, lib.MICHEL), lib.SHOWER),
    ((11, 0.2, "compt", 22, lib.SHOWER), lib.SHOWER),
    ((-11, 30.0, "Decay", -13, lib.TRACK), lib.MICHEL),
    ((11, 30.0, "muMinusCaptureAtRest", 13, lib.TRACK), lib.MICHEL),
    ((11, 0.1, "muMinusCaptureAtRest", 13, lib.TRACK), lib.TRACK),
    ((-11, 60.0, "Decay", 211, lib.TRACK), lib.SHOWER),
    ((2212, 60.0, "protonInelastic", 2112, lib.TRACK), lib.TRACK),
])
def test_classes(arguments, expected):
  assert lib.particle_class(*arguments) == expected


@pytest.mark.parametrize("sizes,message", [((0.0, 10.0), "voxel_mm must be positive; got 0.0"),
                                           ((1.0, 40000.0), "at most 32768 voxels of 1.0 mm; got 40000.0"),
                                           ((1.0, -1.0), "got -1.0")])
def test_bad_sizes(sizes, message):
  with pytest.raises(ValueError, match=message):
    lib.voxelize(steps(), 5, voxel_mm=sizes[0], half_width_mm=sizes[1])


def test_too_many_events():
  with pytest.raises(ValueError, match="num_events=40000"):
    lib.voxelize(steps(), 40_000, voxel_mm=1.0, half_width_mm=9.0)
