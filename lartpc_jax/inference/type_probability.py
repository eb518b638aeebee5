"""From the objectives of all particle types to probabilities that are calibrated on simulation.

Multinomial logistic regression (Cox 1958) on a few features of each type, its temperature fitted on events
that the weights have not seen (Guo et al. 2017, sec. 4.2). Host-side. The probabilities are those of the
shares that the types had in the fitted events.
"""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from lartpc_jax.tables import write_json

FEATURES = ("emd", "charge", "near_emd")  # of a type; logarithms, see `features_of`
FORMAT = "type map 1"
_LEAST_EMD_PX = 0.02   # added before logarithms: below, distances are those of the pixels
_LEAST_CHARGE = 0.005
_PRIOR = 1e-3          # of the squared weights, against the mean log-likelihood
_SHARE = 0.25          # of the events fits the temperature


class TypeMap(NamedTuple):
  """log p = (features - mean) / scale @ weight + bias, over the temperature, normalised."""
  types: tuple[str, ...]
  mean: np.ndarray        # [f]
  scale: np.ndarray       # [f]
  weight: np.ndarray      # [f k]
  bias: np.ndarray        # [k]
  temperature: float
  identity: dict          # of the inference whose objectives it reads
  num_events: int         # that it was fitted on


def features_of(emd: np.ndarray, charge: np.ndarray, near_emd: np.ndarray) -> np.ndarray:
  """Features [n k*3] of distances [n k] in px, relative charges off [n k] and distances to the nearest of the
  library [n k s]: logarithms, of the last the mean of the four least.

  What is not finite counts as very far.
  """
  least = np.sort(np.nan_to_num(near_emd, nan=np.inf), axis=2)[:, :, :4].mean(2)
  far = lambda x: np.nan_to_num(np.asarray(x, np.float64), nan=1e3, posinf=1e3)
  parts = [np.log(np.maximum(far(emd), 0.0) + _LEAST_EMD_PX), np.log(far(charge) + _LEAST_CHARGE),
           np.log(np.maximum(far(least), 0.0) + _LEAST_EMD_PX)]
  return np.concatenate(parts, axis=1)


def fit_type_map(features: np.ndarray, label: np.ndarray, types: Sequence[str], *, identity: dict,
                 seed: int = 0) -> TypeMap:
  """The map that says most of `label` [n], numbers of `types` [k], given features [n f].

  Raises:
    ValueError: if a type has fewer than eight events.
  """
  counts = np.bincount(label, minlength=len(types))
  for name, count in zip(types, counts, strict=True):
    if count < 8:
      raise ValueError(f"A calibration needs at least 8 events of each type; of {name} there are {count}.")
  order = np.random.default_rng(seed).permutation(len(label))
  held, used = np.split(order, [int(_SHARE * len(order))])
  mean, scale = features[used].mean(0), np.maximum(features[used].std(0), 1e-6)
  x, one_hot = (features - mean) / scale, np.eye(len(types))[label]
  shape = (x.shape[1], len(types))

  def loss(flat):
    weight, bias = flat[:-shape[1]].reshape(shape), flat[-shape[1]:]
    log_p = special.log_softmax(x[used] @ weight + bias, axis=1)
    rest = (np.exp(log_p) - one_hot[used]) / len(used)
    slope = np.concatenate([(x[used].T @ rest + 2 * _PRIOR * weight).ravel(), rest.sum(0)])
    return -np.mean(np.sum(one_hot[used] * log_p, axis=1)) + _PRIOR * np.sum(weight**2), slope

  found = optimize.minimize(loss, np.zeros(shape[0] * shape[1] + shape[1]), jac=True, method="L-BFGS-B",
                            options={"maxiter": 500}).x
  weight, bias = found[:-shape[1]].reshape(shape), found[-shape[1]:]
  logits, truth = x[held] @ weight + bias, one_hot[held]
  cold = lambda log_t: -np.mean(np.sum(truth * special.log_softmax(logits / np.exp(log_t), axis=1), axis=1))
  temperature = float(np.exp(optimize.minimize_scalar(cold, bounds=(-2.0, 2.0), method="bounded").x))
  return TypeMap(tuple(types), mean, scale, weight, bias, temperature, identity, len(label))


def type_probability(known: TypeMap, features: np.ndarray) -> np.ndarray:
  """Probabilities [n k] of the types, given features [n f]."""
  logits = (features - known.mean) / known.scale @ known.weight + known.bias
  return special.softmax(logits / known.temperature, axis=1)


def save_type_map(path: str | Path, known: TypeMap) -> Path:
  """Writes a map as JSON, whole or not at all."""
  return write_json(path, {"format": FORMAT, "features": FEATURES, **known._asdict()})


def load_type_map(path: str | Path) -> TypeMap:
  """Reads what `save_type_map` wrote.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: naming the file, if it is no such map.
  """
  try:
    values = json.loads(Path(path).read_text(encoding="utf-8"))
    if values.pop("format") != FORMAT or tuple(values.pop("features")) != FEATURES:
      raise ValueError("another format")
    arrays = {name: np.array(values.pop(name), np.float64) for name in ("mean", "scale", "weight", "bias")}
    known = TypeMap(**arrays, **{**values, "types": tuple(values["types"])})
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    if isinstance(error, FileNotFoundError):
      raise
    raise ValueError(f"{path}: is no calibration of particle types as launch.identify writes them "
                     f"({error}).") from error
  k = len(known.types)
  if known.weight.shape != (len(FEATURES) * k, k) or known.mean.shape != (len(FEATURES) * k,):
    raise ValueError(f"{path}: weights of shape {known.weight.shape} do not fit {k} types.")
  return known
