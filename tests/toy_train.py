"""A tiny regression behind the real launch script, for the tests of training.

python tests/toy_train.py --config=tests/toy_config.py --workdir=...
"""
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.train.task import Task

BATCH_SIZE = 8


def make_batch(step: int) -> dict:
  draw = np.random.default_rng(step)
  x = draw.normal(size=(BATCH_SIZE, 4)).astype(np.float32)
  return {"x": x, "y": x.sum(1)}


def loss_fn(params, batch, key):
  x = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
  hidden = jnp.tanh(x @ params["dense"]["kernel"] + params["dense"]["bias"][None])
  error = (hidden @ params["head"]["kernel"])[:, 0] - batch["y"]
  return jnp.mean(error**2), {"abs_error": jnp.mean(jnp.abs(error))}


def make_task(num_channels: int = 8, batch_fn=make_batch, loss_fn=loss_fn) -> Task:
  def init(key):
    key_dense, key_head = jax.random.split(key)
    return {
        "dense": {"kernel": jax.random.normal(key_dense, (4, num_channels)), "bias": jnp.zeros(num_channels)},
        "head": {"kernel": jax.random.normal(key_head, (num_channels, 1))}
    }

  def evaluate(ema_params, key):
    return {"eval/norm": float(jnp.linalg.norm(ema_params["head"]["kernel"])),
            "eval/noise": float(jax.random.normal(key))}

  def draw(ema_params, key):
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot(np.asarray(ema_params["dense"]["bias"]) + np.asarray(jax.random.normal(key)))
    return figure

  def export(ema_params, directory, info):
    np.savez(directory / "weights.npz", bias=ema_params["dense"]["bias"], step=info["step"])

  return Task(init, loss_fn, batch_fn, evaluate, draw, export)


def build_task(config) -> Task:
  def slow_batch(step):
    time.sleep(config["sleep_seconds"])
    return make_batch(step)
  return make_task(config["network"]["num_channels"], slow_batch)


if __name__ == "__main__":
  module = types.ModuleType("lartpc_jax.build.tasks")
  module.build_task = build_task
  sys.modules["lartpc_jax.build.tasks"] = module
  from launch import train
  train.cli.launch("train")
