"""Released weights: one npz of arrays beside one JSON that says how to build the model. Never pickle."""
import hashlib
import json
import os
import zipfile
from importlib import resources
from pathlib import Path

import jax
import numpy as np

from lartpc_jax.files import atomic_write
from lartpc_jax.types import Params

FORMAT = 1
_SCALE = ":scale"      # ending of the key of the scales of a quantised kernel
BUNDLED = "protons64"  # the generator that ships with the package


def bundled_directory(name: str = BUNDLED) -> Path:
  """Directory of the weights `name` inside the installed package."""
  return Path(str(resources.files("lartpc_jax") / "assets" / name))


def bundled_names() -> list[str]:
  """Names of the weights that ship with the package."""
  return sorted(
      path.name for path in bundled_directory("").iterdir() if path.is_dir() and any(path.glob("*.json")))


def find_weights(weights: str | os.PathLike | None) -> Path:
  """Directory of weights given as a directory or as the name of bundled ones (None or "bundled": protons64).

  Raises:
    FileNotFoundError: naming the directory that does not exist, and the bundled names.
  """
  if weights is None or weights == "bundled":
    return bundled_directory()
  if str(weights) in bundled_names():
    return bundled_directory(str(weights))
  if not Path(weights).expanduser().is_dir():
    raise FileNotFoundError(f"No weights: there is no directory {os.fspath(weights)!r}, and the package has "
                            f"{', '.join(bundled_names())}.")
  return Path(weights).expanduser()


def flatten(params: Params) -> dict[str, np.ndarray]:
  """Nested dict -> {"a/b/kernel": array}."""
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  return {"/".join(str(entry.key) for entry in path): np.asarray(leaf) for path, leaf in leaves}


def unflatten(flat: dict[str, np.ndarray]) -> Params:
  """Inverse of `flatten`: name -> array [...] becomes a tree of them."""
  params: dict = {}
  for name, array in flat.items():
    *parents, leaf = name.split("/")
    node = params
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = array
  return params


STORED_DTYPE = "float16"


def rounded(params: Params, *, dtype: str = STORED_DTYPE) -> Params:
  """The parameters as they come back from a file."""
  return jax.tree.map(lambda x: np.asarray(x).astype(dtype).astype(np.asarray(x).dtype), params)


def save_weights(directory: str | os.PathLike, name: str, params: Params, info: dict, *,
                 dtype: str = STORED_DTYPE) -> None:
  """Writes `name`.npz and `name`.json, each whole or not at all.

  Float arrays are stored as `dtype`: a float type, or "int8": kernels (two axes or more) as integers times a
  scale for each output channel, their largest entry over 127, beside them as `KEY:scale`; vectors then stay
  float32.
  """
  directory = Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  with np.errstate(over="ignore"):  # refused below, by name
    arrays = _quantised(flatten(params)) if dtype == "int8" else {
        key: value.astype(dtype) for key, value in flatten(params).items()}
  for key, value in arrays.items():
    if not np.all(np.isfinite(value)):
      raise ValueError(f"Weight {key!r} is not finite as {dtype}.")
  with atomic_write(directory / f"{name}.npz", "wb") as file:
    np.savez(file, **arrays)
  digest = hashlib.sha256((directory / f"{name}.npz").read_bytes()).hexdigest()
  with atomic_write(directory / f"{name}.json") as file:
    json.dump({"format": FORMAT, "name": name, "sha256": digest, **info}, file, indent=1, default=list)


def load_weights(directory: str | os.PathLike, name: str) -> tuple[Params, dict]:
  """Parameters (float32) and the JSON beside them.

  Raises:
    FileNotFoundError: naming the missing file.
    ValueError: naming the file, if it is truncated, altered (sha256) or of another format.
  """
  directory = Path(directory)
  for suffix in ("json", "npz"):
    if not (directory / f"{name}.{suffix}").exists():
      raise FileNotFoundError(f"No weights: {directory / f'{name}.{suffix}'} does not exist. Train them with "
                              "`python -m launch.train`, or use the bundled ones (--weights unset).")
  try:
    info = json.loads((directory / f"{name}.json").read_text())
  except json.JSONDecodeError as error:
    raise ValueError(f"{directory / f'{name}.json'}: not valid JSON (truncated?): {error}") from error
  if not isinstance(info, dict):
    raise ValueError(f"{directory / f'{name}.json'}: must hold a JSON object; got {type(info).__name__}.")
  if info.get("format") != FORMAT:
    raise ValueError(
        f"{directory / f'{name}.json'}: format {info.get('format')!r}; this version reads {FORMAT}.")
  content = (directory / f"{name}.npz").read_bytes()
  if hashlib.sha256(content).hexdigest() != info.get("sha256"):
    raise ValueError(
        f"{directory / f'{name}.npz'}: sha256 differs from the one in {name}.json: truncated or altered.")
  try:
    with np.load(directory / f"{name}.npz", allow_pickle=False) as npz:
      stored = {key: npz[key].astype(np.float32) for key in npz.files}
  except (zipfile.BadZipFile, ValueError, EOFError) as error:
    raise ValueError(f"{directory / f'{name}.npz'}: not a readable npz: {error}") from error
  flat = {key: value * stored[key + _SCALE] if key + _SCALE in stored else value
          for key, value in stored.items() if not key.endswith(_SCALE)}
  return unflatten(flat), info


def _quantised(flat: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  arrays = {}
  for key, value in flat.items():
    value = value.astype(np.float32)
    if value.ndim < 2 or not np.all(np.isfinite(value)):
      arrays[key] = value
      continue
    scale = np.maximum(np.abs(value).max(axis=tuple(range(value.ndim - 1)), keepdims=True), 1e-30) / 127.0
    arrays[key], arrays[key + _SCALE] = np.round(value / scale).astype(np.int8), scale.astype(np.float32)
  return arrays


def num_parameters(directory: str | os.PathLike, *, leave_out: tuple[str, ...] = ()) -> int:
  """Numbers in all weights of a directory but those of the names in `leave_out`; scales of quantisation do
  not count."""
  total = 0
  for path in sorted(Path(directory).glob("*.npz")):
    if path.stem not in leave_out:
      with np.load(path, allow_pickle=False) as npz:
        total += sum(npz[key].size for key in npz.files if not key.endswith(_SCALE))
  return total


def store_as(source: str | os.PathLike, target: str | os.PathLike, dtype: str) -> list[str]:
  """Writes all weights of directory `source` into `target`, stored as `dtype`; returns their names.

  Raises:
    FileNotFoundError: if `source` holds no weights.
    ValueError: as `load_weights` and `save_weights`.
  """
  names = sorted(path.stem for path in Path(source).glob("*.json") if path.with_suffix(".npz").exists())
  if not names:
    raise FileNotFoundError(f"{source} holds no weights: no NAME.json with a NAME.npz beside it.")
  for name in names:
    params, info = load_weights(source, name)
    own = {key: value for key, value in info.items() if key not in ("format", "name", "sha256")}
    save_weights(target, name, params, own, dtype=dtype)
  return names


def copy_weights(source: str | os.PathLike, target: str | os.PathLike, name: str) -> None:
  """Copies `name`.npz and `name`.json from directory `source` to `target`, each whole or not at all."""
  for suffix in ("npz", "json"):
    content = (Path(source) / f"{name}.{suffix}").read_bytes()
    with atomic_write(Path(target) / f"{name}.{suffix}", "wb") as file:
      file.write(content)
