r"""The fast simulation against Geant4 and NIST PSTAR: tables and figures.

python -m launch.validate_simulation --reference=protons_geant4_em.npz --out=runs/validate
python -m launch.validate_simulation --reference=protons_geant4_em.npz --input=protons.npz --out=runs/validate

Both files are sparse events of protons of 50 to 100 MeV without nuclear interactions; without --input they
are simulated. Exit code 1 if something lies outside its limit.
"""
from lartpc_jax import cli

cli.define_flags("validate_simulation")

if __name__ == "__main__":
  cli.launch("validate_simulation")
