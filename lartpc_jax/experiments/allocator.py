"""glibc's allocator set for training on CPUs: a process started again with huge pages and a heap that keeps
its memory.

Every step of a training asks for the same buffers of many megabytes. By default glibc maps and unmaps them
each time, and the kernel clears their 4 kB pages one fault after another.
"""
import os
import platform
import sys
from collections.abc import Callable, Mapping

TUNABLES = ":".join(["glibc.malloc.hugetlb=1", "glibc.malloc.mmap_threshold=8589934592",
                     "glibc.malloc.trim_threshold=8589934592", "glibc.malloc.top_pad=268435456"])


def with_tunables(environment: Mapping[str, str]) -> dict[str, str]:
  """The environment with TUNABLES besides what it has of them already."""
  present = environment.get("GLIBC_TUNABLES", "")
  return {**environment, "GLIBC_TUNABLES": ":".join(filter(None, (present, TUNABLES)))}


def restart_with_huge_pages(execute: Callable = os.execve) -> None:
  """Replaces this process by the same command with TUNABLES; returns if it has them already.

  Args:
    execute: (program, arguments, environment) -> never.
  Raises:
    ValueError: where the C library is not glibc, which alone reads them.
  """
  if platform.libc_ver()[0] != "glibc":
    raise ValueError(f"huge_pages sets glibc's allocator; this is {platform.system()} with "
                     f"{platform.libc_ver()[0] or 'another C library'}.")
  if TUNABLES in os.environ.get("GLIBC_TUNABLES", ""):
    return
  sys.stdout.flush()
  execute(sys.executable, [sys.executable, *sys.orig_argv[1:]], with_tunables(os.environ))
