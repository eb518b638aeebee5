"""Batches made ahead, while the device trains on earlier ones."""
import concurrent.futures
from collections.abc import Callable


def prefetch(batch_fn: Callable, *, depth: int = 2) -> Callable:
  """The same function of a step, which already makes the next `depth` steps in a thread when it returns.

  Any order of steps gives the right batches; only the usual one gains. An error of a batch is raised when
  that batch is asked for. At most `depth` batches wait in memory; 0 makes each batch when it is asked for.

  Raises:
    ValueError: if depth is negative.
  """
  if depth < 0:
    raise ValueError(f"data.prefetch_batches must not be negative; got {depth}.")
  if depth == 0:
    return batch_fn
  pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="batches")
  waiting: dict[int, concurrent.futures.Future] = {}

  def ahead(step: int):
    wanted = range(step, step + depth + 1)
    for other in [s for s in waiting if s not in wanted]:
      waiting.pop(other).cancel()
    for s in wanted:
      if s not in waiting:
        waiting[s] = pool.submit(batch_fn, s)
    return waiting.pop(step).result()
  return ahead
