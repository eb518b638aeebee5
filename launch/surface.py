r"""Draws the objective over two components of the momentum, and how far its gradient can be trusted.

python -m launch.surface --momentum=-356,-245,40 --views=xy --axes=px,py --start=-200,-350,40 \
    --out=runs/surface
python -m launch.surface --input=sample --event=3 --axes=px,pz --third=-400,400,9 --out=runs/profiled

The target is drawn by the generator with --momentum, or an event of --input. The third component is that of
the truth,
--third, or, with --third=minimum,maximum,number, the best of so many values. The second map is the longest
step down the gradient for which the first-order Taylor expansion foretells the fall of the objective within a
quarter.
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
cli.define_config_flag(CONFIG)
cli.define_flags("surface")

if __name__ == "__main__":
  cli.launch("surface", default_config=CONFIG)
