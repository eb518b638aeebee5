r"""Released weights from any checkpoint of a training run: the averaged parameters, as launch.train writes
them at its end.

python -m launch.export --workdir=runs/crops --step=1000 --out=runs/crops_1000
python -m launch.export --workdir=runs/crops --out=runs/crops_newest          (the newest checkpoint)
python -m launch.export --weights=runs/crops/weights --dtype=int8 --out=runs/crops_small

The run may still be going on: it is only read. Data are read as in training, for what goes beside the weights
(numbers on held-out events, the scale of the latents). train.keep_checkpoints of the config says how many
steps there are.
"""
from lartpc_jax import cli

cli.define_flags("export")

if __name__ == "__main__":
  cli.launch("export")
