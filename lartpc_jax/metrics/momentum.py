"""Momentum closure: a regression learned on real images must find the momenta of generated ones.
scikit-learn."""
from typing import NamedTuple

import numpy as np

from lartpc_jax.metrics.estimate import Estimate

COMPONENTS = ("|p|", "px", "py")  # in the plane of the image; the hidden component has no sign


class MomentumClosure(NamedTuple):
  """Per component of COMPONENTS."""
  bias: dict[str, Estimate]   # mean of (regressed - true), MeV/c
  # spread of the pulls (1 is right): residuals in units of those of held-out real images
  width: dict[str, Estimate]


def targets(momentum_mev: np.ndarray) -> np.ndarray:
  """COMPONENTS [n 3] of momenta [n 3] in the xy view."""
  return np.stack([np.linalg.norm(momentum_mev, axis=1), momentum_mev[:, 0], momentum_mev[:, 1]], axis=1)


def robust_width(residual: np.ndarray) -> float:
  """Half of the central 68 % interval of residuals [n], in their unit: the few nuclear interactions do not
  count."""
  low, high = np.quantile(residual, (0.1587, 0.8413))
  return float(0.5 * (high - low))


def fit_regression(features: np.ndarray, momentum_mev: np.ndarray, *, seed: int = 0):
  """Regresses COMPONENTS from features [n f] on two thirds; returns (predict, residual widths [3] on the last
  third)."""
  from sklearn.ensemble import HistGradientBoostingRegressor
  wanted = targets(momentum_mev)
  split = 2 * len(features) // 3
  models = [
      HistGradientBoostingRegressor(max_iter=150, learning_rate=0.1, early_stopping=False,
                                    random_state=seed).fit(features[:split], column[:split])
      for column in wanted.T
  ]
  predict = lambda x: np.stack([model.predict(x) for model in models], axis=1)
  residual = predict(features[split:]) - wanted[split:]
  return predict, np.array([robust_width(r) for r in residual.T])


def momentum_closure(predict, real_width: np.ndarray, features: np.ndarray,
                     momentum_mev: np.ndarray) -> MomentumClosure:
  """Bias and pull width of images with features [n f] and known momenta, from `fit_regression` on real
  ones."""
  residual = predict(features) - targets(momentum_mev)
  n = len(residual)
  bias, width = {}, {}
  for name, values, unit in zip(COMPONENTS, residual.T, real_width, strict=True):
    sigma = robust_width(values)
    # error of a median, normal core
    bias[name] = Estimate(float(np.median(values)), float(1.2533 * sigma / np.sqrt(n)))
    # of a 68 % half-width, likewise
    width[name] = Estimate(float(sigma / unit), float(sigma / unit * 1.2 / np.sqrt(n)))
  return MomentumClosure(bias, width)
