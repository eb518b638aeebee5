"""The pool: crashes cost one shard and are told. In processes of their own, as JAX does not like forks."""
import json
import signal
import subprocess
import sys
import time

import pytest

from lartpc_jax.simulation import geant4_pool

SCRIPT = """
import json, os, signal, sys, time
from lartpc_jax.simulation.geant4_pool import Shard, run_shards
folder = sys.argv[1]
shards = [Shard(f"s{i}", 10 * i, 10 * i + 9) for i in range(6)]

def run_one(shard, report_done):
  tries = os.path.join(folder, shard.name + ".tries")
  with open(tries, "a") as file:
    file.write(".")
  report_done(4)
  count = os.path.getsize(tries)
  if shard.name == "s1" and count == 1:
    os.kill(os.getpid(), signal.SIGSEGV)
  if shard.name == "s2":
    os._exit(3)
  if shard.name == "s3" and count < 3:
    raise RuntimeError("no luck")
  if shard.name == "s4" and count == 1:
    time.sleep(60)
  with open(os.path.join(folder, shard.name), "w") as file:
    file.write(str(shard.first))

def emit(message):
  print(json.dumps(message), flush=True)

failed = run_shards(shards, run_one, workers=int(sys.argv[2]), retries=2, stall_s=1.0, emit=emit)
emit({"kind": "end", "failed": [shard.name for shard in failed]})
"""


def run_script(repo, *arguments):
  return subprocess.run([sys.executable, "-c", SCRIPT, *map(str, arguments)], cwd=repo, capture_output=True,
                        text=True, timeout=60, check=True)


@pytest.mark.parametrize("workers", [1, 4])
def test_crashes_cost_one_shard_and_are_told(repo, tmp_path, workers):
  done = run_script(repo, tmp_path, workers)
  messages = [json.loads(line) for line in done.stdout.splitlines()]
  assert messages[-1] == {"kind": "end", "failed": ["s2"]}
  for number in (0, 1, 3, 4, 5):
    assert (tmp_path / f"s{number}").read_text() == str(10 * number)
  tries = {name: (tmp_path / f"{name}.tries").stat().st_size for name in ("s0", "s1", "s2", "s3", "s4", "s5")}
  assert tries == {"s0": 1, "s1": 2, "s2": 3, "s3": 3, "s4": 2, "s5": 1}
  crashes = [(m["shard"], m["why"], m["event"], m["attempt"]) for m in messages if m["kind"] == "crashed"]
  assert ("s1", "signal SIGSEGV", 14, 1) in crashes and ("s2", "exit code 3", 24, 2) in crashes
  assert ("s4", "signal SIGKILL", 44, 1) in crashes  # it stalled
  assert [m["shard"] for m in messages if m["kind"] == "failed"] == ["s2"]
  assert "RuntimeError: no luck" in done.stderr
  progress = [m["done"] for m in messages if m["kind"] == "progress"]
  assert progress and max(progress) <= 54


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_workers_die_with_the_pool(repo, tmp_path):
  script = SCRIPT.replace("count < 3", "False").replace("os._exit(3)", "time.sleep(60)")
  pool = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), "4"], cwd=repo,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  try:
    end = time.monotonic() + 30
    while not (tmp_path / "s2.tries").exists():
      assert time.monotonic() < end and pool.poll() is None
      time.sleep(0.02)
    with open(f"/proc/{pool.pid}/task/{pool.pid}/children") as file:
      children = [int(pid) for pid in file.read().split()]
    assert children
    pool.send_signal(signal.SIGKILL)
    pool.wait()
    while any(_alive(pid) for pid in children):
      assert time.monotonic() < end
      time.sleep(0.02)
  finally:
    pool.kill()


def _alive(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rsplit(")", 1)[1].split()[0] != "Z"
  except FileNotFoundError:
    return False


def test_exit_codes_in_words():
  assert geant4_pool.describe_exit(3) == "exit code 3"
  assert geant4_pool.describe_exit(-signal.SIGABRT) == "signal SIGABRT"
  assert geant4_pool.describe_exit(-99) == "signal 99"
