r"""Held-out whole interactions through an autoencoder and back: a picture, and what is lost on the way.

python -m launch.reconstruct --weights=runs/events512_ae/weights --data=lartpc_events_geant4.npz --num=64 \
    --out=runs/events512_rec

Says how far the autoencoder limits a latent diffusion model. Decoded whole, or with --tile in squares of so
many latents.
"""
from lartpc_jax import cli

cli.define_flags("reconstruct")

if __name__ == "__main__":
  cli.launch("reconstruct")
