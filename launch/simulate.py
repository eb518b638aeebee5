r"""Simulates particles in liquid argon: a sparse-event npz. The same command again goes on where it stopped.

python -m launch.simulate --num_events=200000 --out=protons.npz
python -m launch.simulate --num_events=20000 --out=muons.npz --particle=muon --kinetic_mev=20,80 --seed=1
python -m launch.simulate --backend=geant4 --physics=QGSP_BERT --num_events=100000 --out=protons_geant4.npz
python -m launch.simulate --backend=geant4 --particle=e-,mu-,proton --kinetic_mev="50,500;50,500;50,250" \
    --multiplicity=1,5 --voxel_mm=3 --num_events=1000 --out=interactions.npz
python -m launch.simulate --merge --out=protons.npz    (joins what runs with --part=0/64 ... 63/64 have made)

Directions are isotropic, kinetic energies uniform. The fast backend needs nothing beyond this package; its
voxels hold the energy along the track (delta rays are local), and of nuclear interactions only that they end
a track. Geant4 needs the extra [geant4] and data sets; where they are missing, it says which and how to get
them.
"""
from lartpc_jax import cli

cli.define_flags("simulate")

if __name__ == "__main__":
  cli.launch("simulate")
