r"""Generated protons against Geant4 at fixed energies and directions: length, charge, Bragg curve; table and
figures.

python -m launch.fidelity --input=protons_geant4.npz --first_event=195000 --out=runs/fidelity
python -m launch.fidelity --out=runs/fidelity                  (the 500 events of the package; larger errors)

The sampler is that of configs/protons64_infer.py: what is judged are the pictures that fits compare.
"""
from configs import protons64_infer
from lartpc_jax import cli

cli.define_flags("fidelity")

if __name__ == "__main__":
  cli.launch("fidelity", inference=lambda settings: protons64_infer.get_config())
