r"""Writes one interactive HTML page about an event, which needs no other file and no network.

python -m launch.display --input=sample --event=3 --out=runs/display
python -m launch.display --input=sample --event=3 --infer=runs/infer --surface=runs/surface --out=runs/display
python -m launch.display --input=sample_crops --event=7 --other_event=12 --out=runs/crop

It shows images, labels, voxels, the optimal transport to another image, posterior samples, and the inference
as an animation over its loss surface: whatever the file and the directories have.
"""
from lartpc_jax import cli

cli.define_flags("display")

if __name__ == "__main__":
  cli.launch("display")
