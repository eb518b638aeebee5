"""A pool of forked processes, one a shard: what is initialised before the fork is shared, and a crash costs
one shard.

Each child starts from the same memory, so its result depends on its shard alone, not on the number of
workers.
"""
import collections
import ctypes
import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

POLL_SECONDS = 0.05
EMIT_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


class Shard(NamedTuple):
  """Events first ... last of a run."""
  name: str
  first: int
  last: int


class _Child(NamedTuple):
  shard: Shard
  attempt: int
  done: mmap.mmap   # int64 events done, shared with the child
  moved: list       # [events done, when]


def die_with_parent() -> None:
  """Asks Linux to kill this process when its parent ends; elsewhere nothing."""
  if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def flush_output() -> None:
  """Flushes what Python and C libraries have buffered; os._exit would lose it."""
  sys.stdout.flush()
  sys.stderr.flush()
  ctypes.CDLL(None).fflush(None)


def run_shards(shards: Sequence[Shard], run_one: Callable[[Shard, Callable[[int], None]], None], *,
               workers: int, retries: int, stall_s: float, emit: Callable[[dict], None]) -> list[Shard]:
  """Runs `run_one(shard, report_done)` for every shard, each in a fork of this process.

  Args:
    shards: what to do.
    run_one: writes its result to a file; calls report_done(n) after n of its events. An exception, a signal
      or no event for `stall_s` seconds counts as a crash.
    workers: processes at a time.
    retries: how often a crashed shard is tried again.
    stall_s: see run_one.
    emit: receives {"kind": "progress", "done": events} at most every 0.5 s, and {"kind": "finished" |
      "crashed" | "failed", "shard": name, ...}; a crash has "why", "event" (the one it was at) and "attempt".
  Returns:
    The shards that failed.
  """
  waiting = collections.deque((shard, 1) for shard in shards)
  running: dict[int, _Child] = {}
  failed, finished_events, last_emit = [], 0, 0.0
  while waiting or running:
    while waiting and len(running) < workers:
      shard, attempt = waiting.popleft()
      pid, child = _fork(shard, attempt, run_one)
      running[pid] = child
    time.sleep(POLL_SECONDS)
    _kill_stalled(running, stall_s)
    for pid, why in _ended(running):
      shard, attempt, done, _ = child = running.pop(pid)
      event = shard.first + _read(done)
      done.close()
      if why is None:
        finished_events += shard.last - shard.first + 1
        emit({"kind": "finished", "shard": shard.name})
        continue
      again = attempt <= retries
      emit({"kind": "crashed" if again else "failed", "shard": shard.name, "why": why, "event": event,
            "attempt": attempt})
      if again:
        waiting.appendleft((shard, attempt + 1))
      else:
        failed.append(shard)
    if time.monotonic() - last_emit >= EMIT_SECONDS:
      last_emit = time.monotonic()
      emit({
          "kind": "progress", "done": finished_events + sum(_read(child.done) for child in running.values())
      })
  return failed


def _fork(shard: Shard, attempt: int, run_one) -> tuple[int, _Child]:
  done = mmap.mmap(-1, 8)
  flush_output()  # or the child writes it a second time
  parent = os.getpid()
  pid = os.fork()
  if pid:
    return pid, _Child(shard, attempt, done, [0, time.monotonic()])
  code = 1
  try:
    die_with_parent()
    if os.getppid() != parent:  # it ended before it could be watched
      os._exit(1)
    run_one(shard, lambda n: struct.pack_into("q", done, 0, n))
    code = 0
  except BaseException:  # the child must never return into the caller's loop
    traceback.print_exc()
  finally:
    flush_output()
    os._exit(code)  # Geant4 may crash while it is torn down


def _read(done: mmap.mmap) -> int:
  return struct.unpack_from("q", done, 0)[0]


def _kill_stalled(running: dict[int, _Child], stall_s: float) -> None:
  now = time.monotonic()
  for pid, child in running.items():
    count = _read(child.done)
    if count != child.moved[0]:
      child.moved[:] = [count, now]
    elif now - child.moved[1] > stall_s:
      os.kill(pid, signal.SIGKILL)


def _ended(running: dict[int, _Child]) -> list[tuple[int, str | None]]:
  """(pid, None or why it crashed) of the children that have ended."""
  ended = []
  for pid in list(running):
    got, status = os.waitpid(pid, os.WNOHANG)
    if got:
      code = os.waitstatus_to_exitcode(status)
      ended.append((pid, None if code == 0 else describe_exit(code)))
  return ended


def describe_exit(code: int) -> str:
  """An exit code of subprocess in words: "signal SIGSEGV" or "exit code 3"."""
  if code >= 0:
    return f"exit code {code}"
  try:
    return f"signal {signal.Signals(-code).name}"
  except ValueError:
    return f"signal {-code}"
