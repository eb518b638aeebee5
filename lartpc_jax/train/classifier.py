"""Classifiers of images: one fitted within a metric, by a few epochs of Adam on the host's loop, and a
training task of classes.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lartpc_jax.geometry import symmetries
from lartpc_jax.geometry.charge import ChargeTransform
from lartpc_jax.keys import root_key
from lartpc_jax.networks.api import ClassifierNetwork
from lartpc_jax.train.task import Task, TaskData

CHUNK = 256  # images judged at once


class Classifier(NamedTuple):
  """A trained classifier on the host."""
  run: Callable             # images [n h w] in MeV -> probabilities [n c]
  classes: tuple[str, ...]


def make_classifier_run(network: ClassifierNetwork, params, transform: ChargeTransform) -> Callable:
  """Builds run(images [n h w] in MeV) -> probabilities [n c], in chunks."""
  @jax.jit
  def one_chunk(images):
    return jax.nn.softmax(network.apply(params, transform.forward(images)[..., None]))

  def run(images: np.ndarray) -> np.ndarray:
    padded = np.concatenate([images, np.zeros((-len(images) % CHUNK, *images.shape[1:]), images.dtype)])
    parts = [np.asarray(one_chunk(jnp.asarray(padded[i:i + CHUNK], jnp.float32)))
             for i in range(0, len(padded), CHUNK)]
    return np.concatenate(parts)[:len(images)]
  return run


def classifier_task(network: ClassifierNetwork, data: TaskData, *, label: str, classes: tuple[str, ...],
                    transform: ChargeTransform, export: Callable) -> Task:
  """Task of maximum likelihood of the class of an image.

  Args:
    network: with a logit for each class.
    data: batches and a held-out batch of image [b h w] in MeV and `label` [b] int.
    label: name of the class in batches.
    classes: names.
    transform: of charge.
    export: (params, directory, info) -> None.
  """
  seen = lambda images: transform.forward(images)[..., None]
  log_p = lambda params, images: jax.nn.log_softmax(network.apply(params, seen(images)))

  def loss_fn(params, batch, key):
    del key
    found = log_p(params, batch["image"])
    chosen = jnp.take_along_axis(found, batch[label][:, None], axis=1)
    return -chosen.mean(), {"accuracy": jnp.mean(found.argmax(axis=1) == batch[label], dtype=jnp.float32)}

  images, true = jnp.asarray(data.holdout["image"]), np.asarray(data.holdout[label])
  judged = jax.jit(log_p)

  def evaluate(params, key):
    del key
    found = np.asarray(judged(params, images))
    right = found.argmax(1) == true
    each = {f"eval/accuracy_{name}": float(right[true == i].mean()) for i, name in enumerate(classes)
            if np.any(true == i)}
    return {"eval/loss": float(-found[np.arange(len(true)), true].mean()),
            "eval/accuracy": float(right.mean()), **each}

  return Task(init=lambda key: network.init(key, images.shape[1:]), loss_fn=loss_fn, batch_fn=data.batch_fn,
              evaluate=evaluate, export=export)


def cnn_fit_predict(network: ClassifierNetwork, transform: ChargeTransform, *, num_epochs: int,
                    batch_size: int = 64, learning_rate: float = 2e-3, augment: bool = True, seed: int = 0,
                    progress: Callable | None = None) -> Callable:
  """fit_predict for `metrics.c2st.cross_validated_test` on images [n h w].

  Args:
    network: classifier.
    transform: charge transform.
    num_epochs: passes over the training folds.
    batch_size: images a step.
    learning_rate: peak, warmed up and decayed to 0 along a cosine.
    augment: trains on random orientations. Set False where the samples have a preferred one.
    seed: of initialisation and order.
    progress: called with the number of epochs done, over all folds.
  """
  apply = lambda params, images: network.apply(params, transform.forward(images)[..., None])
  epochs_done = 0

  def fit_predict(x, generated, x_test, fold):
    nonlocal epochs_done
    per_epoch = max(len(x) // batch_size, 1)
    total = per_epoch * num_epochs
    tx = optax.adam(optax.warmup_cosine_decay_schedule(0.0, learning_rate, total // 20, total))

    @jax.jit
    def step(params, state, images, label):
      loss = lambda p: optax.sigmoid_binary_cross_entropy(apply(p, images), label).mean()
      updates, state = tx.update(jax.grad(loss)(params), state, params)
      return optax.apply_updates(params, updates), state

    predict = jax.jit(lambda params, images: jax.nn.sigmoid(apply(params, images)))
    draw = np.random.default_rng((seed, fold))
    params = network.init(root_key(seed + fold), x.shape[1:])
    state = tx.init(params)
    for _ in range(num_epochs):
      order = draw.permutation(len(x))
      for i in range(per_epoch):
        chosen = order[i * batch_size:(i + 1) * batch_size]
        images = x[chosen]
        if augment:
          images = symmetries.turn_pixels(images,
                                          symmetries.random_codes(draw, len(images), symmetries.NUM_SQUARE))
        params, state = step(params, state, jnp.asarray(images, jnp.float32),
                             jnp.asarray(generated[chosen], jnp.float32))
      epochs_done += 1
      if progress is not None:
        progress(epochs_done)
    size = 256
    padded = np.concatenate([x_test, np.zeros((-len(x_test) % size, *x_test.shape[1:]),
                                              x_test.dtype)]).astype(np.float32)
    parts = [np.asarray(predict(params, padded[i:i + size])) for i in range(0, len(padded), size)]
    return np.concatenate(parts)[:len(x_test)]
  return fit_predict
