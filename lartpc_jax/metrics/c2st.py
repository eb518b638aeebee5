"""Classifier two-sample test: can a classifier tell generated from real? (Lopez-Paz & Oquab 2017)

The area under the ROC curve of classifiers that never saw the images they judge; 0.5 means indistinguishable
to this one.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from lartpc_jax.metrics.calibration import Calibration, calibration
from lartpc_jax.metrics.estimate import NAN, Estimate


class ClassifierTest(NamedTuple):
  """Outcome of a cross-validated classifier."""
  auc: Estimate             # mean over folds; p-value: it is above 0.5
  calibration: Calibration  # of the probability that an image is generated
  probability: np.ndarray   # [n + m] that it is generated; real ones first


def delong_auc(probability: np.ndarray, generated: np.ndarray) -> Estimate:
  """Area under the ROC curve and its error (DeLong et al. 1988), ties counted half; NaN if a score is, or a
  class is empty.

  Args:
    probability: score [n], larger for generated.
    generated: bool [n].
  """
  positive, negative = probability[generated], probability[~generated]
  if np.isnan(probability).any() or not (len(positive) and len(negative)):
    return Estimate(NAN)
  below = lambda values, among: 0.5 * (np.searchsorted(np.sort(among), values, "left")
                                       + np.searchsorted(np.sort(among), values, "right")) / len(among)
  of_positive, of_negative = below(positive, negative), 1.0 - below(negative, positive)
  variance = of_positive.var(ddof=1) / len(positive) + of_negative.var(ddof=1) / len(negative)
  return Estimate(float(of_positive.mean()), float(np.sqrt(variance)))


def cross_validated_test(real: np.ndarray, generated: np.ndarray, fit_predict: Callable, *,
                         num_folds: int = 5, seed: int = 0) -> ClassifierTest:
  """Trains on all folds but one, judges that one, for every fold.

  Args:
    real: [n ...] images or features.
    generated: [m ...].
    fit_predict: (x [k ...], generated [k] bool, x_test [l ...], fold: int) -> probability [l] that x_test is
      generated.
    num_folds: at least 2.
    seed: of the folds.
  Raises:
    ValueError: for fewer than two folds.
  """
  if num_folds < 2:
    raise ValueError(f"cross_validated_test needs num_folds >= 2; got {num_folds}.")
  x = np.concatenate([real, generated])
  is_generated = np.arange(len(x)) >= len(real)
  draw = np.random.default_rng(seed)
  fold = np.concatenate([draw.permutation(np.arange(k) % num_folds) for k in (len(real), len(generated))])
  probability, areas = np.empty(len(x)), []
  for i in range(num_folds):
    test = fold == i
    probability[test] = fit_predict(x[~test], is_generated[~test], x[test], i)
    areas.append(delong_auc(probability[test], is_generated[test]))
  value = float(np.mean([a.value for a in areas]))
  error = float(np.sqrt(np.sum([a.error**2 for a in areas])) / num_folds)
  if error > 0:
    p_value = float(stats.norm.sf((value - 0.5) / error))
  else:  # all folds agree in every rank
    p_value = NAN if np.isnan(value) else float(value <= 0.5)
  return ClassifierTest(Estimate(value, error, p_value), calibration(probability, is_generated), probability)


def gradient_boosting(*, num_trees: int = 150, seed: int = 0) -> Callable:
  """fit_predict for tables of features: histogram gradient boosting (scikit-learn)."""
  def fit_predict(x, generated, x_test, fold):
    from sklearn.ensemble import HistGradientBoostingClassifier
    model = HistGradientBoostingClassifier(max_iter=num_trees, learning_rate=0.08, max_leaf_nodes=15,
                                           l2_regularization=1.0, early_stopping=False,
                                           random_state=seed + fold)
    return model.fit(x, generated).predict_proba(x_test)[:, 1]
  return fit_predict
