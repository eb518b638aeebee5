"""The robustness table: its sets of events, a line of it, and the command."""
import numpy as np
import pytest

from lartpc_jax.experiments import robustness
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.units import kinetic_energy
from tests.test_launch_benchmarks import launch
from tests.toy_weights import save_toy_weights

VIEWS = ("xy", "xz")


def test_sets_of_events():
  """All but the interacting ones are the same events, and each condition has done what it says."""
  sets = robustness.make_sets("sample", views=VIEWS, spec=ImageSpec(), num=12, first_event=0, seed=0)
  images = dict(zip(robustness.TEXTS, sets.images, strict=True))
  momenta = dict(zip(robustness.TEXTS, sets.momentum_mev, strict=True))
  kinetic = {name: kinetic_energy(p) for name, p in momenta.items()}
  for name in set(robustness.TEXTS) - {"nuclear"}:
    np.testing.assert_array_equal(momenta[name], momenta["clean"])
  ratio = {name: x.sum((2, 3)).mean(1) / kinetic[name] for name, x in images.items()}
  np.testing.assert_allclose(ratio["clean"], 1.0, atol=0.03)
  np.testing.assert_allclose(ratio["charge"] / ratio["clean"], 1.05, rtol=1e-5)
  assert np.median(ratio["nuclear"]) < 0.9 and np.all(ratio["dead_wires"] <= ratio["clean"] + 1e-6)
  np.testing.assert_allclose(images["vertex"].sum((2, 3)), images["clean"].sum((2, 3)), rtol=0.03)
  assert np.abs(images["vertex"] - images["clean"]).max() > 0.5
  with pytest.raises(ValueError,
                     match="sample: has .* clean and .* interacting events from number 400; asked"):
    robustness.make_sets("sample", views=VIEWS, spec=ImageSpec(), num=90, first_event=400, seed=0)


def test_a_line():
  """A flagged failure counts among all, and not among the ones that are reported as good."""
  errors = {"inferred": np.array([10.0, 20.0, 300.0, 30.0]), "classical": np.array([40.0, 50.0, 60.0, 70.0])}
  fields = {"converged": np.array([True, True, False, True]), "emd_end": np.full((4, 2), 0.5)}
  cells = robustness.row("x", errors, fields)
  assert cells == ["x", "25.0, 259.5, 25.0", "55.0, 68.5, 50.0", "25.0", "0.0", "0.50"]
  assert len(robustness.head(list(errors))) == len(cells)
  del errors["inferred"]
  assert len(robustness.head(list(errors))) == len(robustness.row("x", errors, {})) == 2


@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_command(repo, tmp_path):
  """All conditions with tiny settings and random weights; the second call computes nothing anew."""
  weights = save_toy_weights(tmp_path / "weights")
  arguments = ("launch.robustness", "--config=configs/protons64_infer.py:tiny", "--vertex_variant=tiny",
               "--num_events=2", f"--weights={weights}", "--start=classical", f"--out={tmp_path}")
  for _ in range(2):
    done = launch(repo, *arguments)
    assert done.returncode == 0, done.stderr
  text = (tmp_path / "robustness.md").read_text()
  assert all(word in done.stdout
             for word in ("dead wires", "noise, 2%", "vertex off by 1 pixel, vertex fitted", text))
