r"""Draws from an unconditional model: images.npz, a mosaic beside real images, and their statistics against
held-out ones.

python -m launch.sample --weights=crops64 --num=100 --out=runs/sample
python -m launch.sample --weights=runs/crops/weights --data=lartpc_crops_geant4.npz --num=5000 \
    --out=runs/sample
python -m launch.sample --weights=runs/crops/weights --data=lartpc_crops_geant4.npz --num=64 \
    --sampler=euler_maruyama \
    --num_evaluations=1000 --uniform --out=runs/published

python -m launch.sample --weights=runs/events512_ldm/weights --data=lartpc_events_geant4.npz --num=500 \
    --grid=9 \
    --chunk_size=16 --out=runs/events512_sample

python -m launch.sample --weights=runs/fine/weights --cond=track_share=1,charge_mev=100 --num=64 \
    --out=runs/tracks

python -m launch.sample --weights=runs/pixel_sequence/weights --cond=track_share=1 --num=64 \
    --out=runs/pixel_sequence_sample

python -m launch.sample --weights=runs/events512_fine/weights --num=16 --chunk_size=8 \
    --cond=count_proton=1,count_mu-=1,kinetic_mev=300 --out=runs/interactions

Any generator of images: diffusion, cascade, GAN, codes with a prior, sequence of pixels.
images.npz holds `images` (N,1,n,n) in MeV; of a model with a condition also what was asked for. A cascade
has two or three stages, with samplers of their own (--coarse_sampler, --middle_sampler, --fine_sampler; else
those of its weights). Real against real (as many training images) stands beside every chi-squared. Without
--data there is nothing to compare with: images and mosaic alone. sample.json says what it cost, for
launch.evaluate.
"""
from lartpc_jax import cli

cli.define_flags("sample")

if __name__ == "__main__":
  cli.launch("sample")
