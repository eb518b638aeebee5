r"""Released weights from any checkpoint of a training run: the averaged parameters, as launch.train writes them at its end.

python -m launch.export --workdir=runs/crops --step=1000 --out=runs/crops_1000
python -m launch.export --workdir=runs/crops --out=runs/crops_newest          (the newest checkpoint)

The run may still be going on: it is only read. Data are read as in training, for what goes beside the weights (numbers
on held-out events, the scale of the latents). train.keep_checkpoints of the config says how many steps there are.
"""
import sys

from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("workdir", None, "Directory of the training run.", required=True)
flags.DEFINE_integer("step", None, "Which checkpoint; default: the newest.", lower_bound=0)
flags.DEFINE_string("out", None, "Directory of the weights.", required=True)


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  from lartpc_jax.build import tasks as config_lib
  from lartpc_jax.train.export import export_checkpoint
  step = export_checkpoint(config_lib.build_task, values.workdir, values.out, step=values.step)
  print(f"Wrote the weights of step {step} to {values.out}.")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
