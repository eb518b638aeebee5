"""Calibration of particle types by inversion on simulated events, beside a classifier of images: what
launch.identify does.
"""
import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from lartpc_jax.build.segmentation import build_classifier
from lartpc_jax.data.images import open_images
from lartpc_jax.experiments.infer_types import CALIBRATION, OBJECTIVES
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.geometry.rasterize import ImageSpec
from lartpc_jax.inference import type_probability as probability_lib
from lartpc_jax.metrics.classes import Told, tell_classes
from lartpc_jax.plotting.classes import confusion_figure
from lartpc_jax.tables import markdown_table, write_csv, write_json, write_text

INVERSION, CLASSIFIER = "inversion", "classifier"


@dataclasses.dataclass(frozen=True)
class Settings:
  """Which run, and what to compare it with."""
  input: str | None = setting(None, "The --out of a finished launch.infer --types on events of known types "
                              "that the weights were not trained on.", required=True)
  classifier: str | None = setting(None, "Weights of configs/particles64_classifier.py, to compare with.")
  folds: int = setting(2, "Parts of the events: each is judged by a calibration fitted on the others.",
                       lower=2)
  out: str | None = setting(None, "Directory of the results.", required=True)
  seed: int = setting(0, "Seed of the parts.")


class Objectives(NamedTuple):
  """What a run of launch.infer --types left behind, of the events of its types."""
  event: np.ndarray      # [n] numbers in the file
  label: np.ndarray      # [n] true type
  features: np.ndarray   # [n f]
  types: tuple[str, ...]
  identity: dict
  input_path: str
  ms_per_event: float
  num_others: int        # events of other or unknown types, left out


def read_objectives(run: str) -> Objectives:
  """Objectives of the run in a directory.

  Raises:
    ValueError: naming the directory, if it holds none, or no event of known type.
  """
  file = Path(run) / OBJECTIVES
  if not file.is_file():
    raise ValueError(f"--input: no {OBJECTIVES} in {run!r}; it must be the --out of a finished run of "
                     "launch.infer --types.")
  with np.load(file, allow_pickle=False) as npz:
    arrays = {name: npz[name] for name in npz.files}
  identity, known = json.loads(str(arrays["identity"])), arrays["label"] >= 0
  if not known.any():
    raise ValueError(f"--input: {run} is of events of which nothing says what they are.")
  features = probability_lib.features_of(arrays["emd"], arrays["charge"], arrays["near_emd"])[known]
  warm = ~arrays["cold"].astype(bool)
  seconds = arrays["seconds"][warm if warm.any() else slice(None)]
  return Objectives(arrays["event"][known], arrays["label"][known], features, tuple(identity["types"]),
                    identity, str(arrays["input"]), 1e3 * float(seconds.mean()), int((~known).sum()))


def cross_fitted(found: Objectives, *, folds: int, seed: int) -> np.ndarray:
  """Probabilities [n k] of the types, of each event by a calibration that has not seen it."""
  fold = np.random.default_rng(seed).permutation(np.arange(len(found.label)) % folds)
  probability = np.empty((len(found.label), len(found.types)))
  for i in range(folds):
    used = fold != i
    known = probability_lib.fit_type_map(found.features[used], found.label[used], found.types, identity={})
    probability[~used] = probability_lib.type_probability(known, found.features[~used])
  return probability


def classified(found: Objectives, weights: str) -> np.ndarray:
  """Probabilities [n k] of the types by a classifier of single images; of several views, log p adds up.

  Raises:
    OSError, ValueError: naming the weights that lack a type or are of other images, or the file of events.
  """
  classifier, info = build_classifier(weights)
  for name in found.types:
    if name not in classifier.classes:
      raise ValueError(f"--classifier: {weights} knows {list(classifier.classes)}, not {name!r}.")
  views, first = tuple(found.identity["views"].split(",")), int(found.event.min())
  data = open_images(found.input_path, views=views, spec=ImageSpec(**info["image"]), first=first,
                     num=int(found.event.max()) - first + 1, any_particle=True)
  images = np.asarray(data.images)[found.event - first]
  log_p = sum(np.log(np.maximum(classifier.run(images[:, v]), 1e-12)) for v in range(len(views)))
  return special.softmax(log_p[:, [classifier.classes.index(name) for name in found.types]], axis=1)


def run(settings: Settings, console: Console) -> None:
  """Writes identification.json (the calibration), identify.json, identify.md, events.csv and a picture."""
  found = read_objectives(settings.input)
  probability = {INVERSION: cross_fitted(found, folds=settings.folds, seed=settings.seed)}
  if settings.classifier:
    probability[CLASSIFIER] = classified(found, settings.classifier)
  known = probability_lib.fit_type_map(found.features, found.label, found.types, identity=found.identity)
  told = {name: tell_classes(p, found.label) for name, p in probability.items()}
  out = Path(settings.out)
  out.mkdir(parents=True, exist_ok=True)
  text = "\n\n".join(_texts(found, told))
  console.say(text)
  paths = [probability_lib.save_type_map(out / CALIBRATION, known), write_text(out / "identify.md", text),
           write_json(out / "identify.json", {
               "run": found.identity, "classifier_weights": settings.classifier, "types": found.types,
               "ms_per_event": found.ms_per_event, **told}),
           write_csv(out / "events.csv", _columns(found, probability))]
  figure = confusion_figure({name: each.counts for name, each in told.items()}, found.types, {
      name: (each.calibration.confidence, each.calibration.accuracy) for name, each in told.items()})
  paths.append(save_figure(figure, out / "identify.png"))
  console.say("Wrote " + ", ".join(map(str, paths)))


def _columns(found: Objectives, probability: dict[str, np.ndarray]) -> dict:
  columns = {"event": found.event, "true_type": np.array(found.types)[found.label]}
  return columns | {f"{name}_p_{of}": p[:, i] for name, p in probability.items()
                    for i, of in enumerate(found.types)}


def _texts(found: Objectives, told: dict[str, Told]) -> list[str]:
  shown = lambda e: f"{e.value:.3f} +- {e.error:.3f}"
  others = f"; {found.num_others} events of other types left out" if found.num_others else ""
  texts = [f"{len(found.label)} events in views {found.identity['views']}, inversion "
           f"{found.ms_per_event:.0f} ms an event{others}.",
           markdown_table(("by", "called right", "mean over types", "log loss, nats", "calibration error"), [
               (name, shown(each.accuracy), shown(each.balanced), shown(each.log_loss),
                f"{each.calibration.expected_error:.3f}") for name, each in told.items()])]
  for name, each in told.items():
    shares = 100 * each.counts / np.maximum(each.counts.sum(1, keepdims=True), 1)
    texts.append(markdown_table((f"true, by {name}, %", *(f"called {of}" for of in found.types), "events"), [
        (of, *(f"{share:.1f}" for share in row), count.sum())
        for of, row, count in zip(found.types, shares, each.counts, strict=True)]))
  rows = []
  for name, each in told.items():
    bins = each.calibration
    error = np.sqrt(bins.accuracy * (1 - bins.accuracy) / np.maximum(bins.count, 1))
    rows += [(name, f"{bins.edges[i]:.1f}-{bins.edges[i + 1]:.1f}", bins.count[i],
              *(f"{x[i]:.3f}" for x in (bins.confidence, bins.accuracy, error)))
             for i in range(len(bins.count)) if bins.count[i]]
  head = ("by", "stated probability", "events", "mean stated", "share right", "+-")
  texts.append(markdown_table(head, rows))
  return texts
