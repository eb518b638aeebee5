r"""Held-out whole interactions through an autoencoder, or crops through codes, and back: a picture, and what
is lost on the way.

python -m launch.reconstruct --weights=runs/events512_ae/weights --data=lartpc_events_geant4.npz --num=64 \
    --out=runs/events512_rec
python -m launch.reconstruct --weights=runs/fsq/weights --data=lartpc_crops_geant4.npz --num=1000 \
    --chunk_size=64 --out=runs/fsq_rec

Says how far the autoencoder limits a latent diffusion model. Decoded whole, or with --tile in squares of so
many latents. Of codes it also says which share of them is taken, and what SSNet makes of the reconstructions.
"""
from lartpc_jax import cli

cli.define_flags("reconstruct")

if __name__ == "__main__":
  cli.launch("reconstruct")
