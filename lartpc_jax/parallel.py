"""Runs single-device code on all devices: meshes, placement, an adapter like `jax.pmap`, batched inference.

Training uses jit with sharded inputs (`make_mesh`, `replicate`, `shard_batch`): the function sees the whole
batch, the compiler splits the work, and states carry no device axis. `pmap` is for code that wants its share.
"""
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

AXIS = "data"


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


def pmap(fn: Callable, mesh: Mesh | None = None, *, in_axes: Sequence[int | None] | int = 0, out_axes=0,
         donate_argnums: Sequence[int] = ()) -> Callable:
  """`jax.pmap` without the leading device axis: fn sees its device's share; collectives go over "data".

  Arrays stay global: a batch [b ...] enters as [b / devices ...] where its axis is 0, whole where it is None.
  Outputs of axis 0 are joined; outputs of axis None must be equal on all devices (after `lax.pmean`, say).
  Average gradients with `lax.pmean(grads, "data")`, as under `jax.pmap`.

  Args:
    fn: function of positional pytree arguments.
    mesh: the devices; default all.
    in_axes: 0 or None, for all arguments or one for each.
    out_axes: 0 or None, for all outputs or as a pytree prefix of them.
    donate_argnums: arguments whose buffers may be reused.
  Returns:
    The compiled function; keep it, as another `pmap` call compiles again.
  Raises:
    ValueError: if an axis is neither 0 nor None.
  """
  mesh = make_mesh() if mesh is None else mesh

  def spec(axis):
    if axis not in (0, None):
      raise ValueError(f"parallel.pmap maps over axis 0 or not at all (None); got axis {axis!r}.")
    return P() if axis is None else P(AXIS)

  is_none = lambda axis: axis is None
  in_specs = tuple(spec(a) for a in in_axes) if isinstance(in_axes, Sequence) else spec(in_axes)
  out_specs = jax.tree.map(spec, out_axes, is_leaf=is_none)
  # check_vma would sum gradients of replicated arguments: pmean(grads) would be wrong by the device count.
  mapped = jax.shard_map(fn, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
  return jax.jit(mapped, donate_argnums=tuple(donate_argnums))


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
