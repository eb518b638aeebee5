r"""From score matching to samples in pictures: points in the plane whose score is known, and images under the forward SDE.

python -m launch.score_toy --out=runs/toy                                  (images: single protons of the package)
python -m launch.score_toy --out=runs/toy --data=lartpc_crops_geant4.npz

forward.png, reverse.png: the forward SDE, and back by the reverse SDE and the flow ODE. scores.png, learned.png: true
scores, and scores learned without noise (sliced score matching) and with it: away from the data only the latter are right,
which is the manifold hypothesis at work. langevin.png: plain and annealed Langevin dynamics. forward_images.png: images
under the forward SDE.
"""
import sys
from pathlib import Path

from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("out", None, "Directory of the pictures.", required=True)
flags.DEFINE_string("data", "sample", "Crops for forward_images.png, see lartpc_jax.data.open.")
flags.DEFINE_integer("num_images", 1, "Images in it.", lower_bound=1)
flags.DEFINE_list("pictures", ["forward", "reverse", "scores", "learned", "langevin", "forward_images"], "Which ones.")
flags.DEFINE_integer("seed", 0, "Seed.")


def main(argv) -> int:
  del argv
  import numpy as np

  from lartpc_jax.data.open import open_pictures
  from lartpc_jax.experiments import score_toy
  f = flags.FLAGS
  images = open_pictures(f.data).read(np.arange(f.num_images))["image"][:, 0]
  paths, errors, shares = score_toy.draw_all(Path(f.out), images, seed=f.seed, names=f.pictures)
  if errors:
    print("| learned score | cosine with the true one, at the data | over the square |\n| --- | --- | --- |")
    print("\n".join(f"| {row.name} | {row.near:.3f} | {row.square:.3f} |" for row in errors))
  if shares:
    print("Share of points in the blob (0.3 of the data): " + ", ".join(f"{k} {v:.2f}" for k, v in shares.items()))
  print("Wrote " + ", ".join(str(path) for path in paths))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
