r"""Draws images of protons with given momenta: images.npz, which launch.infer reads, and a picture of each
momentum.

python -m launch.generate --momentum=-356,-245,40 --num=16 --out=runs/images
python -m launch.generate --momentum="300,0,0;0,300,0" --views=xy --guidance_scale=2 --out=runs/two \
    --config.sampler.num_steps=32
python -m launch.generate --kinetic_mev=50,100 --num=5000 --views=xy --out=runs/spectrum

Each view is a draw of its own: views of one proton share its momentum, not the wiggles of its track.
"""
from lartpc_jax import cli

CONFIG = "configs/protons64_infer.py"
cli.define_config_flag(CONFIG)
cli.define_flags("generate")

if __name__ == "__main__":
  cli.launch("generate", default_config=CONFIG)
