"""How well classes are told: confusion, accuracy, log loss, reliability of probabilities. Host-side."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics.calibration import Calibration, calibration
from lartpc_jax.metrics.estimate import Estimate, mean_estimate


class Told(NamedTuple):
  """What probabilities of k classes say of n events whose class is known."""
  counts: np.ndarray      # [k k] events of the class of the row that are called that of the column
  accuracy: Estimate      # share called right
  balanced: Estimate      # mean over the classes of that share
  log_loss: Estimate      # nats an event
  calibration: Calibration  # of the probability of the class that is called


def tell_classes(probability: np.ndarray, label: np.ndarray) -> Told:
  """Judges probabilities [n k] by the true classes [n], numbers below k."""
  k = probability.shape[1]
  called = probability.argmax(axis=1)
  counts = np.bincount(label * k + called, minlength=k * k).reshape(k, k)
  right, rows = called == label, np.arange(len(label))
  totals = np.maximum(counts.sum(1), 1)
  shares = np.diag(counts) / totals
  error = np.sqrt(np.sum(shares * (1 - shares) / totals)) / k
  return Told(counts, mean_estimate(right.astype(float)), Estimate(float(shares.mean()), float(error)),
              mean_estimate(-np.log(np.maximum(probability[rows, label], 1e-12))),
              calibration(probability[rows, called], right))
