"""What a newcomer touches: real changes, kept as diffs, against the budgets that CONTRIBUTING.md states."""
import os
import re
import shutil
import subprocess
import sys

import pytest

# diff -> first words of the row in CONTRIBUTING.md, and what must work afterwards
CHANGES = {
    "sampler": ("a sampler", """
from lartpc_jax.build.models import build_sampler
from lartpc_jax.diffusion import samplers
from lartpc_jax.diffusion.prediction import score_from_denoiser
from lartpc_jax.diffusion.sde import vp_sde
import jax
sde = vp_sde()
score = score_from_denoiser(sde, lambda x, s: x * (0.25 / (0.25 + s**2))[:, None])  # data N(0, 0.5^2)
sample = build_sampler(sde, name="midpoint", num_steps=12)
std = float(sample(score, jax.random.normal(jax.random.key(0), (2048, 1))).std())
assert abs(std - 0.5) < 0.04 and samplers.num_evaluations("midpoint", 3) == 7, std
"""),
    "condition": ("a condition variable", """
import numpy as np
from configs import protons64_ldm
from lartpc_jax.data import labels
from lartpc_jax.generators import condition as lib
condition = lib.make_condition(protons64_ldm.get_config("brightest_tiny").condition.to_dict())
batch = {"image": np.arange(8.0, dtype=np.float32).reshape(2, 2, 2)}
labels.check_wanted(["brightest_mev"], set(), "images")
found = labels.measure(batch, ["brightest_mev"], threshold_mev=0.1)
assert found["brightest_mev"].tolist() == [3.0, 7.0]
assert lib.parse(condition, "brightest_mev=3") == {"brightest_mev": 3.0}
"""),
    "images": ("a set of images", """
import numpy as np
from lartpc_jax.data.convert import convert
from lartpc_jax.data.open import open_data
images = np.random.default_rng(0).exponential(1.0, (3, 64, 64)).astype("<f4")
images.tofile("frames.raw")
convert("raw_frames", "frames.raw", "frames.npz")
assert np.array_equal(open_data("frames.npz").read(np.arange(3))["image"][:, 0], images)
"""),
    "metric": ("a metric", """
import types
import numpy as np
from lartpc_jax.experiments import rows
from lartpc_jax.metrics import sparsity
a, b = np.zeros((4, 2, 2)), np.ones((6, 2, 2))
assert sparsity.lit_share_difference(a, b).value == 1.0
assert "sparsity.lit_share_difference" in open(rows.__file__).read()
"""),
    "generator": ("a generator", """
import types
import numpy as np
from lartpc_jax.experiments.models import open_model
from lartpc_jax.generators.weights import save_weights
images = np.zeros((2, 4, 4), np.float32)
images[0, 0, 1], images[1, 1, 1] = 3.0, 5.0
save_weights(".", "resampling", {"images": images}, {}, dtype="float32")
model = open_model(types.SimpleNamespace(weights=".", seed=0, num=40))
drawn, _, _ = model.draw(lambda done: None)
assert drawn.shape == (40, 4, 4) and set(drawn.sum((1, 2)).tolist()) == {3.0, 5.0}
assert len({x.tobytes() for x in drawn}) == 12  # eight orientations of the one, four of the other
"""),
}


def budget(repo, row):
  """Number of files in the row of the table "What a change touches"."""
  return int(re.search(rf"^\| {row} \| (\d+) \|", (repo / "CONTRIBUTING.md").read_text(), re.M)[1])


def touched(patch):
  return re.findall(r"^diff --git a/(\S+) b/", patch.read_text(), re.M)


@pytest.fixture(scope="module")
def tree(repo, tmp_path_factory):
  """A copy of the source that a change may be made in."""
  target = tmp_path_factory.mktemp("tree")
  for name in ("lartpc_jax", "launch", "configs"):
    shutil.copytree(repo / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "assets"))
  os.symlink(repo / "lartpc_jax" / "assets", target / "lartpc_jax" / "assets")
  return target


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_touches_no_more_files_than_its_budget_and_works(name, repo, tree, tmp_path):
  row, check = CHANGES[name]
  patch = repo / "tests" / "newcomer" / f"{name}.patch"
  assert 1 <= len(touched(patch)) <= budget(repo, row)
  shutil.copytree(tree, tmp_path / "tree", symlinks=True)
  command = ["git", "apply", "--unidiff-zero", str(patch)]
  applied = subprocess.run(command, cwd=tmp_path / "tree", capture_output=True, text=True, check=False)
  failed = f"{name}.patch no longer fits; make it anew (git diff -U1): {applied.stderr}"
  assert applied.returncode == 0, failed
  environment = {**os.environ, "PYTHONPATH": str(tmp_path / "tree"), "PYTHONSAFEPATH": "1"}
  result = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, check=False)
  assert result.returncode == 0, result.stderr[-3000:]
