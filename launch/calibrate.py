r"""Is the amortised posterior of momenta calibrated? Coverage, simulation-based ranks and pulls on events of
known truth.

python -m launch.calibrate --input=sample --views=xy,xz --out=runs/calibrate
python -m launch.calibrate --input=protons_geant4.npz --first_event=195000 --num_events=4000 --views=xy \
    --out=runs/one_view
python -m launch.calibrate --method=tempered --input=sample --fit_events=100 --out=runs/tempered
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py:amortised"
cli.define_config_flag(CONFIG, "Inference config of the sampler and the distance, tempered only")
cli.define_flags("calibrate")

if __name__ == "__main__":
  cli.launch("calibrate", default_config=CONFIG)
