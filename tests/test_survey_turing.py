"""A survey of real crops against the best and the worst generator of the package, filled in by a classifier.

    python tests/test_survey_turing.py BEST.npz WORST.npz      (with the root of the clone in PYTHONPATH)

prints the results for images that launch.sample has drawn; the slow test draws fewer itself.
"""
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tests import survey_site as site

NUM_EACH = 40
NUM_PEOPLE = 5
THRESHOLD_MEV = 0.1


def features(levels):
  """What is measured of a picture [64 64] as it is shown: lit pixels, brightness, pieces, neighbours."""
  lit = levels > 0
  piece, num = ndimage.label(lit, np.ones((3, 3)))
  sizes = np.sort(np.bincount(piece.ravel())[1:])[::-1] if num else np.zeros(1)
  neighbours = ndimage.convolve(lit.astype(int), np.ones((3, 3), int), mode="constant")[lit] - 1
  bright = levels[lit].astype(float) if num else np.zeros(1)
  steps = [np.abs(np.diff(levels.astype(float), axis=axis)).sum() for axis in (0, 1)]
  crowd = neighbours if num else np.zeros(1)
  return [lit.sum(), num, sizes[0], (sizes == 1).sum(), bright.mean(), bright.std(), bright.max(),
          bright.sum(), *steps, crowd.mean(), (crowd <= 1).mean(), (crowd == 2).mean(), (crowd >= 5).mean()]


def read_levels(png):
  """Levels [h w] of a PNG as the browser has it."""
  return np.asarray(Image.open(io.BytesIO(png)))


def train(deck, seed):
  """A classifier of pictures: 1 is real."""
  from sklearn.ensemble import RandomForestClassifier
  x = np.array([features(read_levels(picture)) for picture in deck.pictures])
  y = (deck.source == 0).astype(int)
  return RandomForestClassifier(200, min_samples_leaf=3, class_weight="balanced", random_state=seed).fit(x, y)


def take(client, classifier):
  """One participant: looks at each picture, and says how sure he is."""
  site.begin(client)
  while (page := site.trial(client)) is not None:
    p = classifier.predict_proba([features(read_levels(client.get(f"/picture/{page.key}").content))])[0, 1]
    sure = 1 + int(abs(p - 0.5) > 0.15) + int(abs(p - 0.5) > 0.3)
    site.answer(client, page, f"{'real' if p > 0.5 else 'generated'}-{sure}")


def survey_of(folder, real, generated):
  """What the results page knows, of classifiers that learned on one half of the images and see the other."""
  from starlette.testclient import TestClient

  from lartpc_jax.survey.admin import admin_page
  from lartpc_jax.survey.app import make_app
  from lartpc_jax.survey.deck import make_deck
  cut = lambda x: np.where(x >= THRESHOLD_MEV, x, 0.0).astype(np.float32)
  halves = [{"real": cut(real[i::2]), "generated": cut(generated[i::2])} for i in (0, 1)]
  learned = make_deck(halves[0], colours="viridis", top_mev=4.0)
  folder.mkdir()
  survey = site.make_survey(folder, images_each=NUM_EACH, sources=halves[1])
  survey = survey._replace(deck=make_deck(halves[1], colours="viridis", top_mev=4.0))
  app = make_app(survey)
  for person in range(NUM_PEOPLE):
    take(TestClient(app, base_url=site.BASE), train(learned, person))
  found = admin_page(survey.connection, survey.deck, NUM_EACH)
  survey.connection.close()
  return found


def compare(folder, real, others):
  """Name -> results; `control` is real against real."""
  found = {"control": survey_of(folder / "control", real[::2], real[1::2])}
  return found | {name: survey_of(folder / name, real, images) for name, images in others.items()}


@pytest.mark.slow
def test_the_p_value_tells_the_worst_from_the_best(tmp_path):
  pytest.importorskip("sklearn")
  from lartpc_jax.data.open import open_data
  from lartpc_jax.experiments import sample
  from lartpc_jax.experiments.models import open_model
  real = open_data("sample_crops").read(slice(None), ())["image"][:, 0]
  draws = {name: open_model(sample.Settings(weights, num=2 * NUM_EACH)).draw(lambda done, **_: None)[0]
           for name, weights in (("best", "crops64_cascade"), ("worst", "crops64"))}
  found = {name: page["all"] for name, page in compare(tmp_path, real, draws).items()}
  assert found["control"].p_value > 0.01
  assert found["worst"].share > found["best"].share > 0.5
  assert found["worst"].p_value < 1e-4 * min(found["control"].p_value, 1.0)
  assert found["worst"].p_value < found["best"].p_value


def main(best, worst):
  """Prints a line a survey."""
  from lartpc_jax.data.open import open_data
  real = open_data("sample_crops").read(slice(None), ())["image"][:, 0]
  others = {name: open_data(path).read(slice(None), ())["image"][:, 0] for name, path in
            (("best", best), ("worst", worst))}
  with tempfile.TemporaryDirectory() as folder:
    for name, page in compare(Path(folder), real, others).items():
      every, told = page["all"], page["generators"]["generated"]
      print(f"{name}: {every.right} of {every.num} right, {100 * every.share:.0f} % ({100 * every.low:.0f} "
            f"to {100 * every.high:.0f} %), p = {every.p_value:.2g}; generated images called real: "
            f"{100 * told.called_real.share:.0f} %, p = {told.p_value:.2g}", flush=True)


if __name__ == "__main__":
  main(*sys.argv[1:])
