"""launch.generate: momenta, images in the file that launch.infer reads, warnings, mistakes."""
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from configs import protons64_infer
from lartpc_jax.data.images import open_images
from lartpc_jax.experiments import generate, infer, protocol
from lartpc_jax.geometry.rasterize import ImageSpec
from tests.toy_weights import save_toy_weights

VIEWS = ("xy", "xz")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  return str(save_toy_weights(tmp_path_factory.mktemp("weights")))


def tiny():
  return protons64_infer.get_config("tiny").to_dict()


def test_parse_momenta():
  np.testing.assert_array_equal(generate.parse_momenta("-356,-245,40; 1e2,0,0"),
                                [[-356, -245, 40], [100, 0, 0]])
  for text in ("", "1,2", "1,2,3,4", "a,b,c", "1,2,nan", "1,2,3;"):
    with pytest.raises(ValueError, match=f"Bad momentum '{text.split(';')[-1]}'"):
      generate.parse_momenta(text)


def test_drawn_momenta_are_isotropic_and_uniform_in_energy():
  momenta = generate.draw_momenta(4000, ["50", "100"], seed=3)
  unit = momenta / np.linalg.norm(momenta, axis=1, keepdims=True)
  for axis in range(3):  # each component of a direction uniform on the sphere is uniform (Archimedes)
    assert stats.kstest(unit[:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-3
  assert abs(np.corrcoef(unit.T)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(4000)
  energy = np.sqrt(np.sum(momenta.astype(float)**2, axis=1) + 938.27209**2) - 938.27209
  assert stats.kstest(energy, stats.uniform(50, 50).cdf).pvalue > 1e-3
  np.testing.assert_array_equal(momenta, generate.draw_momenta(4000, [50.0, 100.0], seed=3))
  for text in ("50", "100,50", "a,b", "0,10", "50,inf", "1,2,3"):
    with pytest.raises(ValueError, match=f"Bad kinetic energies '{text}': give minimum,maximum in MeV"):
      generate.draw_momenta(2, text.split(","), seed=0)


def test_one_picture_where_every_momentum_has_one_event(tmp_path):
  momenta = generate.draw_momenta(20, (50.0, 100.0), seed=0)
  paths = generate.write_images(tmp_path, np.ones((20, 1, 64, 64), np.float32), momenta, views=("xy",), num=1)
  assert [p.name for p in paths] == ["images.npz", "images.png"] and all(p.exists() for p in paths)


@pytest.mark.slow
def test_images_go_to_infer(weights, tmp_path):
  said, done = [], []
  momenta = np.array([[256.0, -245.0, 40.0], [0.0, 0.0, 100.0]], np.float32)
  make = lambda chunk_size: generate.generate_events(momenta, tiny(), views=VIEWS, num=3, weights=weights,
                                                     seed=1, chunk_size=chunk_size, extrapolate=True,
                                                     bar=protocol.Bar(done.append, said.append))
  images, momentum, pdg = make(2)
  assert pdg is None
  assert images.shape == (6, 2, 64, 64) and done[-1] == 6 and np.all(images >= 0)
  assert len(said) == 1 and "(0, 0, 100) MeV/c is 5.3 MeV, outside 50 to 100 MeV" in said[0]
  np.testing.assert_allclose(images, make(1)[0], atol=1e-4)
  with pytest.raises(ValueError, match=r"energy of \(0, 0, 100\) MeV/c is 5.3 MeV, outside 50"):
    generate.generate_events(momenta, tiny(), views=VIEWS, num=3, weights=weights)
  paths = generate.write_images(tmp_path, images, momentum, views=VIEWS, num=3)
  assert [p.name for p in paths] == ["images.npz", "images_00.png", "images_01.png"] and all(
      p.exists() for p in paths)
  found = open_images(paths[0], views=VIEWS, spec=ImageSpec())
  np.testing.assert_array_equal(found.images, images)
  np.testing.assert_array_equal(found.momentum_mev, np.repeat(momenta, 3, axis=0))
  job = infer.prepare(infer.Settings(str(paths[0]), VIEWS, weights=weights), tiny())
  assert len(job.events) == 6 and job.data.clean is None


@pytest.mark.slow
def test_the_view_sees_its_own_axes(weights):
  """The xz image of (px, py, pz) is the xy image of (px, pz, py), for the same noise."""
  draw = lambda p, view: generate.generate_events(np.array([p], np.float32), tiny(), views=(view,), num=2,
                                                  weights=weights, chunk_size=1)[0]
  np.testing.assert_allclose(draw([300.0, 100.0, 20.0], "xz"), draw([300.0, 20.0, 100.0], "xy"), atol=1e-5)


def test_unwritable_directory(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match="Cannot write to"):
    generate.write_images(tmp_path / "file" / "x", np.ones((1, 1, 64, 64)), np.ones((1, 3)), views=("xy",),
                          num=1)


def slow(*values):
  """Each case is a process; the first ones tell that mistakes are told at all."""
  return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("arguments,message", [
    slow(["--out=x"], "Give --momentum or --kinetic_mev"), slow(["--momentum=1,2,3"], "Give --out"),
    slow(["--out=x", "--momentum=1,2,3", "--kinetic_mev=50,100"], "one of the two"),
    slow(["--out=x", "--kinetic_mev=50"], "Bad kinetic energies '50'"),
    (["--out=x", "--momentum=1,2"], "error: Bad momentum '1,2'"),
    (["--out=x", "--momentum=1,2,3", "--views=ab", "--weights=WEIGHTS"], "Unknown view 'ab'")])
def test_mistakes_are_one_message(repo, weights, arguments, message):
  done = subprocess.run(
      [sys.executable, "-m", "launch.generate", *(a.replace("WEIGHTS", weights) for a in arguments)],
      cwd=repo, env={**os.environ, "PYTHONPATH": "."
                    }, capture_output=True, text=True, timeout=120, check=False)
  assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
