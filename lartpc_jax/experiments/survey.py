"""A Turing test of images: a web page that asks people whether an image is real or generated."""
import dataclasses
from pathlib import Path

import numpy as np

from lartpc_jax.experiments import sample
from lartpc_jax.experiments.models import open_model
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.experiments.samples import load_images, name_columns
from lartpc_jax.extras import require_extra
from lartpc_jax.files import atomic_write
from lartpc_jax.generators.weights import bundled_names
from lartpc_jax.survey.app import Survey, make_app
from lartpc_jax.survey.deck import REAL, Deck, check_size, make_deck
from lartpc_jax.survey.serve import listen, serve
from lartpc_jax.survey.store import open_store
from lartpc_jax.survey.tokens import read_secret
from lartpc_jax.tables import write_text

LOOPBACK = ("127.0.0.1", "localhost")


@dataclasses.dataclass(frozen=True)
class Settings:
  """Whose images are shown, how many, and where the pages are served."""
  real: str | None = setting(
      None, "File of real images, see launch.evaluate; sample_crops: those of the package.",
      required=True)
  generated: tuple[str, ...] = setting(
      (), "Files of generated images, or names of weights of the package to draw from (crops64), each "
      "perhaps as NAME=FILE.", required=True)
  out: str | None = setting(
      None, "Directory of answers, secrets and drawn images; the same command goes on with them.",
      required=True)
  images_each: int = setting(30, "Images a participant sees.", lower=1)
  draws: int = setting(256, "Images drawn from weights.", lower=1)
  threshold_mev: float = setting(0.1, "Pixels below are empty in all images, MeV.", lower=0.0)
  level_mev: float = setting(0.02, "MeV of one grey level, of files @levels.", lower=0.0)
  colours: str = setting("viridis", "Colours of the charge.", choices=("viridis", "cividis", "gray"))
  top_mev: float = setting(0.0, "Charge of a pixel where the colours end, MeV; 0: by the real images.",
                           lower=0.0)
  host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 lets other machines in.")
  port: int = setting(8000, "Port; 0 takes a free one.", lower=0)
  seed: int = setting(0, "Seed of the drawn images.")


def run(settings: Settings, console: Console) -> None:
  """Serves the survey until a signal ends it.

  Raises:
    OSError, ValueError: naming the file, flag or address that is wrong.
  """
  require_extra("survey", "launch.survey")
  paths = {REAL: settings.real, **name_columns(settings.generated)}
  if len(paths) != 1 + len(settings.generated):
    raise ValueError(f"--generated may not be called {REAL!r}; give it another name: NAME=FILE.")
  shown = {name: getattr(settings, name) for name in (
      "images_each", "draws", "threshold_mev", "level_mev", "colours", "top_mev", "seed")}
  with console.workdir(settings.out, {"sources": paths, **shown}) as out:
    deck = make_deck({name: _images_of(name, path, settings, out, console) for name, path in paths.items()},
                     colours=settings.colours, top_mev=settings.top_mev)
    check_size(deck, settings.images_each)
    _check_deck(deck, out / "deck.txt")
    connection = open_store(out / "survey.sqlite")
    survey = Survey(deck, connection, settings.images_each, read_secret(out / "secret.txt"),
                    read_secret(out / "admin_token.txt"))
    app = make_app(survey, allowed_hosts=LOOPBACK if settings.host in LOOPBACK else ("*",))
    sock = listen(settings.host, settings.port)
    if settings.host not in LOOPBACK:
      console.say("WARNING: other machines can reach the survey, without encryption; put a server with TLS "
                  "before it.")
    counts = ", ".join(f"{np.sum(deck.source == i)} {name}" for i, name in enumerate(deck.sources))
    console.say(f"Survey of {counts} images at http://{settings.host}:{sock.getsockname()[1]}/\n"
                f"Results at /admin with the token in {out / 'admin_token.txt'}; Ctrl+C ends it, the same "
                "command goes on.")
    try:
      serve(app, sock)
    finally:
      connection.close()


def _images_of(name: str, path: str, settings: Settings, out: Path, console: Console) -> np.ndarray:
  """Images [n h h] in MeV of a file, or drawn from weights; draws are kept in `out`."""
  if path in bundled_names() and name != REAL and not Path(path).exists():
    path = _draw(path, settings, out / f"draws_{path}.npz", console)
  return load_images(str(path), threshold_mev=settings.threshold_mev, level_mev=settings.level_mev).values


def _draw(weights: str, settings: Settings, file: Path, console: Console) -> Path:
  if not file.exists():
    model = open_model(sample.Settings(weights, num=settings.draws, seed=settings.seed))
    with console.progress(settings.draws, description=f"draw {weights}", unit="image") as bar:
      images, _, _ = model.draw(bar.update)
    with atomic_write(file, "wb") as opened:
      np.savez_compressed(opened, images=images[:, None])
  return file


def _check_deck(deck: Deck, path: Path) -> None:
  """The answers in a directory are about the images of its first start, whatever became of the files."""
  if not path.exists():
    write_text(path, deck.digest)
  elif path.read_text(encoding="utf-8").strip() != deck.digest:
    raise ValueError(f"{path}: the answers there are about other images: a file has changed since. Choose "
                     "another --out.")
