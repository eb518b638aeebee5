r"""The fast transport against Geant4 with a Python recorder: protons a second, both measured in one run.

python -m launch.benchmark_simulation --num_events=200000 --geant4_data=FOLDER --out=runs/simulation_speed

Both simulate protons of one energy without nuclear interactions and write a file, each by `python -m
launch.simulate` in a process of its own. The rate per CPU second counts the time of all its processes,
whatever else the machine does: once of the whole command (Python, imports, compilation, tables of Geant4,
files) and once less what a run of a few events takes. With
--geant4_events=0 Geant4 is left out.
"""
from lartpc_jax import cli

cli.define_flags("benchmark_simulation")

if __name__ == "__main__":
  cli.launch("benchmark_simulation")
