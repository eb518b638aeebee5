r"""SSNet on held-out crops: confusion matrix, IoU, calibration; for one or several ways to ask it.

python -m launch.evaluate_ssnet --data=lartpc_crops_geant4.npz --orientations=1,8 --out=runs/ssnet_evaluation

Orientations: 1 asks once, 8 takes the mean over rotations and reflections of each crop, at eight times the
cost. The crops are those of the last events of the file, as many as the weights were kept from.
"""
from lartpc_jax import cli

cli.define_flags("evaluate_ssnet")

if __name__ == "__main__":
  cli.launch("evaluate_ssnet")
