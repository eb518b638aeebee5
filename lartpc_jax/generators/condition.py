"""What a generator is asked for: named physical variables, their ranges, and their fixed features for a
network.

A condition is declared once, by name (`{"momentum_mev": vector(500.0), "track_share": scalar(0.5, 0.5, low=0,
high=1)}`). Everywhere else it is a dict of physical values, `cond["momentum_mev"]` [b 3] in MeV/c, and only
`embed` scales them.
"""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.data.labels import COUNT

FREQUENCIES = (1.0, 2.0, 4.0)  # of sines and cosines, in radians per scaled value


class Variable(NamedTuple):
  """One variable of a condition; from `vector`, `scalar` or `label`."""
  kind: str                   # "vector", "scalar" or "label"
  mean: float                 # subtracted before scaling (0 for a vector)
  scale: float                # in units of the variable: what the network sees as 1
  low: float                  # smallest value allowed; of a vector, smallest norm
  high: float                 # largest
  classes: tuple[str, ...]    # names of the numbers of a label
  size: int                   # components of a vector
  log: bool                   # of a scalar: mean and scale are those of its natural logarithm


class Condition(NamedTuple):
  """Variables by name; features come in this order."""
  variables: dict[str, Variable]


def vector(scale: float, *, size: int = 3, low: float = 0.0, high: float = float("inf")) -> Variable:
  """A vector [b size] in units of `scale`, with norms in [low, high]: a momentum in MeV/c, say.

  Raises:
    ValueError: if scale or size is not positive, or low exceeds high.
  """
  if size < 1:
    raise ValueError(f"A vector needs size >= 1; got {size}.")
  return _numbers("vector", 0.0, scale, low, high, size)


def scalar(mean: float, scale: float, *, low: float = -float("inf"), high: float = float("inf"),
           log: bool = False) -> Variable:
  """A number [b] in [low, high], seen as (value - mean) / scale, or with `log` as (log(value) - mean) /
  scale.

  Raises:
    ValueError: as `vector`, and for a logarithm of what need not be positive.
  """
  if log and not low > 0.0:
    raise ValueError(f"A scalar with log needs low > 0; got {low}.")
  return _numbers("scalar", mean, scale, low, high, 1)._replace(log=log)


def label(classes: tuple[str, ...] | list[str]) -> Variable:
  """A class [b] int, an index into the names `classes`. Raises ValueError for fewer than two, or equal
  names."""
  classes = tuple(classes)
  if len(classes) < 2 or len(set(classes)) < len(classes):
    raise ValueError(f"A label needs at least two different classes; got {list(classes)}.")
  return Variable("label", 0.0, 1.0, 0.0, len(classes) - 1.0, classes, 1, False)


def _numbers(kind: str, mean: float, scale: float, low: float, high: float, size: int) -> Variable:
  if not scale > 0.0:
    raise ValueError(f"A {kind} needs scale > 0; got {scale}.")
  if not low <= high:
    raise ValueError(f"A {kind} needs low <= high; got {low} and {high}.")
  return Variable(kind, float(mean), float(scale), float(low), float(high), (), size, False)


KINDS = {"vector": vector, "scalar": scalar, "label": label}


def make_condition(declared: Mapping[str, Mapping]) -> Condition:
  """Condition of a config block: name -> {"kind": "vector", "scalar" or "label", and the arguments of that
  builder}.

  Raises:
    ValueError: naming the variable whose kind or arguments do not fit.
  """
  variables = {}
  for name, values in declared.items():
    values = dict(values)
    kind = values.pop("kind", None)
    if kind not in KINDS:
      raise ValueError(f"Unknown kind {kind!r} of condition variable {name!r}; choose from {sorted(KINDS)}.")
    try:
      variables[name] = KINDS[kind](**values)
    except (TypeError, ValueError) as error:
      raise ValueError(f"Condition variable {name!r}: {error}") from error
  return Condition(variables)


def check(condition: Condition, cond: Mapping) -> dict[str, np.ndarray]:
  """The values on the host as float32 (labels int32), if they are what the condition declares.

  Raises:
    ValueError: naming a missing or unknown variable, one of the wrong shape, or a value out of range.
  """
  declared = sorted(condition.variables)
  for name in cond:
    if name not in condition.variables:
      raise ValueError(f"Unknown condition variable {name!r}; there are {declared}.")
  checked, num = {}, None
  for name, variable in condition.variables.items():
    if name not in cond:
      raise ValueError(f"Missing condition variable {name!r}; given are {sorted(cond)}.")
    values = np.asarray(cond[name])
    num = len(values) if values.ndim and num is None else num
    shape = (num, variable.size) if variable.kind == "vector" else (num,)
    if values.shape != shape:
      raise ValueError(f"Condition variable {name!r} must have shape {shape}; got {values.shape}.")
    if variable.kind == "label" and values.dtype.kind not in "iu":
      raise ValueError(
          f"Condition variable {name!r} is a label, a whole number below {len(variable.classes)}; "
          f"got {values.dtype}.")
    size = np.linalg.norm(values, axis=-1) if variable.kind == "vector" else values
    bad = ~((size >= variable.low) & (size <= variable.high))  # NaN is bad too
    if bad.any():
      what = "norm" if variable.kind == "vector" else "value"
      raise ValueError(f"Condition variable {name!r} has {what} {size[bad][0]}; allowed: {variable.low} to "
                       f"{variable.high}.")
    checked[name] = values
  return as_arrays(condition, checked)


def as_arrays(condition: Condition, cond: Mapping) -> dict[str, np.ndarray]:
  """The same values on the host as float32, labels as int32."""
  types = {"label": np.int32}
  return {name: np.asarray(values).astype(types.get(condition.variables[name].kind, np.float32))
          for name, values in cond.items()}


def parse(condition: Condition, text: str) -> dict[str, float | int]:
  """"track_share=1,particle=mu-" -> {"track_share": 1.0, "particle": 1}: numbers, and classes by their names.

  Where one of the COUNT variables is given, the others are 0.

  Raises:
    ValueError: naming a part that is not NAME=VALUE, an unknown variable or class, a vector, or a value out
      of range.
  """
  values = {}
  for part in filter(None, text.split(",")):
    name, found, value = (piece.strip() for piece in part.partition("="))
    if not found or not value:
      raise ValueError(f"{part.strip()!r} is not NAME=VALUE.")
    if name not in condition.variables:
      raise ValueError(f"Unknown condition variable {name!r}; there are {sorted(condition.variables)}.")
    values[name] = _parse_value(name, condition.variables[name], value)
  if any(name.startswith(COUNT) for name in values):  # one proton and one muon: and nothing else
    values |= {name: 0.0 for name in condition.variables if name.startswith(COUNT) and name not in values}
  check(Condition({name: condition.variables[name] for name in values}), {
      name: np.array([value]) for name, value in values.items()})
  return values


def _parse_value(name: str, variable: Variable, text: str) -> float | int:
  if variable.kind == "vector":
    raise ValueError(f"Condition variable {name!r} is a vector, which NAME=VALUE cannot give.")
  if variable.kind == "label":
    if text not in variable.classes:
      raise ValueError(
          f"Unknown class {text!r} of condition variable {name!r}; choose from {list(variable.classes)}.")
    return variable.classes.index(text)
  try:
    return float(text)
  except ValueError as error:
    raise ValueError(f"Condition variable {name!r} must be a number; got {text!r}.") from error


def placeholder(condition: Condition, num: int) -> dict[str, np.ndarray]:
  """Values [num ...] that are allowed, for a network that is not told them: those of its null condition."""
  values = {}
  for name, variable in condition.variables.items():
    mean = np.exp(variable.mean) if variable.log else variable.mean
    value = np.clip(mean, variable.low, variable.high)
    row = np.eye(1, variable.size)[0] * value if variable.kind == "vector" else value
    values[name] = np.broadcast_to(row, (num, *np.shape(row)))
  return as_arrays(condition, values)


def num_features(condition: Condition) -> int:
  """Length of what `embed` returns for one example."""
  return sum(_num_features(variable) for variable in condition.variables.values())


def _num_features(variable: Variable) -> int:
  if variable.kind == "label":
    return len(variable.classes)
  waves = 1 + 2 * len(FREQUENCIES)
  return waves * (variable.size + 1) + variable.size if variable.kind == "vector" else waves


def embed(condition: Condition, cond: Mapping) -> Float[Array, "b f"]:
  """Fixed features of a condition: of numbers the scaled value, sines and cosines of it; of a label one-hot.

  Of a vector those of its components and of its norm, and its direction.

  Args:
    condition: the variables.
    cond: physical values by name; others than the declared ones are ignored.
  Returns:
    [b f], in the order of declaration. Differentiable in everything but labels and vectors of no length.
  """
  parts = []
  for name, variable in condition.variables.items():
    values = jnp.asarray(cond[name])
    if variable.kind == "label":
      classes = jnp.arange(len(variable.classes), dtype=values.dtype)
      parts.append((values[:, None] == classes[None]).astype(jnp.float32))
    elif variable.kind == "vector":
      norm = jnp.linalg.norm(values, axis=-1, keepdims=True)
      scaled = jnp.concatenate([values, norm], axis=-1) / variable.scale
      parts += [_waves(scaled), values / jnp.maximum(norm, 1e-6 * variable.scale)]
    else:
      values = jnp.log(values) if variable.log else values
      parts.append(_waves(((values - variable.mean) / variable.scale)[:, None]))
  return jnp.concatenate(parts, axis=-1)


def _waves(scaled: Float[Array, "b n"]) -> Float[Array, "b f"]:
  angles = (scaled[:, :, None] * jnp.array(FREQUENCIES, scaled.dtype)[None, None]).reshape(len(scaled), -1)
  return jnp.concatenate([scaled, jnp.sin(angles), jnp.cos(angles)], axis=-1)


def feature_inputs(condition: Condition) -> Callable:
  """cond -> what a network with features is told: {"features": [b f]}, or {} without variables."""
  return lambda cond: {"features": embed(condition, cond)} if condition.variables else {}


def track_inputs(condition: Condition) -> Callable:
  """cond of the track frame (`generators.frame.track_frame`) -> what `networks.unet.LatentUNet` is told of a
  track."""
  scale = condition.variables["momentum_mev"].scale
  return lambda cond: {"momentum": cond["momentum_mev"] / scale, "end": cond["end"]}
