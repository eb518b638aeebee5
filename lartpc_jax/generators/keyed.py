"""Generators whose every image follows from a key and a condition of its own: neither on chunks nor on
devices does it depend what an image looks like."""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lartpc_jax.generators.condition import Condition, embed
from lartpc_jax.types import Cond


class KeyedModel(NamedTuple):
  """A trained generator of such images: a GAN, codes with a prior, a sequence of pixels."""
  draw: Callable             # (keys [b], cond {name: [b]}) -> images [b n m] MeV; pure
  condition: Condition       # without variables: cond is {}
  table: dict[str, Array]    # name -> [r]: conditions of training images, for draws without one
  # images [b n m] MeV -> [b] exact log probability in nats of what the model draws of them; None: not known
  nats: Callable | None = None


def image_keys(key: Array, num: int, first: int = 0) -> Array:
  """Keys [num] of the images first, first + 1, ... of a run."""
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(first, first + num))


def table_rows(table: Mapping[str, Array], keys: Array) -> dict[str, Array]:
  """A random row of the table for each key: name -> [b]."""
  num = len(next(iter(table.values())))
  rows = jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, 0), (), 0, num))(keys)
  return {name: jnp.asarray(values)[rows] for name, values in table.items()}


def features_of(condition: Condition, cond: Cond, num: int) -> Float[Array, "b f"]:
  """Features of a condition for `num` images; of one without variables [num 0]."""
  return embed(condition, cond) if condition.variables else jnp.zeros((num, 0))


def make_draw(model: KeyedModel) -> Callable:
  """Builds draw(key, num, cond=None) -> images [num n m] in MeV; without cond with those of training
  images."""
  def draw(key: Array, num: int, cond: Cond = None) -> Float[Array, "b n m"]:
    keys = image_keys(key, num)
    return model.draw(keys, table_rows(model.table, keys) if cond is None else cond)
  return draw
