"""Draws of generators whose images follow from keys of their own: conditions, and chunks on all devices."""
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from lartpc_jax import parallel
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.condition import Condition
from lartpc_jax.generators.keyed import KeyedModel, image_keys, table_rows
from lartpc_jax.keys import root_key


def choose_conditions(table: Mapping[str, jax.Array], declared: Condition, keys: jax.Array,
                      asked: Mapping[str, float]) -> dict[str, np.ndarray]:
  """Conditions of training images, name -> [n], with those in `asked` the same for all.

  Raises:
    ValueError: naming an unknown variable or a value out of range.
  """
  cond = {name: np.asarray(values) for name, values in table_rows(table, keys).items()}
  for name in asked:
    if name not in cond:
      raise ValueError(f"Unknown condition variable {name!r}; this model takes {sorted(cond)}.")
  cond.update({name: np.full(len(keys), value, np.float32) for name, value in asked.items()})
  condition_lib.check(declared, {name: cond[name] for name in declared.variables})
  return cond


def draw_in_chunks(draw: Callable, keys: jax.Array, cond: Mapping[str, np.ndarray], *, chunk_size: int,
                   update: Callable = lambda done: None) -> tuple[np.ndarray, float]:
  """Images [n h w] in MeV of draw(keys [b], cond), and the seconds that one took.

  The seconds leave out the first chunk, which compiles, if there are others.

  Args:
    draw: of an image a key.
    keys: [n].
    cond: name -> [n].
    chunk_size: images a device draws at once.
    update: called with the number of finished images.
  """
  marks = [(0, time.perf_counter())]

  def progress(done: int) -> None:
    marks.append((done, time.perf_counter()))
    update(done)
  mapped = parallel.make_device_map(lambda batch: draw(batch["key"], batch["cond"]), chunk_size=chunk_size)
  images = mapped({"key": keys, "cond": cond}, progress=progress)
  (first, start), (last, end) = marks[min(1, len(marks) - 2)], marks[-1]
  return images, (end - start) / (last - first)


def draw_keyed(model: KeyedModel, num: int, *, seed: int = 0, chunk_size: int = 64,
               asked: Mapping[str, float] | None = None, update: Callable = lambda done: None
               ) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
  """`num` images [n h w] in MeV, the conditions they were asked for, and the seconds that an image took.

  Image i depends on the seed and i alone. Arguments as of `choose_conditions` and `draw_in_chunks`.
  """
  keys = image_keys(root_key(seed), num)
  cond = choose_conditions(model.table, model.condition, keys, asked or {})
  told = {name: cond[name] for name in model.condition.variables}
  images, seconds = draw_in_chunks(model.draw, keys, told, chunk_size=chunk_size, update=update)
  return images, told, seconds
