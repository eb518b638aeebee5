"""Built datasets as random-access sources, read without TensorFlow."""
import os

import tensorflow_datasets as tfds


def open_info(directory: str | os.PathLike) -> tfds.core.DatasetInfo:
  """What a built dataset says about itself: features, splits, metadata. `directory` as in `open_split`.

  Raises:
    ValueError: naming the directory, if that is not readable.
  """
  try:
    return tfds.builder_from_directory(str(directory)).info
  except Exception as error:  # tfds raises what its JSON and protobuf parsers raise
    raise ValueError(f"{directory}: not a readable dataset ({type(error).__name__}: {error}).") from error


def open_split(directory: str | os.PathLike, split: str):
  """A random-access source of the examples of a split (tfds slices such as "train[:10%]" too), read without
  TensorFlow.

  Args:
    directory: of one version, such as data_dir/protons64/1.0.0.
    split: its name.
  """
  return tfds.builder_from_directory(str(directory)).as_data_source(split=split)
