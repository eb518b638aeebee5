"""Optional packages: the table is that of setup.cfg, and what is missing is named with the line to type."""
import configparser
import re
import sys

import pytest

from lartpc_jax.extras import EXTRAS, require_extra
from tests.test_house import TOOLS


def test_extras_are_those_of_setup_cfg(repo):
  config = configparser.ConfigParser()
  config.read(repo / "setup.cfg")
  lines = lambda text: [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
  declared = {name: {re.match(r"[\w-]+", line).group() for line in lines(text)}
              for name, text in config["options.extras_require"].items()}
  assert {name: set(packages.values()) for name, packages in EXTRAS.items()} == {
      name: packages for name, packages in declared.items() if name not in TOOLS}


def test_a_missing_package_is_named_with_the_line_to_type(monkeypatch):
  monkeypatch.setitem(sys.modules, "ot", None)
  monkeypatch.setitem(sys.modules, "sklearn", None)
  with pytest.raises(
      ValueError, match=r"X needs POT and scikit-learn, of the extra .eval.: pip install POT scikit-learn$"):
    require_extra("eval", "X")
  require_extra("io", "X")
