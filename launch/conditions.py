r"""Is drawn what was asked for? Closure of energy, direction and type, and fidelity against diversity over
guidance scales.

python -m launch.conditions --input=sample --num=100 --num_reference=400 --scales=0,1,2 --out=runs/conditions
python -m launch.conditions --weights=runs/images/weights --input=edep_protons64/ --num=1000 \
    --out=runs/conditions_images

Each real image of the last ones lends its condition to two draws at each scale, with the same noise at all.
Writes conditions.md, conditions.json and conditions.png. The same command again goes on where it stopped.
"""
from lartpc_jax import cli

cli.define_flags("conditions")

if __name__ == "__main__":
  cli.launch("conditions")
