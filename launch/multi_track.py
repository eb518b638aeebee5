r"""Makes images of vertices with several protons, for launch.tracks: real single events turned and put
together, or drawn.

python -m launch.multi_track --source=sample --tracks=2 --num=300 --opening_degrees=0,180 --out=runs/pairs.npz
python -m launch.multi_track --source=protons_geant4.npz --first_event=195000 --tracks=1 --num=300 \
    --out=runs/singles.npz
python -m launch.multi_track --source=generator --tracks=1 --num=300 --out=runs/null.npz

Directions are isotropic; pairs have opening angles evenly spaced over --opening_degrees. Of a file each event
is used as few times as possible. The generator (of the package, or of --weights) draws kinetic energies
evenly over its range.
"""
from lartpc_jax import cli

cli.define_flags("multi_track")

if __name__ == "__main__":
  cli.launch("multi_track")
