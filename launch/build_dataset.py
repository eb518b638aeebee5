r"""Builds a dataset (tensorflow-datasets, array_record, no TensorFlow) from files that are there.

python -m launch.build_dataset --dataset=protons64 --manual_dir=DIR_OF_SOURCE --data_dir=datasets
python -m launch.build_dataset --dataset=larcv_png64 --manual_dir=zenodo_8300355 --data_dir=datasets --num_shards=4

protons64 and protons512 are made from protons_*.npz, lartpc_crops from lartpc_crops_geant4.npz, lartpc_events512 from
lartpc_events_geant4.npz, larcv_png64 from the four npy files of Zenodo record 8300355. With --beam the options of an Apache
Beam pipeline follow (extra `beam`), such as --beam=--runner=DirectRunner,--direct_num_workers=4.
"""
import sys

from absl import flags

from lartpc_jax import cli

NAMES = ["larcv_png64", "lartpc_crops", "lartpc_events512", "protons512", "protons64"]
flags.DEFINE_enum("dataset", None, NAMES, "What to build.")
flags.DEFINE_string("manual_dir", None, "Directory of the source files.")
flags.DEFINE_string("data_dir", None, "Directory that gets DATASET/VERSION.")
flags.DEFINE_integer("num_shards", None, "Files of a split; default: by size.", lower_bound=1)
flags.DEFINE_list("beam", None, "Do the work by Apache Beam, with these options.")


def main(argv) -> int:
  del argv
  values = flags.FLAGS
  for name in ("dataset", "manual_dir", "data_dir"):
    if not values[name].value:
      raise ValueError(f"Give --{name}; --help says what it may be.")
  from lartpc_jax.data.datasets.builders import build
  builder = build(values.dataset, values.manual_dir, values.data_dir, num_shards=values.num_shards,
                  beam_options=values.beam)
  sizes = ", ".join(f"{name} {split.num_examples}" for name, split in builder.info.splits.items())
  print(f"Built {builder.info.full_name} in {builder.data_dir}: {sizes}.")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
