r"""Builds a dataset (tensorflow-datasets, array_record, no TensorFlow) from files that are there.

python -m launch.build_dataset --dataset=protons64 --manual_dir=DIR_OF_SOURCE --data_dir=datasets
python -m launch.build_dataset --dataset=larcv_png64 --manual_dir=zenodo_8300355 --data_dir=datasets \
    --num_shards=4

protons64 and protons512 are made from protons_*.npz, lartpc_crops from lartpc_crops_geant4.npz,
lartpc_events512 from lartpc_events_geant4.npz, larcv_png64 from the four npy files of Zenodo record 8300355.
With --beam the options of an Apache Beam pipeline follow (extra `beam`), such as
--beam=--runner=DirectRunner,--direct_num_workers=4.
"""
from lartpc_jax import cli

cli.define_flags("build_dataset")

if __name__ == "__main__":
  cli.launch("build_dataset")
