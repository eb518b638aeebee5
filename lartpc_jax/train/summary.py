"""What a training step costs, before anything is trained or written."""
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lartpc_jax import parallel
from lartpc_jax.config.schema import Run
from lartpc_jax.train.loop import jit_train_step, run_keys
from lartpc_jax.train.state import init_train_state
from lartpc_jax.train.task import Task


def parameter_table(params) -> str:
  """Parameters per top-level module, with shapes summed; params as arrays or ShapeDtypeStructs."""
  modules = params["params"] if isinstance(params, dict) and set(params) == {"params"} else params
  items = modules.items() if isinstance(modules, dict) else enumerate(jax.tree.leaves(modules))
  rows = [(str(name), sum(x.size for x in jax.tree.leaves(tree)),
           sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))) for name, tree in items]
  rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
  width = max(len(row[0]) for row in rows)
  return "\n".join(f"  {name:<{width}}  {count:>12,}  {size / 2**20:>9.2f} MiB" for name, count, size in rows)


def dry_run(task: Task, tx: optax.GradientTransformation, settings: Run, *, num_timed: int = 3,
            say: Callable = print) -> None:
  """Says parameter counts, FLOPs (XLA's cost analysis) and time of one step; writes nothing."""
  mesh, keys = parallel.make_mesh(), run_keys(settings.seed)
  state = parallel.replicate(jax.jit(lambda key: init_train_state(task.init(key), tx))(keys.init), mesh)
  say("Parameters by top-level module:\n" + parameter_table(state.params))
  batch = parallel.shard_batch(task.batch_fn(0), mesh)
  size = parallel.batch_size(batch)
  began = time.monotonic()
  step_fn = jit_train_step(task, tx, settings.optim, mesh).lower(state, batch, keys.train).compile()
  say(f"Compilation of the step: {time.monotonic() - began:.1f} s on {mesh.size} device(s).")
  cost, memory = step_fn.cost_analysis() or {}, step_fn.memory_analysis()
  flops = cost.get("flops")
  if flops:  # XLA counts one device's share
    say(f"FLOPs of one step: {flops * mesh.size / 1e9:.3g} GFLOP; of one image: "
        f"{flops * mesh.size / size / 1e6:.3g} MFLOP (batch {size}).")
  else:
    say("FLOPs of one step: unknown to this backend.")
  if memory is not None:
    say(f"Temporary memory of one step: {memory.temp_size_in_bytes / 2**20:.1f} MiB a device.")
  seconds = []
  for _ in range(num_timed):
    began = time.monotonic()
    state, metrics = jax.block_until_ready(step_fn(state, batch, keys.train))
    seconds.append(time.monotonic() - began)
  best = min(seconds)
  say(f"Time of one step: {best:.4g} s, {size / best:.4g} images/s; loss {float(metrics['loss']):.5g}.")
  if flops:
    peak = matmul_flops()
    say(f"{flops / best / 1e9:.4g} GFLOP/s on each device, {flops / best / peak:.0%} of what a float32 "
        f"product of matrices reaches there, {peak / 1e9:.4g} GFLOP/s.")


def matmul_flops(side: int = 2048, num_timed: int = 3) -> float:
  """Operations a second of a product of two square float32 matrices on the first device: what a network could
  reach."""
  x = jnp.ones((side, side), jnp.float32)
  product = jax.jit(jnp.matmul).lower(x, x).compile()
  seconds = []
  for _ in range(num_timed + 1):  # the first one warms up
    began = time.monotonic()
    jax.block_until_ready(product(x, x))
    seconds.append(time.monotonic() - began)
  return 2.0 * side**3 / min(seconds)
