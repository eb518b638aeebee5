r"""Is it good enough? Generated against real images: one report with every metric, its floor and its
uncertainty.

python -m launch.evaluate --real=crops.npz[50000:60000] --generated=a.npz,b.npz --train=crops.npz[0:50000] \
    --out=runs/report
python -m launch.evaluate --config=configs/images64_evaluate.py:protons --real=protons.npz \
    --generated=generated.npz \
    --out=runs/protons
python -m launch.evaluate --config=configs/images64_evaluate.py:tiny --real=sample_crops \
    --planted=shift,blur \
    --out=runs/planted

Files: npz of crops, of images in MeV or of sparse events, npy, larcv_png_64; [first:last] behind a name
chooses images. Files of whole numbers need their unit behind that: @levels (images.level_mev), @mev, or @0.05
for the MeV of value 1. The real images are the reference. The first column, real against real, are those of
--floor, which must be independent of them (other events); without it half of the real images. Writes
metrics.json, report.md, report.html, and table.json: the rows by which generators are compared, and their
cost.
"""
from lartpc_jax import cli

CONFIG = "configs/images64_evaluate.py"
cli.define_config_flag(CONFIG)
cli.define_flags("evaluate")

if __name__ == "__main__":
  cli.launch("evaluate", default_config=CONFIG)
