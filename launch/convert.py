r"""Converts what other programs write into files of images or of sparse events, in pieces, whole or not at
all.

python -m launch.convert --list
python -m launch.convert --input=protons.root --out=events.npz --detectors=volLArActive
python -m launch.convert --format=batches --input=edep_protons64/ --out=images.npz
python -m launch.convert --format=larcv_npy --input=larcv_png_64_train_tracks.npy --out=crops.npy \
    --scale_mev=0.05
python -m launch.convert --format=pilarnet --input=generic_v2_50000_v1.h5 --out=events.npz --num_events=1000
python -m launch.convert --format=segments --input=spill.h5 --out=events.npz --unit=interaction \
    --origin=entry --voxel_mm=3

--format is one of (without it, what the input looks like is taken; --list says more):
FORMATS
Images become npz (or npy, with further fields beside it), 3D formats become sparse events (npz); launch.infer
reads both. HDF5, ROOT and PNG files need the extra `io`: pip install 'lartpc_jax[io]'.
"""
from lartpc_jax import cli
from lartpc_jax.data.readers.formats import FORMATS

__doc__ = __doc__.replace("FORMATS", "\n".join(f"  {name:13s} {f.text}" for name, f in FORMATS.items()))
cli.define_flags("convert")

if __name__ == "__main__":
  cli.launch("convert")
