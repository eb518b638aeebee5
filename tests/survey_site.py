"""A survey to test with: images, the application, a server in a thread, a participant that speaks HTTP."""
import contextlib
import re
import threading
import time

import httpx
import numpy as np

from lartpc_jax.survey.app import Survey, make_app
from lartpc_jax.survey.deck import make_deck
from lartpc_jax.survey.serve import listen
from lartpc_jax.survey.store import open_store

SECRET, TOKEN = "s" * 40, "t" * 40
BASE = "http://127.0.0.1"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def images(num, seed, *, straight=True):
  """Images [num 64 64] in MeV: straight tracks, or as many pixels anywhere."""
  rng = np.random.default_rng(seed)
  found = np.zeros((num, 64, 64), np.float32)
  for image in found:
    along = np.arange(int(rng.integers(15, 45)))
    angle, start = rng.uniform(0, 2 * np.pi), rng.uniform(20, 44, 2)
    x, y = (start[:, None] + along * np.array([[np.cos(angle)], [np.sin(angle)]])) % 64
    if not straight:
      x, y = rng.uniform(0, 64, (2, len(along)))
    image[x.astype(int), y.astype(int)] = rng.gamma(3.0, 0.3, len(along)) + 0.1
  return found


def make_survey(folder, *, images_each=6, sources=None, colours="cividis"):
  """A survey whose store lies in `folder`."""
  sources = sources or {"real": images(images_each + 4, 0), "good": images(images_each + 2, 1),
                        "bad": images(images_each, 2, straight=False)}
  deck = make_deck(sources, colours=colours)
  return Survey(deck, open_store(folder / "survey.sqlite"), images_each, SECRET, TOKEN)


@contextlib.contextmanager
def serving(survey, port=0):
  """The address of a server of the survey in a thread, with all of the survey opened there."""
  import uvicorn
  sock = listen("127.0.0.1", port)
  server = uvicorn.Server(uvicorn.Config(make_app(survey), log_level="error", access_log=False))
  thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
  thread.start()
  while not server.started:
    time.sleep(0.01)
  try:
    yield f"{BASE}:{sock.getsockname()[1]}"
  finally:
    server.should_exit = True
    thread.join(10)


class Page:
  """What a trial page says."""

  def __init__(self, text):
    self.text = text
    self.key = re.search(r'name="key" value="([\w-]+)"', text)[1]
    self.number = int(re.search(r"Image (\d+) of", text)[1])


def begin(client: httpx.Client, experience="some") -> httpx.Response:
  """Starts a session of this client."""
  return client.post("/start", data={"experience": experience})


def trial(client: httpx.Client) -> Page | None:
  """The page that is asked now, with its picture loaded; None at the end."""
  response = client.get("/survey", follow_redirects=True)
  if response.url.path == "/thanks":
    return None
  return Page(response.text)


def answer(client: httpx.Client, page: Page, says="real-2") -> httpx.Response:
  """Sends an answer, and does not follow."""
  return client.post("/answer", data={"key": page.key, "answer": says}, follow_redirects=False)
