"""Training task of the autoregressive model of lit pixels: maximum likelihood, in two lengths a batch."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.config.schema import PriorLoss, Sequences
from lartpc_jax.generators.pixel_sequence import Plane, sequence_nats, sequences_of
from lartpc_jax.networks.discrete import PixelSequenceNetwork
from lartpc_jax.train.task import Drawn, Task, TaskData


def by_length(batch: dict, threshold_mev: float) -> dict:
  """The batch with its images sorted by their number of lit pixels."""
  num = (np.asarray(batch["image"]) >= threshold_mev).sum((1, 2))
  order = np.argsort(num, kind="stable")
  return {name: np.asarray(values)[order] for name, values in batch.items()}


def _check(sequences: Sequences, loss: PriorLoss) -> None:
  if not (0 < sequences.short <= sequences.long and 0.0 <= sequences.short_share <= 1.0):
    raise ValueError("Need 0 < sequences.short <= sequences.long and sequences.short_share in [0, 1]; got "
                     f"{sequences.short}, {sequences.long} and {sequences.short_share}.")
  if not 0.0 <= loss.cond_dropout < 1.0:
    raise ValueError(f"loss.cond_dropout must be in [0, 1); got {loss.cond_dropout}.")


def pixel_sequence_task(network: PixelSequenceNetwork, data: TaskData, drawn: Drawn, *, plane: Plane,
                        features: Callable, sequences: Sequences, loss: PriorLoss) -> Task:
  """Task of maximum likelihood of sequences, given the condition or nothing.

  The images of a batch are sorted by length: the shorter ones are padded to sequences.short pixels, the rest
  to sequences.long. Of an image that has more the beginning alone counts, which is a likelihood too.

  Args:
    network: autoregressive network.
    data: batches of images and labels, and one that is never trained on.
    drawn: how it draws, and what is made of that.
    plane: order and charges.
    features: batch -> [b f].
    sequences: lengths, and which share of a batch is short.
    loss: dropout of the features.
  Raises:
    ValueError: naming a length, a share or a dropout out of range.
  """
  _check(sequences, loss)

  def nats(params, batch, keep, length):
    found, num = sequences_of(batch["image"], plane, length)
    logits = network.logits(params, found, {"features": features(batch), "keep": keep})
    return jax.tree.map(lambda x: -x, sequence_nats(logits, found, num, plane.side))

  def parts(batch):
    split = round(sequences.short_share * len(batch["image"]))
    lengths = ((slice(0, split), sequences.short), (slice(split, None), sequences.long))
    return [(jax.tree.map(lambda x, rows=rows: x[rows], batch), rows, length) for rows, length in lengths
            if len(batch["image"][rows])]

  def all_nats(params, batch, keep):
    found = [nats(params, part, keep[rows], length) for part, rows, length in parts(batch)]
    return jax.tree.map(lambda *x: jnp.concatenate(x).mean(), *found)

  def loss_fn(params, batch, key):
    keep = jax.random.bernoulli(key, 1.0 - loss.cond_dropout, (len(batch["image"]),)).astype(jnp.float32)
    found = all_nats(params, batch, keep)
    total = found.cell + found.place + found.charge
    return total / sequences.short, {"nats": total, "cell_nats": found.cell, "place_nats": found.place,
                                     "charge_nats": found.charge}

  held = jax.jit(lambda params, batch, keep: all_nats(params, batch, jnp.full(len(batch["image"]), keep)))
  seen = by_length(data.holdout, plane.gap.threshold_mev)

  def evaluate(params, key):
    told, alone = (held(params, seen, jnp.float32(keep)) for keep in (1.0, 0.0))
    metrics = {f"eval/{name}_nats": float(value) for name, value in told._asdict().items()}
    return {**metrics, "eval/nats": float(sum(told)), "eval/nats_unconditional": float(sum(alone)),
            **drawn.compare(drawn.draws(params, key))}

  return Task(init=network.init, loss_fn=loss_fn,
              batch_fn=lambda step: by_length(data.batch_fn(step), plane.gap.threshold_mev),
              evaluate=evaluate,
              draw=lambda params, key: drawn.figure(drawn.draws(params, key)), export=drawn.export)
