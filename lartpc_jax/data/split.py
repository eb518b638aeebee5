"""Training and held-out data: whole events, never one of them on both sides."""
import numpy as np

from lartpc_jax.data.events import Events, select_events
from lartpc_jax.data.image_source import Images, select_images


def split_by_event(data: Events | Images, *,
                   num_holdout: int) -> tuple[Events, Events] | tuple[Images, Images]:
  """(training, held out): what the source keeps apart, else all but the last `num_holdout` events, and those.

  Raises:
    ValueError: if num_holdout is out of range.
  """
  images = isinstance(data, Images)
  if images and data.holdout is not None:
    return data._replace(holdout=None), data.holdout
  num = data.num if images else len(data)
  event = np.arange(num) if not images or data.event is None else data.event
  known = np.unique(event)
  if not 0 < num_holdout < len(known):
    raise ValueError(f"data.num_holdout must lie between 1 and {len(known) - 1}, the number of events less "
                     f"one; got {num_holdout}.")
  held = event >= known[-num_holdout]
  select = select_images if images else select_events
  return select(data, np.flatnonzero(~held)), select(data, np.flatnonzero(held))
