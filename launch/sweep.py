r"""launch.infer with every combination of some config values, and one table; the same command again goes on.

python -m launch.sweep --input=sample --num_events=64 --start=amortised \
    --config=configs/protons64_infer.py:amortised \
    --set=inference.second.num_steps=4,8 --set=inference.second.prior_weight_px=0.0,0.3 --out=runs/sweep

--out gets a directory of launch.infer for each combination, sweep.json and sweep.md. Other flags as for
launch.infer.
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
cli.define_config_flag(CONFIG)
cli.define_flags("sweep")

if __name__ == "__main__":
  cli.launch("sweep", default_config=CONFIG)
