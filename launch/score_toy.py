r"""From score matching to samples in pictures: points in the plane whose score is known, and images under the
forward SDE.

python -m launch.score_toy --out=runs/toy    (images: single protons of the package)
python -m launch.score_toy --out=runs/toy --data=lartpc_crops_geant4.npz

forward.png, reverse.png: the forward SDE, and back by the reverse SDE and the flow ODE. scores.png,
learned.png: true scores, and scores learned without noise (sliced score matching) and with it: away from the
data only the latter are right, which is the manifold hypothesis at work. langevin.png: plain and annealed
Langevin dynamics. forward_images.png: images under the forward SDE.
"""
from lartpc_jax import cli

cli.define_flags("score_toy")

if __name__ == "__main__":
  cli.launch("score_toy")
