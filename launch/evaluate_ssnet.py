r"""SSNet on held-out crops: confusion matrix, IoU, calibration; for one or several ways to ask it.

python -m launch.evaluate_ssnet --data=lartpc_crops_geant4.npz --orientations=1,8 --out=runs/ssnet_evaluation

Orientations: 1 asks once, 8 takes the mean over rotations and reflections of each crop, at eight times the cost. The crops
are those of the last events of the file, as many as the weights were kept from.
"""
import sys
import time
from pathlib import Path

from absl import flags

from lartpc_jax import cli
from lartpc_jax.files import write_json

flags.DEFINE_string("data", None, "File of labelled crops: lartpc_crops_geant4.npz, or sample for those of the package.",
                    required=True)
flags.DEFINE_string("weights", None, "Directory of SSNet's weights; default: those of the package.")
flags.DEFINE_list("orientations", ["1", "8"], "Ways to ask: 1, 8 or both.")
flags.DEFINE_integer("num_events", None, "Held-out events; default: as the weights say (sample: all).", lower_bound=1)
flags.DEFINE_string("out", None, "Directory of ssnet.json.", required=True)


def table_row(name: str, result: dict, seconds: float) -> str:
  """One line of the table."""
  iou = " | ".join(f"{value:.4f}" for value in result["iou"].values())
  return (f"| {name} | {iou} | {result['pixel_accuracy']:.4f} | {result['image_agreement']['corrected']:.4f} | "
          f"{result['calibration']['expected_error']:.4f} | {seconds:.0f} |")


def main(argv) -> int:
  del argv
  from lartpc_jax.build import tasks as config_lib
  from lartpc_jax.data import crop_labels, crops
  from lartpc_jax.train.segmentation import evaluate_segmentation
  f = flags.FLAGS
  ways = [int(text) if text.strip().isdigit() else text for text in f.orientations]
  segmenters = {way: config_lib.build_segmenter(f.weights, orientations=way) for way in ways}
  info = next(iter(segmenters.values()))[1]
  held = crop_labels.open_labelled_crops(f.data, five_classes=len(info["classes"]) > 3)
  if f.num_events or f.data != crop_labels.SAMPLE:
    held = crop_labels.split_labelled(held, "holdout", num_holdout_events=f.num_events or info["num_holdout_events"])
  images = crops.images_mev(held.crops)
  lines = ["| orientations | " + " | ".join(f"IoU {name}" for name in held.classes[1:]) +
           " | pixel accuracy | images as in truth | calibration error | s |", "| --- " * (len(held.classes) + 4) + "|"]
  results = {}
  for way, (segmenter, _) in segmenters.items():
    with cli.progress_bar(len(images), description=f"orientations {way}", unit="image") as bar:
      start = time.perf_counter()
      say = lambda share, bar=bar: bar.update(round(share * len(images)))
      predict = lambda x, segmenter=segmenter, say=say: segmenter.run(x, say)[0]
      results[way] = evaluate_segmentation(predict, images, held.label, held.classes)
      lines.append(table_row(str(way), results[way], time.perf_counter() - start))
  print(f"{len(images)} crops, {next(iter(results.values()))['num_pixels']} pixels with charge")
  print("\n".join(lines))
  Path(f.out).mkdir(parents=True, exist_ok=True)
  write_json(Path(f.out) / "ssnet.json", results)
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
