"""Batches of a built dataset through grain: shuffled by a seed, prefetched, and resumed where they were."""
import os

import grain
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
  """A random-access source of the examples of a split (tfds slices such as "train[:10%]" too), read without TensorFlow.

  Args:
    directory: of one version, such as data_dir/protons64/1.0.0.
    split: its name.
  """
  return tfds.builder_from_directory(str(directory)).as_data_source(split=split)


def make_iterator(source, *, batch_size: int, seed: int, num_epochs: int | None = None, num_threads: int = 2,
                  prefetch: int = 16):
  """An iterator of dicts of arrays [batch_size ...]; the order is a function of `seed` alone, whole batches only.

  `get_state()` gives a dict for the checkpoint; `set_state(state)` on an iterator of the same arguments goes on from there.

  Args:
    source: from `open_split`.
    batch_size: examples a batch.
    seed: of the shuffle, which is another one in each epoch.
    num_epochs: None for no end.
    num_threads: that read ahead.
    prefetch: examples that may wait.
  Raises ValueError if the source has less than a batch.
  """
  if not 1 <= batch_size <= len(source):
    raise ValueError(f"batch_size must lie between 1 and {len(source)}, the number of examples; got {batch_size}.")
  dataset = grain.MapDataset.source(source).seed(seed).shuffle().repeat(num_epochs).batch(batch_size, drop_remainder=True)
  return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)))
