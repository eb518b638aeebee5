"""SSNet on held-out crops: confusion matrix, IoU, calibration; for one or several ways to ask it."""
import dataclasses
import time
from pathlib import Path

from lartpc_jax.build.data import open_labelled
from lartpc_jax.build.segmentation import build_segmenter
from lartpc_jax.data.batches import first, image_pool
from lartpc_jax.data.open import ASSETS
from lartpc_jax.data.split import split_by_event
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.tables import markdown_table, write_json
from lartpc_jax.train.segmentation import evaluate_segmentation


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to ask, and how."""
  data: str | None = setting(None,
                             "File of labelled crops: lartpc_crops_geant4.npz, or sample_crops for those of "
                             "the package.",
                             required=True)
  weights: str | None = setting(None, "Directory of SSNet's weights; default: those of the package.")
  orientations: tuple[str, ...] = setting(("1", "8"), "Ways to ask: 1, 8 or both.")
  num_events: int | None = setting(None, "Held-out events; default: as the weights say (sample_crops: all).",
                                   lower=1)
  out: str | None = setting(None, "Directory of ssnet.json.", required=True)


def run(settings: Settings, console: Console) -> None:
  """Asks, prints the table and writes ssnet.json."""
  ways = [int(text) if text.strip().isdigit() else text for text in settings.orientations]
  segmenters = {way: build_segmenter(settings.weights, orientations=way) for way in ways}
  info = next(iter(segmenters.values()))[1]
  held = open_labelled(settings.data, five_classes=len(info["classes"]) > 3)
  if settings.num_events or settings.data not in ASSETS:
    _, held = split_by_event(held, num_holdout=settings.num_events or info["num_holdout_events"])
  crops = first(image_pool(held, {"label": ()}))
  images = crops["image"]
  rows, results = [], {}
  for way, (segmenter, _) in segmenters.items():
    with console.progress(len(images), description=f"orientations {way}", unit="image") as bar:
      start = time.perf_counter()
      say = lambda share, bar=bar: bar.update(round(share * len(images)))
      predict = lambda x, segmenter=segmenter, say=say: segmenter.run(x, say)[0]
      results[way] = evaluate_segmentation(predict, images, crops["label"], held.classes)
      rows.append(_row(str(way), results[way], time.perf_counter() - start))
  head = ("orientations", *(f"IoU {name}" for name in held.classes[1:]), "pixel accuracy",
          "images as in truth",
          "calibration error", "s")
  console.say(f"{len(images)} crops, {next(iter(results.values()))['num_pixels']} pixels with charge")
  console.say(markdown_table(head, rows))
  Path(settings.out).mkdir(parents=True, exist_ok=True)
  write_json(Path(settings.out) / "ssnet.json", results)


def _row(name: str, result: dict, seconds: float) -> list[str]:
  """One line of the table."""
  return [name, *(f"{value:.4f}" for value in result["iou"].values()), f"{result['pixel_accuracy']:.4f}",
          f"{result['image_agreement']['corrected']:.4f}", f"{result['calibration']['expected_error']:.4f}",
          f"{seconds:.0f}"]
