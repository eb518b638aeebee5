"""launch.survey up to the point where it serves: sources, resuming, mistakes."""
import numpy as np
import pytest
from starlette.testclient import TestClient

from lartpc_jax.experiments import survey
from lartpc_jax.experiments.models import Model
from lartpc_jax.experiments.protocol import SILENT
from lartpc_jax.plotting.png import COLOURS
from lartpc_jax.survey.serve import listen
from tests import survey_site as site


@pytest.fixture
def files(tmp_path):
  """real.npy and a.npy, in MeV."""
  for i, name in enumerate(("real", "a")):
    np.save(tmp_path / f"{name}.npy", site.images(8, i)[:, None])
  return tmp_path


@pytest.fixture
def apps(monkeypatch):
  """The applications that would be served, each asked for its first page while its store is open."""
  found = []

  def serve(app, sock):
    client = TestClient(app, base_url=site.BASE)
    found.append((client, client.get("/").status_code, site.begin(client).url.path))
    sock.close()
  monkeypatch.setattr(survey, "serve", serve)
  return found


def run(files, **changes):
  said = []
  settings = {"real": str(files / "real.npy"), "generated": (f"a={files / 'a.npy'}",), "images_each": 5,
              "out": str(files / "out"), "port": 0, **changes}
  survey.run(survey.Settings(**settings), SILENT._replace(say=said.append))
  return "\n".join(said)


def test_the_same_command_goes_on(files, apps):
  assert "8 real, 8 a images at http://127.0.0.1:" in run(files)
  names = ("secret.txt", "admin_token.txt", "deck.txt")
  read = lambda: [(files / "out" / name).read_text() for name in names]
  kept = read()
  run(files)
  assert read() == kept
  assert [app[1:] for app in apps] == [(200, "/survey")] * 2
  np.save(files / "a.npy", site.images(8, 5)[:, None])
  with pytest.raises(ValueError, match="answers there are about other images"):
    run(files)


def test_weights_are_drawn_from_once(files, apps, monkeypatch):
  drawn = []

  def open_model(settings):
    drawn.append((settings.weights, settings.num))
    return Model(lambda update: (site.images(settings.num, 3), {}, 0.0), {}, "")
  monkeypatch.setattr(survey, "open_model", open_model)
  for _ in range(2):
    run(files, generated=("best=crops64_cascade", f"a={files / 'a.npy'}"), draws=6)
  assert drawn == [("crops64_cascade", 6)] and len(apps) == 2


def test_other_machines_are_warned_of(files, apps):
  assert "WARNING" in run(files, host="0.0.0.0")
  assert apps[0][0].get("/", headers={"host": "elsewhere"}).status_code == 200
  run(files)
  assert apps[1][0].get("/", headers={"host": "elsewhere"}).status_code == 400


@pytest.mark.parametrize("changes,message", [
    (dict(images_each=9), "has 8 images with charge, but a participant may meet 9"),
    (dict(generated=("real=x.npy",)), "may not be called 'real'"),
    (dict(generated=("a=x.npy", "a=y.npy")), "Two files are called 'a'"),
    (dict(generated=("a=no_such.npy",)), "no_such.npy"),
    (dict(port=70_000), "from 0 to 65535; got 70000"),
    (dict(threshold_mev=1e6), "no image with charge"),
])
def test_mistakes_are_named(files, apps, changes, message):
  with pytest.raises((ValueError, OSError), match=message):
    run(files, **changes)
  assert not apps


def test_a_taken_port_is_named():
  with listen("127.0.0.1", 0) as sock, pytest.raises(OSError, match=r"Cannot listen on 127\.0\.0\.1:\d+"):
    listen("127.0.0.1", sock.getsockname()[1])


def test_the_flag_allows_the_colours_there_are():
  assert survey.Settings.__dataclass_fields__["colours"].metadata["choices"] == COLOURS
