"""Runs single-device code on all devices: meshes, placement, an adapter like `jax.pmap`, batched inference.

Training uses jit with sharded inputs (`make_mesh`, `replicate`, `shard_batch`): the function sees the whole
batch, the compiler splits the work, and states carry no device axis. `pmap` is for code that wants its share.
"""
import collections
import concurrent.futures
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

AXIS = "data"


def device_summary() -> str:
  """The devices in words, e.g. "4 x NVIDIA H100 (cuda)"."""
  kinds = collections.Counter(f"{device.device_kind} ({device.platform})" for device in jax.devices())
  return ", ".join(f"{count} x {kind}" for kind, count in kinds.items())


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
  """One-dimensional mesh with the axis "data" over the given devices (default: all)."""
  devices = jax.devices() if devices is None else list(devices)
  return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicate(tree, mesh: Mesh):
  """Puts a whole copy of every array of `tree` on every device of the mesh."""
  return jax.device_put(tree, NamedSharding(mesh, P()))


def batch_size(batch) -> int:
  """Length of the leading axis that all arrays of `batch` share; scalars do not count.

  Raises:
    ValueError: if no array has an axis, or if the lengths differ.
  """
  sizes = {np.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if np.ndim(leaf)}
  if len(sizes) != 1:
    raise ValueError(f"A batch needs arrays with one common leading axis; got lengths {sorted(sizes)}.")
  return sizes.pop()


def shard_batch(batch, mesh: Mesh):
  """Splits every array of `batch` [b ...] over the devices along its leading axis; scalars are replicated.

  Raises:
    ValueError: if b is not a multiple of the number of devices.
  """
  size = batch_size(batch)
  if size % mesh.size:
    below = size - size % mesh.size
    choices = " or ".join(str(n) for n in (below, below + mesh.size) if n)
    raise ValueError(f"Batch size {size} is not a multiple of the {mesh.size} devices; choose a batch of "
                     f"{choices}, or fewer devices (CUDA_VISIBLE_DEVICES).")
  return jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, P(AXIS) if np.ndim(x) else P())), batch)


def pmap(fn: Callable, mesh: Mesh | None = None, *, in_axes: Sequence | int = 0, out_axes=0,
         donate_argnums: Sequence[int] = ()) -> Callable:
  """`jax.pmap` without the leading device axis: fn sees its device's share; collectives go over "data".

  Arrays stay global: a batch [b ...] enters as [b / devices ...] where its axis is 0, whole where it is None.
  Outputs of axis 0 are joined; outputs of axis None must be equal on all devices (after `lax.pmean`, say).
  Average gradients with `lax.pmean(grads, "data")`, as under `jax.pmap`.

  Args:
    fn: function of positional pytree arguments.
    mesh: the devices; default all.
    in_axes: axis that is split, or None, for all arguments or one for each, which may be a pytree prefix of
      it.
    out_axes: likewise for all outputs or as a pytree prefix of them.
    donate_argnums: arguments whose buffers may be reused.
  Returns:
    The compiled function; keep it, as another `pmap` call compiles again.
  Raises:
    ValueError: if an axis is negative or no number.
  """
  mesh = make_mesh() if mesh is None else mesh
  # check_vma would sum gradients of replicated arguments: pmean(grads) would be wrong by the device count.
  mapped = jax.shard_map(fn, mesh=mesh, in_specs=_specs(in_axes), out_specs=_specs(out_axes), check_vma=False)
  return jax.jit(mapped, donate_argnums=tuple(donate_argnums))


def _specs(axes):
  """What jax.shard_map calls the axes of `pmap`."""
  def spec(axis):
    if axis is None:
      return P()
    if not isinstance(axis, int) or axis < 0:
      raise ValueError("parallel.pmap maps over an axis from the front (0, 1 ...) or not at all (None); got "
                       f"axis {axis!r}.")
    return P(*[None] * axis, AXIS)
  return jax.tree.map(spec, tuple(axes) if isinstance(axes, list) else axes,
                      is_leaf=lambda axis: axis is None)


def compile_chain(fns: Sequence[Callable], axes: Sequence, example, mesh: Mesh | None = None) -> Callable:
  """One function of several in a row, each a program of its own under `pmap`, compiled side by side in
  threads.

  XLA compiles one program on one core: of a start that is mostly compilation, that leaves the others idle.

  Args:
    fns: each takes one argument, which the one before returns.
    axes: pytree prefixes as for `pmap`: of the argument of each function, and of what the last one returns.
    example: an argument of the first; only shapes and types count.
    mesh: the devices; default all.
  Returns:
    run(x), which takes what is like `example` alone.
  Raises:
    ValueError: unless there is one more in `axes` than in `fns`.
  """
  mesh = make_mesh() if mesh is None else mesh
  if len(axes) != len(fns) + 1:
    raise ValueError(f"{len(fns)} functions need {len(fns) + 1} axes; got {len(axes)}.")

  def placed(shapes, axis):
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), _specs(axis))
    return jax.tree.map(lambda sharding, some: jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), some), shardings, shapes)

  with concurrent.futures.ThreadPoolExecutor(len(fns)) as pool:
    programs, argument = [], placed(jax.eval_shape(lambda x: x, example), axes[0])
    for fn, before, after in zip(fns, axes[:-1], axes[1:], strict=True):
      lowered = pmap(fn, mesh, in_axes=(before,), out_axes=after).lower(argument)
      programs.append(pool.submit(lowered.compile))
      argument = placed(lowered.out_info, after)
    programs = [program.result() for program in programs]

  def run(x):
    for program in programs:
      x = program(x)
    return x
  return run


def make_device_map(fn: Callable, *, chunk_size: int, mesh: Mesh | None = None) -> Callable:
  """Builds `mapped(batch, *shared, progress=None) -> outputs`: fn over events, in chunks, on all devices.

  Args:
    fn: (batch [chunk_size ...], *shared) -> pytree of [chunk_size ...]; one event must not affect another.
    chunk_size: events a device works on at once.
    mesh: the devices; default all.
  Returns:
    mapped, which takes a batch [n ...] for any n >= 1 and arguments given whole to every device (parameters),
    pads the last chunk by repeating its last event and returns numpy arrays [n ...]. It compiles once,
    whatever n. `progress(done)` is called after each chunk.
  Raises:
    ValueError: if chunk_size < 1.
  """
  if chunk_size < 1:
    raise ValueError(f"chunk_size must be at least 1; got {chunk_size}.")
  mesh = make_mesh() if mesh is None else mesh
  stride = chunk_size * mesh.size
  compiled = {}  # by number of shared arguments

  def mapped(batch, *shared, progress: Callable[[int], None] | None = None):
    total = batch_size(batch)
    if total == 0:
      raise ValueError("Cannot map over an empty batch.")
    if len(shared) not in compiled:
      compiled[len(shared)] = pmap(fn, mesh, in_axes=(0, *(None for _ in shared)))
    shared = replicate(shared, mesh)
    outputs = []
    for start in range(0, total, stride):
      index = np.minimum(np.arange(start, start + stride), total - 1)
      chunk = jax.tree.map(lambda x, index=index: x[index], batch)
      done = min(start + stride, total)
      out = jax.device_get(compiled[len(shared)](shard_batch(chunk, mesh), *shared))
      outputs.append(jax.tree.map(lambda x, keep=done - start: x[:keep], out))
      if progress is not None:
        progress(done)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)
  return mapped


def map_over_devices(fn: Callable, batch, *shared, chunk_size: int = 32, mesh: Mesh | None = None,
                     progress: Callable[[int], None] | None = None):
  """fn over a batch [n ...] of events on all devices; compiles each time, unlike a kept `make_device_map`."""
  return make_device_map(fn, chunk_size=chunk_size, mesh=mesh)(batch, *shared, progress=progress)
