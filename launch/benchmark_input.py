r"""Input pipeline against training step: images a second that each kind of training data gives, and that a
step takes.

python -m launch.benchmark_input    (the events of the package, as every kind of data)
python -m launch.benchmark_input --config=configs/protons64_autoencoder.py \
    --paths=protons_geant4.npz,batches,datasets/protons64
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_autoencoder.py"
cli.define_config_flag(CONFIG, "Training config")
cli.define_flags("benchmark_input")

if __name__ == "__main__":
  cli.launch("benchmark_input", default_config=CONFIG)
