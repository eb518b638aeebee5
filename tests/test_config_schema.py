"""Blocks of configs read into the schema: defaults, blocks in blocks, and the key that is wrong."""
import dataclasses

import pytest

from lartpc_jax.config import schema
from lartpc_jax.config.blocks import parse
from lartpc_jax.inference.settings import FitSettings

KINDS = [kind for kind in vars(schema).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
GIVEN = {str: "a", int: 3, float: 0.5, schema.Optim: schema.Optim(0.5), schema.Train: schema.Train(3)}
MUON = {"pattern": "kernel", "learning_rate": 0.1}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_defaults_are_those_of_the_fields_that_have_one(kind):
  known = schema.defaults(kind)
  given = {field.name: GIVEN[field.type] for field in dataclasses.fields(kind) if field.name not in known}
  made = kind(**given)
  assert vars(made) == {**known, **given}
  with pytest.raises(dataclasses.FrozenInstanceError):
    setattr(made, next(iter(vars(made))), 1)


def test_a_block_says_what_differs():
  read = parse(schema.Optim, "optim", {"learning_rate": 2.0, "muon": MUON})
  assert read == schema.Optim(2.0, muon=schema.Muon("kernel", 0.1, weight_decay=0.0))
  assert parse(read, "optim", {"b1": 0.5, "muon": {"weight_decay": 0.2}}) == dataclasses.replace(
      read, b1=0.5, muon=schema.Muon("kernel", 0.1, weight_decay=0.2))
  values = {"path": "a", "batch_size": 1, "num_holdout": 2, "readout": {"on": True}}
  data = parse(schema.DataSettings, "data", values)
  assert data.readout == {"on": True} and schema.DataSettings("a", 1, 2).readout == {"on": False}


def test_a_block_in_a_block_keeps_the_defaults_of_its_place():
  """The stages of a fit are of one class with other defaults."""
  for source in (FitSettings, FitSettings()):
    read = parse(source, "inference", {"first": {"num_draws": 9}})
    assert read.first == dataclasses.replace(FitSettings().first, num_draws=9) and read.first.num_steps == 10


@pytest.mark.parametrize("values,message", [
    ({"lr": 1.0}, r"Unknown config key optim.lr = 1.0; allowed: \['b1', 'b2', "),
    ({}, r"Missing config key optim.learning_rate; there are \[\]"),
    ({"learning_rate": 1.0, "muon": {"pattern": "a"}},
     r"Missing config key optim.muon.learning_rate; there are \['pattern'\]"),
    ({"learning_rate": 1.0, "muon": {**MUON, "beta": 0.9}}, "Unknown config key optim.muon.beta = 0.9"),
    ({"learning_rate": 1.0, "muon": 3}, "Config key optim.muon must be a block; got 3"),
    ({"learning_rate": {"peak": 1.0}}, "Config key optim.learning_rate must be a value; got {'peak': 1.0}"),
    ({"learning_rate": float("nan")}, "The config value optim.learning_rate is NaN")])
def test_bad_keys_are_named(values, message):
  with pytest.raises(ValueError, match=message):
    parse(schema.Optim, "optim", values)
