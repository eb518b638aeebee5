r"""Infers proton momenta from images; the same command again goes on where it stopped.

python -m launch.infer --input=sample --views=xy,xz --num_events=32 --out=runs/infer
python -m launch.infer --input=images.npy --views=xy --out=runs/one_view \
    --config.inference.screening.num_starts=5

--input is an npz of sparse events, an npz (`images`, perhaps `momentum`) or npy of images (N, views, 64, 64)
in MeV, or "sample" for events of the package. --out gets results.csv, results.json, summary.png, events/ and
chunks/.
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
cli.define_config_flag(CONFIG)
cli.define_flags("infer")

if __name__ == "__main__":
  cli.launch("infer", default_config=CONFIG)
