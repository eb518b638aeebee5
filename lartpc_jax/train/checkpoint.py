"""Training states on disk: atomic, retained, verified by a digest, restored from the newest whole one.

Orbax writes atomically, but restores flipped bytes without a word and does not fall back over a damaged step
(measured with 0.12.8): so a sha256 of the state lies beside it, and `restore_latest` walks back.
"""
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lartpc_jax.config.compare import check_same_config, plain

logger = logging.getLogger(__name__)


class Checkpoints(NamedTuple):
  """Writes checkpoints; from `open_checkpoints`."""
  save: Callable         # (step, state, info: dict) -> None; copies the state, then writes in the background
  wait: Callable         # () -> None, until everything is on disk
  latest_step: Callable  # () -> int | None


class Restored(NamedTuple):
  """A state read back, with the JSON dict saved beside it."""
  state: Any
  info: dict


def state_digest(state) -> str:
  """sha256 over the paths, types, shapes and bytes of all arrays of a pytree."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
    array = np.ascontiguousarray(leaf)
    digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)};".encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


@contextlib.contextmanager
def open_checkpoints(directory: Path, *, max_to_keep: int) -> Iterator[Checkpoints]:
  """Opens `directory` for writing; waits for the last write when the block ends.

  Args:
    directory: made if missing; a half-written step left by a killed process is removed.
    max_to_keep: newest steps kept.
  Raises:
    ValueError: if max_to_keep < 1.
  """
  import orbax.checkpoint as ocp  # 0.9 s: not for --help
  if max_to_keep < 1:
    raise ValueError(f"train.keep_checkpoints must be at least 1; got {max_to_keep}.")
  options = ocp.CheckpointManagerOptions(max_to_keep=max_to_keep, cleanup_tmp_directories=True)
  with ocp.CheckpointManager(Path(directory).absolute(), options=options) as manager:
    def save(step: int, state, info: dict) -> None:
      # An own copy: on CPU device_get gives views of buffers that the next, donating step reuses.
      host = jax.tree.map(lambda x: np.array(x), jax.device_get(state))
      info = plain({**info, "digest": state_digest(host)})  # a copy too: it is written in the background
      args = ocp.args.Composite(state=ocp.args.StandardSave(host), info=ocp.args.JsonSave(info))
      manager.save(step, args=args, force=True)

    yield Checkpoints(save, manager.wait_until_finished, manager.latest_step)


def restore_latest(directory: Path, abstract_state, *, config: dict | None = None) -> Restored | None:
  """Reads the newest whole checkpoint; newer, damaged ones are reported and moved to `<directory>_unusable`.

  Args:
    directory: the checkpoint directory; need not exist.
    abstract_state: pytree of ShapeDtypeStruct, as from `jax.eval_shape`, with the wanted shardings.
    config: if given, must equal the saved info["config"] except for keys that may change on resuming.
  Returns:
    The state and its info, or None if there is no checkpoint at all.
  Raises:
    ValueError: if the config differs (naming the keys), or if there are checkpoints and none is usable.
  """
  import orbax.checkpoint as ocp
  directory = Path(directory).absolute()
  if not directory.is_dir():
    return None
  with ocp.CheckpointManager(directory) as manager:
    steps = sorted(manager.all_steps(), reverse=True)
    reasons, restored = {}, None
    for step in steps:
      try:
        info = manager.restore(step, args=ocp.args.Composite(info=ocp.args.JsonRestore()))["info"]
      except Exception as error:  # orbax raises bare Exceptions for damaged files; every reason is reported
        reasons[step] = _one_line(error)
        continue
      if config is not None:
        check_same_config(info.get("config"), config, source=f"checkpoint {step} in {directory}")
      try:
        restored = Restored(_restore_verified(manager, step, abstract_state, info), info)
        break
      except Exception as error:
        reasons[step] = _one_line(error)
  if restored is None and reasons:
    listing = "\n".join(f"  step {step}: {reason}" for step, reason in reasons.items())
    raise ValueError(f"None of the {len(reasons)} checkpoints in {directory} is usable:\n{listing}\n"
                     "Remove that directory to start again, or choose another workdir.")
  for step, reason in reasons.items():
    logger.warning("Checkpoint %d in %s is damaged: %s. Going back to an older one.", step, directory, reason)
    _move_aside(directory, step)
  return restored


def restore_step(directory: Path, step: int | None, abstract_state, *,
                 config: dict | None = None) -> Restored:
  """Reads the checkpoint of one step (None: the newest) and changes nothing, so a run may be going on in
  `directory`.

  Args:
    directory: the checkpoint directory.
    step: number of steps done.
    abstract_state: as for `restore_latest`.
    config: as for `restore_latest`.
  Raises:
    ValueError: if there is no such step (naming those there are), if it is damaged, or if the config differs.
  """
  import orbax.checkpoint as ocp
  directory = Path(directory).absolute()
  steps = []
  if directory.is_dir():
    with ocp.CheckpointManager(directory) as manager:
      steps = sorted(manager.all_steps())
  if not steps:
    raise ValueError(f"There are no checkpoints in {directory}.")
  step = steps[-1] if step is None else step
  if step not in steps:
    raise ValueError(f"There is no checkpoint of step {step} in {directory}; there are {steps}.")
  with ocp.CheckpointManager(directory) as manager:
    try:
      info = manager.restore(step, args=ocp.args.Composite(info=ocp.args.JsonRestore()))["info"]
      restored = Restored(_restore_verified(manager, step, abstract_state, info), info)
    except Exception as error:  # orbax raises bare Exceptions for damaged files
      raise ValueError(f"Checkpoint {step} in {directory} is not usable: {_one_line(error)}") from error
  if config is not None:
    check_same_config(info.get("config"), config, source=f"checkpoint {step} in {directory}")
  return restored


def _restore_verified(manager, step: int, abstract_state, info: dict):
  import orbax.checkpoint as ocp
  args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
  state = manager.restore(step, args=args)["state"]
  if state_digest(jax.device_get(state)) != info["digest"]:
    raise ValueError("sha256 of the restored state differs from the one saved with it")
  return state


def _move_aside(directory: Path, step: int) -> None:
  """Keeps a damaged step out of the way: training will write the same step number again."""
  unusable = directory.with_name(directory.name + "_unusable")
  unusable.mkdir(exist_ok=True)
  target, copies = unusable / str(step), 0
  while target.exists():
    copies += 1
    target = unusable / f"{step}.{copies}"
  (directory / str(step)).rename(target)


def _one_line(error: Exception, limit: int = 300) -> str:
  text = " ".join(f"{type(error).__name__}: {error}".split())
  return text if len(text) <= limit else text[:limit] + "..."
