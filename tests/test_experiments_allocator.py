"""The restart with another allocator: once, with the same command, and refused where it would do nothing."""
import os
import platform
import subprocess
import sys

import pytest

from lartpc_jax.experiments import allocator


def test_the_environment_keeps_what_it_has():
  assert allocator.with_tunables({"A": "b"}) == {"A": "b", "GLIBC_TUNABLES": allocator.TUNABLES}
  found = allocator.with_tunables({"GLIBC_TUNABLES": "glibc.malloc.check=1"})["GLIBC_TUNABLES"]
  assert found == f"glibc.malloc.check=1:{allocator.TUNABLES}"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_a_process_restarts_once_with_its_own_command(repo):
  code = (
      "import os, sys; from lartpc_jax.experiments.allocator import restart_with_huge_pages; print('start', "
      "sys.argv[1:]);restart_with_huge_pages(); print(os.environ['GLIBC_TUNABLES'])")
  environment = {**os.environ, "PYTHONPATH": str(repo)}
  environment.pop("GLIBC_TUNABLES", None)
  found = subprocess.run([sys.executable, "-c", code, "one", "two"], env=environment, capture_output=True,
                         text=True, check=True)
  assert found.stdout.splitlines() == ["start ['one', 'two']"] * 2 + [allocator.TUNABLES]


def test_another_c_library_is_named(monkeypatch):
  monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
  with pytest.raises(ValueError,
                     match="huge_pages sets glibc's allocator; this is .* with another C library"):
    allocator.restart_with_huge_pages()
