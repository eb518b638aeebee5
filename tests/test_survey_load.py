"""A survey under load, and killed: what was acknowledged is stored, once, and nothing else is.

    python tests/test_survey_load.py 1000      (with the root of the clone in PYTHONPATH)

prints the times of pages for so many participants; the slow test runs fewer.
"""
import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lartpc_jax.survey.store import open_store, read_answers

HERE = Path(__file__).resolve().parent
FORM = "application/x-www-form-urlencoded"
ANSWERS = [f"{says}-{sure}" for says in ("real", "generated") for sure in (1, 2, 3)]


def free_port():
  with socket.socket() as sock:
    sock.bind(("127.0.0.1", 0))
    return sock.getsockname()[1]


def start_server(folder, num, port):
  """The process, once it listens."""
  command = [sys.executable, str(HERE / "survey_server.py"), str(folder), str(num), str(port)]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  assert int(process.stdout.readline()) == port
  return process


class Browser:
  """One participant: a connection that is kept, a cookie, and what was acknowledged."""

  def __init__(self, port, times):
    self.port, self.times, self.cookie, self.streams, self.said = port, times, "", None, {}

  async def request(self, method, path, form=""):
    """Status, headers and body; OSError where the server is away."""
    start = time.perf_counter()
    try:
      if self.streams is None:
        self.streams = await asyncio.open_connection("127.0.0.1", self.port)
      reader, writer = self.streams
      head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
      head += [f"Cookie: {self.cookie}"] if self.cookie else []
      head += [f"Content-Type: {FORM}", f"Content-Length: {len(form)}"] if method == "POST" else []
      writer.write(("\r\n".join(head) + "\r\n\r\n" + form).encode())
      answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
      length = re.search(r"(?i)content-length: (\d+)", answer)
      body = await reader.readexactly(int(length[1])) if length else b""
    except (OSError, asyncio.IncompleteReadError) as error:
      if self.streams is not None:
        self.streams[1].close()
      self.streams = None
      raise OSError(str(error)) from error
    self.times.append(time.perf_counter() - start)
    if found := re.search(r"(?i)set-cookie: (survey_session=[^;\r]+)", answer):
      self.cookie = found[1]
    return int(answer.split()[1]), answer, body

  async def patiently(self, *args):
    """The request again, as a person would reload, until the server is there."""
    while True:
      try:
        return await self.request(*args)
      except OSError:
        await asyncio.sleep(0.1)

  async def take(self, think, rng):
    """The whole survey: a page, its picture, some thought, an answer; now and then twice, or a reload."""
    while not self.cookie:
      await self.patiently("POST", "/start", "experience=some")
    while True:
      status, head, body = await self.patiently("GET", "/survey")
      if status == 303:
        assert "/thanks" in head
        return self
      assert status == 200, head
      key = re.search(r'name="key" value="([\w-]+)"', body.decode())[1]
      status, _, picture = await self.patiently("GET", f"/picture/{key}")
      assert status == 200 and picture.startswith(b"\x89PNG")
      await asyncio.sleep(think(rng))
      if rng.random() < 0.1:
        await self.patiently("GET", "/survey")
      for _ in range(2 if rng.random() < 0.1 else 1):
        answer = rng.choice(ANSWERS)
        status, head, _ = await self.patiently("POST", "/answer", f"key={key}&answer={answer}")
        assert status == 303, head
        # an answer may be stored and its acknowledgement lost with the server: then the next try is late
        self.said.setdefault(key, []).append((answer, "again" not in head.split("location: ")[1].split()[0]))


async def crowd(port, num_people, *, arrive_s, think, seed=0):
  """All participants, and the times of their requests."""
  times = []

  async def one(i):
    rng = random.Random(seed * 100_000 + i)
    await asyncio.sleep(rng.random() * arrive_s)
    return await Browser(port, times).take(think, rng)

  return await asyncio.gather(*(one(i) for i in range(num_people))), times


def check(folder, people, num, *, killed=False):
  """Every participant has every answer once, and it is the first one that was acknowledged."""
  connection = open_store(folder / "survey.sqlite")
  rows = connection.execute("SELECT key, says || '-' || sure FROM trials").fetchall()
  counted = connection.execute(
      "SELECT count(*) FROM trials GROUP BY participant HAVING count(says) > 0").fetchall()
  assert len(read_answers(connection)) == num * len(people)
  connection.close()
  stored = {key: answer for key, answer in rows if answer is not None}
  assert len(counted) == len(people) and len(stored) == num * len(people)
  for person in people:
    assert len(person.said) == num
    for key, tries in person.said.items():
      first = [answer for answer, counted in tries if counted]
      assert len(first) <= 1 and (first or killed)
      assert stored[key] == first[0] if first else stored[key] in ANSWERS


def test_a_crowd_loses_and_doubles_nothing(tmp_path):
  """40 people at once, who think up to a tenth of a second; some answer twice, some reload."""
  port, num = free_port(), 8
  server = start_server(tmp_path, num, port)
  try:
    people, _ = asyncio.run(crowd(port, 40, arrive_s=0.5, think=lambda rng: 0.1 * rng.random()))
  finally:
    server.terminate()
    assert server.wait(20) in (0, -signal.SIGTERM)
  check(tmp_path, people, num)


@pytest.mark.slow
def test_killed_ten_times_nothing_is_lost(tmp_path):
  """kill -9 at random moments while 20 people answer, and the same server again."""
  port, num, rng = free_port(), 40, random.Random(0)

  async def killing():
    server, kills = start_server(tmp_path, num, port), 0
    crowd_of = asyncio.create_task(crowd(port, 20, arrive_s=1.0, think=lambda rng: 2.0 * rng.random()))
    while kills < 10:
      await asyncio.sleep(0.3 + 2.0 * rng.random())
      assert not crowd_of.done(), f"only {kills} kills before everyone was ready"
      os.kill(server.pid, signal.SIGKILL)
      server.wait()
      server, kills = await asyncio.to_thread(start_server, tmp_path, num, port), kills + 1
    try:
      people, _ = await crowd_of
    finally:
      server.terminate()
      server.wait(20)
    return people

  check(tmp_path, asyncio.run(killing()), num, killed=True)


def main(folder, num_people, num=8, arrive_s=60.0):
  """Measures: people who arrive in a minute and think 4 to 20 seconds about an image."""
  port = free_port()
  server = start_server(folder, num, port)
  start = time.perf_counter()
  try:
    think = lambda rng: rng.uniform(4.0, 20.0)
    people, times = asyncio.run(crowd(port, num_people, arrive_s=arrive_s, think=think))
  finally:
    server.terminate()
    server.wait(20)
  seconds = time.perf_counter() - start
  check(folder, people, num)
  quantiles = np.quantile(1e3 * np.array(times), [0.5, 0.95, 0.99, 1.0])
  print(f"{num_people} participants, {num * num_people} answers, {len(times)} requests in "
        f"{seconds:.0f} s ({len(times) / seconds:.0f} a second); ms a request: median {quantiles[0]:.1f}, "
        f"p95 {quantiles[1]:.1f}, p99 {quantiles[2]:.1f}, largest {quantiles[3]:.0f}. "
        "No answer lost, none twice.")


if __name__ == "__main__":
  import tempfile
  with tempfile.TemporaryDirectory() as made:
    main(Path(made), int(sys.argv[1]))
