r"""What the inference bears: nuclear interactions, noise, miscalibration, dead wires, a vertex that is off; a
table.

python -m launch.robustness --config=configs/protons64_infer.py:amortised --start=amortised \
    --input=protons_geant4.npz \
    --first_event=195000 --num_events=200 --out=runs/robustness

The same clean events in every row but the one of nuclear interactions. "Flagged" are events that did not
converge. The last two rows fit the vertex, by the variant `vertex` of configs/protons64_infer.py, from the
classical estimate: a vertex that is off leads the amortised one astray. The same command again goes on.
"""
from configs import protons64_infer
from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
cli.define_config_flag(CONFIG)
cli.define_flags("robustness")

if __name__ == "__main__":
  cli.launch("robustness", default_config=CONFIG,
             vertex_config=lambda settings: protons64_infer.get_config(settings.vertex_variant))
