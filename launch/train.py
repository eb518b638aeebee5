r"""Trains the model that a config describes; the same command again resumes.

python -m launch.train --config=configs/protons64_autoencoder.py:tiny --workdir=runs/a
python -m launch.train --config=configs/protons64_autoencoder.py --workdir=runs/b \
    --config.optim.learning_rate=1e-3
python -m launch.train --config=configs/protons64_autoencoder.py --dry_run      (says what it would cost)
"""
from lartpc_jax import cli

cli.define_config_flag()
cli.define_flags("train")

if __name__ == "__main__":
  cli.launch("train")
