"""Weight files: round trip within the stored precision, and every way in which they break is named."""
import hashlib
import json

import numpy as np
import pytest

from lartpc_jax.generators import weights as weight_files

RNG = np.random.default_rng(0)
PARAMS = {"dense": {"kernel": RNG.normal(size=(3, 4)).astype(np.float32), "bias": np.zeros(4, np.float32)},
          "scale": RNG.normal(size=5).astype(np.float32)}


@pytest.fixture
def saved(tmp_path):
  weight_files.save_weights(tmp_path / "w", "net", PARAMS, {"network": {"features": 4}, "shape": (1, 2)})
  return tmp_path / "w"


def edit_json(directory, **changes):
  path = directory / "net.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("dtype,rtol", [("float16", 2.0**-11), ("float32", 0.0)])
def test_round_trip(tmp_path, dtype, rtol):
  weight_files.save_weights(tmp_path, "net", PARAMS, {"step": 7, "shape": (1, 2)}, dtype=dtype)
  params, info = weight_files.load_weights(tmp_path, "net")
  assert info["step"] == 7 and info["shape"] == [1, 2] and info["format"] == weight_files.FORMAT
  assert set(params) == {"dense", "scale"} and set(params["dense"]) == {"kernel", "bias"}
  for name, array in weight_files.flatten(PARAMS).items():
    loaded = weight_files.flatten(params)[name]
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, array, rtol=rtol, atol=0 if rtol == 0 else 1e-7)
    np.testing.assert_array_equal(loaded,
                                  weight_files.flatten(weight_files.rounded(PARAMS, dtype=dtype))[name])
  assert {p.name for p in tmp_path.iterdir()} == {"net.npz", "net.json"}


def test_flatten_names_paths_and_unflatten_inverts_it():
  flat = weight_files.flatten(PARAMS)
  assert set(flat) == {"dense/kernel", "dense/bias", "scale"}
  assert weight_files.unflatten(flat)["dense"]["kernel"] is flat["dense/kernel"]


def test_copy_weights(saved, tmp_path):
  (tmp_path / "copy").mkdir()
  weight_files.copy_weights(saved, tmp_path / "copy", "net")
  np.testing.assert_array_equal(weight_files.load_weights(tmp_path / "copy", "net")[0]["scale"],
                                weight_files.load_weights(saved, "net")[0]["scale"])


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_missing_file_is_named(saved, suffix):
  (saved / f"net.{suffix}").unlink()
  with pytest.raises(FileNotFoundError, match=f"No weights: .*net.{suffix} does not exist.*launch.train"):
    weight_files.load_weights(saved, "net")


def test_truncated_and_altered_arrays_are_named(saved):
  path = saved / "net.npz"
  content = path.read_bytes()
  for broken in (content[:len(content) // 2], content[:100] + bytes([content[100] ^ 1]) + content[101:], b""):
    path.write_bytes(broken)
    with pytest.raises(ValueError,
                       match="net.npz: sha256 differs from the one in net.json: truncated or altered"):
      weight_files.load_weights(saved, "net")


@pytest.mark.parametrize("content", [b"no zip at all", b"PK\x03\x04 cut", b""])
def test_a_file_that_was_never_an_npz_is_named(saved, content):
  (saved / "net.npz").write_bytes(content)
  edit_json(saved, sha256=hashlib.sha256(content).hexdigest())
  with pytest.raises(ValueError, match="net.npz: not a readable npz"):
    weight_files.load_weights(saved, "net")


def test_bad_json_is_named(saved):
  path = saved / "net.json"
  text = path.read_text()
  path.write_text(text[:len(text) // 2])
  with pytest.raises(ValueError, match="net.json: not valid JSON"):
    weight_files.load_weights(saved, "net")
  path.write_text("[1, 2]")
  with pytest.raises(ValueError, match="net.json: must hold a JSON object; got list"):
    weight_files.load_weights(saved, "net")


def test_another_format_is_named(saved):
  edit_json(saved, format=99)
  with pytest.raises(ValueError, match="net.json: format 99; this version reads 1"):
    weight_files.load_weights(saved, "net")


def test_weights_that_overflow_are_refused(tmp_path):
  with pytest.raises(ValueError, match="Weight 'a/b' is not finite as float16"):
    weight_files.save_weights(tmp_path, "net", {"a": {"b": np.full(2, 1e6, np.float32)}}, {})
  assert not list(tmp_path.iterdir())


def test_int8_is_within_half_a_step(tmp_path):
  """Kernels come back within half of a 127th of each output channel's largest entry, vectors as they were."""
  draw = np.random.default_rng(0)
  params = {
      "a": {
          "kernel": draw.normal(size=(3, 5, 4)).astype(np.float32) * np.array([1e-3, 1, 10, 0], np.float32),
          "bias": draw.normal(size=4).astype(np.float32)
      }
  }
  weight_files.save_weights(tmp_path, "small", params, {}, dtype="int8")
  with np.load(tmp_path / "small.npz") as npz:
    assert npz["a/kernel"].dtype == np.int8
  back, _ = weight_files.load_weights(tmp_path, "small")
  np.testing.assert_array_equal(back["a"]["bias"], params["a"]["bias"])
  step = np.abs(params["a"]["kernel"]).max((0, 1)) / 127
  assert (np.abs(back["a"]["kernel"] - params["a"]["kernel"]) <= 0.501 * step).all()
  assert set(back["a"]) == {"kernel", "bias"}
  with pytest.raises(ValueError, match="'a/kernel' is not finite"):
    weight_files.save_weights(tmp_path, "bad", {"a": {"kernel": np.full((2, 2), np.nan, np.float32)}}, {},
                              dtype="int8")


@pytest.mark.slow
def test_the_model_of_crops_that_ships_draws_sparse_images():
  """Two draws of five evaluations: finite, mostly empty, with some charge."""
  from lartpc_jax.build.generators import build_generator
  from lartpc_jax.experiments import pixels
  generator, info, _ = build_generator("crops64")
  images, _ = pixels.draw_images(generator, 2, seed=0, chunk_size=2, name="dpm_solver_pp_2m",
                                 num_evaluations=5, uniform=False)
  assert images.shape == (2, 64, 64) and np.all(np.isfinite(images)) and info["step"] >= 2000
  assert np.all(images[images > 0] >= pixels.threshold_of(info)) and 0 < np.mean(images > 0) < 0.3


def test_weights_are_stored_anew_as_integers(tmp_path):
  rng = np.random.default_rng(0)
  params = {"dense": {"kernel": rng.normal(size=(30, 20)), "bias": rng.normal(size=20)}}
  weight_files.save_weights(tmp_path / "a", "net", params, {"step": 3}, dtype="float32")
  assert weight_files.store_as(tmp_path / "a", tmp_path / "b", "int8") == ["net"]
  found, info = weight_files.load_weights(tmp_path / "b", "net")
  step = np.abs(params["dense"]["kernel"]).max(0) / 127
  assert np.all(np.abs(found["dense"]["kernel"] - params["dense"]["kernel"]) <= 0.501 * step + 1e-6)
  np.testing.assert_allclose(found["dense"]["bias"], params["dense"]["bias"], rtol=1e-6)
  assert info["step"] == 3 and info["name"] == "net"
  with pytest.raises(FileNotFoundError, match="holds no weights"):
    weight_files.store_as(tmp_path / "none", tmp_path / "b", "int8")
