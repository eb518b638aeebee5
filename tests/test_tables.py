"""Tables, CSV and JSON against what other readers make of them."""
import csv
import dataclasses
import json
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from lartpc_jax import tables


class Pair(NamedTuple):
  a: float
  b: tuple


@dataclasses.dataclass
class Record:
  name: str
  values: np.ndarray


def test_a_table_has_a_cell_for_every_column():
  assert tables.markdown_table(("x", "y"), [(1, "a"),
                                            (2.5, "")]) == "| x | y |\n| --- | --- |\n| 1 | a |\n| 2.5 |  |"
  with pytest.raises(ValueError, match="A row of a table has 1 cells, its head 2: .'1'."):
    tables.markdown_table(("x", "y"), [(1,)])


def test_csv_is_read_back(tmp_path):
  columns = {"event": np.array([3, 4]), "p": np.array([1.25, np.nan], np.float32), "name": ["a", "b, c"]}
  path = tables.write_csv(tmp_path / "a.csv", columns)
  with path.open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert rows == [{"event": "3", "p": "1.2500", "name": "a"}, {"event": "4", "p": "nan", "name": "b, c"}]
  assert b"\r" not in path.read_bytes()
  with pytest.raises(ValueError, match="shorter|longer"):
    tables.write_csv(tmp_path / "a.csv", {"a": [1, 2], "b": [1]})
  assert len(list(tmp_path.iterdir())) == 1 and path.read_text().startswith("event")  # the old one is whole


def test_json_is_strict(tmp_path):
  content = {
      0.68: Pair(np.float32(0.5), (np.nan, jnp.inf)), "record": Record("r", np.arange(3)), "x": jnp.zeros(
          (1, 2)), "none": None, "true": np.bool_(True)
  }
  text = tables.write_json(tmp_path / "a.json", content).read_text()
  refuse = lambda name: pytest.fail(f"{name} is no JSON")
  assert json.loads(text, parse_constant=refuse) == {
      "0.68": {"a": 0.5, "b": [None, None]}, "record": {"name": "r", "values": [0, 1, 2]}, "x": [[0.0, 0.0]],
      "none": None, "true": True}
  assert text.endswith("}\n")
  with pytest.raises(TypeError, match="JSON holds no set"):
    tables.json_value({"a": {1}})


@pytest.mark.parametrize("value,error,text", [
    (14.123, 7.1, "14.1 +- 7.1"), (0.50123, 0.00634, "0.5012 +- 0.0063"), (1234.5, 87.0, "1234 +- 87"),
    (0.1, 0.0996, "0.10 +- 0.10"), (123456.0, 4321.0, "123500 +- 4300"), (-0.04, 0.5, "-0.04 +- 0.50"),
    (12.3456, math.nan, "12.35"), (12.3456, 0.0, "12.35"), (math.nan, 7.1, "-"), (math.inf, 1.0, "-"),
    (3e-9, 2e-10, "3e-09 +- 2e-10"),
])
def test_a_number_has_the_digits_of_its_error(value, error, text):
  assert tables.measured(value, error) == text
