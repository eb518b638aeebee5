r"""Completes images with dead pixels or noise: several draws of each, their mean and their spread.

python -m launch.inpaint --input=sample --mask=columns=28:36 --cond=truth --num_events=8 --out=runs/inpaint
python -m launch.inpaint --weights=runs/images/weights --input=protons_geant4.npz --first_event=195000 \
    --num_events=250 --mask=columns=28:36 --num_draws=16 --out=runs/band
python -m launch.inpaint --weights=crops64 --input=sample_crops --mask="wires=0.1;rows=0:8" --num_events=8 \
    --num_draws=8 --out=runs/wires
python -m launch.inpaint --weights=runs/images/weights --input=measured.npz --mask=dead.npy \
    --noise_mev=0.05 --nowhole --out=runs/measured

Draws are of p(image | what is seen) as the generator has it; the mask says what is dead. inpaint.npz holds
the first draw of each image, the mean and standard deviation [N n n] of all, and the missing charge of every
draw. With whole images (simulation) the table compares that charge with what the mask hid. The same command
again goes on where it stopped.
"""
from lartpc_jax import cli

cli.define_flags("inpaint")

if __name__ == "__main__":
  cli.launch("inpaint")
