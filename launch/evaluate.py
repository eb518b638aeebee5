r"""Is it good enough? Generated against real images: one report with every metric, its floor and its uncertainty.

python -m launch.evaluate --real=crops.npz[50000:60000] --generated=a.npz,b.npz --train=crops.npz[0:50000] \
    --out=runs/report
python -m launch.evaluate --config=configs/images64_evaluate.py:protons --real=protons.npz --generated=generated.npz \
    --out=runs/protons
python -m launch.evaluate --config=configs/images64_evaluate.py:tiny --real=sample_crops --planted=shift,blur \
    --out=runs/planted

Files: npz of crops, of images in MeV or of sparse events, npy, larcv_png_64; [first:last] behind a name chooses images.
The real images are the reference. The first column, real against real, are those of --floor, which must be independent of
them (other events); without it half of the real images. Writes metrics.json, report.md and report.html.
"""
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lartpc_jax import cli

CONFIG = "configs/images64_evaluate.py"
config_flags.DEFINE_config_file("config", None, f"Config file; default {CONFIG}.", lock_config=True)
flags.DEFINE_string("real", None, "Real images that the generators were not trained on.")
flags.DEFINE_string("floor", None, "Real images of the first column; default: the second half of --real.")
flags.DEFINE_list("generated", [], "Files of generated images, one a column; NAME=FILE gives the column a name.")
flags.DEFINE_string("train", None, "Images that the generators were trained on, for memorisation.")
flags.DEFINE_list("planted", [], "Defects to plant in real images, each a column: shift, charge, duplicates, blur, dead, "
                  "memorised; or all.")
flags.DEFINE_string("ssnet", None, "Directory of SSNet's weights; default: those of the package.")
flags.DEFINE_string("out", None, "Directory of the report.")


def name_columns(paths: list[str]) -> dict[str, str]:
  """"name=path" or "path" -> {name: path}; a path is named by its stem."""
  columns = {}
  for text in paths:
    name, found, path = text.partition("=")
    name, path = (name, path) if found else (Path(text).stem, text)
    if name in columns:
      raise ValueError(f"Two columns of --generated are called {name!r}; give them names: --generated=a=FILE,b=FILE.")
    columns[name] = path
  return columns


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  for name in ("real", "out"):
    if not values[name].value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
  from lartpc_jax.experiments import evaluate, report
  from lartpc_jax.extras import require_extra
  require_extra("eval", "launch.evaluate")  # before the imports below, which take seconds
  from lartpc_jax.metrics.defects import NAMES
  planted = [name for name in NAMES if name != "memorised" or values.train] if values.planted == ["all"] else values.planted
  progress = lambda total: cli.progress_bar(total, description="evaluate", unit="part")
  result = evaluate.evaluate(values.config, real=values.real, generated=name_columns(values.generated),
                             floor=values.floor, training=values.train, planted=tuple(planted), ssnet=values.ssnet,
                             progress=progress)
  print(report.markdown(result))
  paths = report.write(result, values.out)
  print("Wrote " + ", ".join(str(path) for path in paths))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, default_config=CONFIG))
