r"""Likelihood of images under a trained model: by the probability-flow ODE of an unconditional diffusion,
exactly under codes or sequences of pixels; nats and bits per dimension.

python -m launch.likelihood --input=sample_crops --num=16 --out=runs/likelihood
python -m launch.likelihood --weights=runs/crops/weights --data=lartpc_crops_geant4.npz --num=256 \
    --out=runs/likelihood

python -m launch.likelihood --weights=runs/pixel_sequence/weights --data=lartpc_crops_geant4.npz --num=1000 \
    --out=runs/likelihood_sequence

Of a prior over codes and of a sequence of pixels it is exact. For a diffusion images hold exact zeros, so
each is seen with noise of --sigma_min, and the density is that of the noised state (normalised pixels, or
latents). --data compares held-out images with as many of those trained on: a
model that has learned them by heart finds them likelier. Writes likelihood.md and likelihood.json. The same
command again goes on where it stopped.
"""
from lartpc_jax import cli

cli.define_flags("likelihood")

if __name__ == "__main__":
  cli.launch("likelihood")
