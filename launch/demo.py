r"""Infers the momenta of sample events with the weights of the package: a table, and pictures in demo/.

python -m launch.demo

Two views, random starts; as `python -m launch.infer --input=sample --num_events=16 --out=demo`, but always
anew.
"""
from configs import protons64_infer
from lartpc_jax import cli

cli.define_flags("demo")

if __name__ == "__main__":
  cli.launch("demo", config=lambda settings: protons64_infer.get_config(settings.variant))
