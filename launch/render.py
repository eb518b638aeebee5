r"""Draws sparse events as images, in the group's files: batch_{i}.npy (xy), batch_xz_{i}.npy and
batch_mom_{i}.npy; beside them what is known of the particles, batch_pdg_{i}.npy and batch_kin_{i}.npy.

python -m launch.render --input=protons_geant4.npz --out=data/batches
python -m launch.render --input=protons.npz,muons.npz --shuffle=0 --out=data/particles
python -m launch.train --config=configs/protons64_ldm.py:images --config.data.path=data/batches \
    --workdir=runs/images

The same command again goes on where it stopped. A batch of 128 events takes 4 MB (float32, two views).
"""
from lartpc_jax import cli

cli.define_flags("render")

if __name__ == "__main__":
  cli.launch("render")
