"""Files of simulated events: what launch.simulate does, whatever the backend."""
from collections.abc import Callable
from pathlib import Path

from lartpc_jax.experiments import shards
from lartpc_jax.experiments.backends import BACKENDS, Request, fast_backend
from lartpc_jax.simulation.primaries import check_energies

__all__ = ["BACKENDS", "Request", "check_request", "execute", "fast_backend", "merge"]


def check_request(request: Request) -> None:
  """Raises ValueError naming what is wrong with a request, but for what only its backend knows."""
  if request.backend not in BACKENDS:
    raise ValueError(f"Unknown backend {request.backend!r}; choose from {sorted(BACKENDS)}.")
  if not request.particles:
    raise ValueError("particles must name at least one particle.")
  check_energies(request.particles, request.kinetic_mev)
  for name in ("num_events", "shard_events", "chunk_size", "workers"):
    if getattr(request, name) is not None and getattr(request, name) < 1:
      raise ValueError(f"{name} must be at least 1; got {getattr(request, name)}.")
  if not 0 < request.voxel_mm < float("inf"):
    raise ValueError(f"voxel_mm must be positive; got {request.voxel_mm}.")
  if not 0 <= request.seed < 2**32:
    raise ValueError(f"seed must be within 0 to 2^32 - 1; got {request.seed}.")
  if not Path(request.out).suffix == ".npz":
    raise ValueError(f"--out must end in .npz; got {request.out!r}.")


def make_plan(request: Request) -> shards.Plan:
  """The file and the shards of a checked request."""
  backend = BACKENDS[request.backend]
  size = request.shard_events or backend.shard_events
  settings = {"backend": request.backend, "num_events": request.num_events, "shard_events": size,
              **backend.settings(request)}
  return shards.Plan(Path(request.out), request.num_events, size, settings)


def execute(request: Request, *, progress: Callable, stop: Callable = lambda: None, say: Callable = print) -> int | None:
  """Simulates what is missing of the file, or of its part, and joins the file when all is there.

  Args:
    request: as checked by `check_request`. With `part`, only every so many shards are made and nothing is joined: other
      processes make the other parts, and `merge` joins them.
    progress: like `cli.progress_bar`.
    stop: asked now and then.
    say: prints a line.
  Returns:
    What stopped it, None if nothing did.
  Raises:
    ValueError: as `check_request`, or if a file or shards of other settings are in the way.
    OSError: if the files cannot be written, another process writes them, or the backend's processes fail.
  """
  check_request(request)
  plan = make_plan(request)
  mine = shards.part_of(plan.shards, request.part)
  if plan.path.exists():
    shards.check_settings(plan.settings, shards.file_settings(plan.path), str(plan.path))
    shards.remove_shards(plan.path)
    say(f"{plan.path} is already complete.")
    return None
  make = BACKENDS[request.backend].build(request)  # first, as it may refuse
  with shards.locked(plan, request.part):
    shards.prepare_shards(plan)
    missing = plan.missing(mine)
    total, left = (sum(shard.count for shard in some) for some in (mine, missing))
    with progress(total, initial=total - left, description="simulate", unit="event") as bar:
      stopped = make(plan, missing, stop=stop, update=lambda done: bar.update(total - left + done),
                     say=bar.write) if missing else None
    if stopped is not None:
      done = total - sum(shard.count for shard in plan.missing(mine))
      say(f"Stopped by a signal with {done} of {total} events. The same command resumes.")
      return stopped
    if request.part is None:
      shards.join_shards(plan, compress=request.compress)
    else:
      say(f"Part {request.part[0]} of {request.part[1]} is complete: {total} events in {plan.folder}.")
  return None


def merge(out: str | Path, *, compress: bool = False) -> shards.Plan:
  """Joins the shards that parts of a run have left for `out`, and returns their plan.

  Raises:
    FileNotFoundError: if there are no shards.
    ValueError: if some are missing, or were made with other settings.
    OSError: if a process still makes some, or one was damaged.
  """
  plan = shards.find_plan(out)
  if plan.path.exists():
    raise ValueError(f"{plan.path} exists; remove it, or its shards in {plan.folder}.")
  with shards.locked(plan):
    shards.join_shards(plan, compress=compress)
  return plan
