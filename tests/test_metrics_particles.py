"""Segmentation, physics of images, histograms and classifiers against hand-made cases, scipy and
scikit-learn."""
import numpy as np
import pytest
from scipy import stats
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from sklearn.cluster import DBSCAN
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, jaccard_score, roc_auc_score

from lartpc_jax.metrics import c2st, defects, histograms, momentum, particles, segmentation
from lartpc_jax.metrics.calibration import calibration
from tests.toy_sources import sample_crops


@pytest.fixture(scope="module")
def crops():
  images, label = (sample_crops()[name][:60] for name in ("image", "label"))
  return np.where(images >= 0.09, images, 0), label


def classes_of(label):
  """What a perfect SSNet would say."""
  return segmentation.PixelClasses(label > 0, np.maximum(label, 1), np.ones(label.shape))


# --- segmentation ------------------------------------------------------------------------------
def test_published_and_corrected_pixels():
  """One image of three pixels: sure track, faint charge called background, empty pixel called shower."""
  probability = np.array([[[[0.1, 0.6, 0.3], [0.9, 0.02, 0.08], [0.2, 0.1, 0.7]]]])
  images = np.array([[[2.0, 0.5, 0.0]]])
  published = segmentation.pixel_classes(probability, images, definition="published")
  corrected = segmentation.pixel_classes(probability, images)
  assert published.kept.tolist() == [[[True, False, True]]
                                    ] and corrected.kept.tolist() == [[[True, True, False]]]
  assert corrected.predicted.tolist() == [[[1, 2, 2]]]
  np.testing.assert_allclose(corrected.certainty[0, 0], [0.6 / 0.9, 0.8, 0.7 / 0.8])
  assert segmentation.class_counts(published, 3).tolist() == [[1, 1, 1]]
  assert segmentation.class_counts(corrected, 3).tolist() == [[1, 1, 1]]
  assert not segmentation.is_track(np.array([[1, 1, 1]]))[0] and segmentation.is_track(np.array([[0, 2, 1]]))[
      0]
  with pytest.raises(ValueError, match=r"Unknown definition 'new'; choose from \['published', 'corrected'\]"):
    segmentation.pixel_classes(probability, images, definition="new")


def test_confusion_and_iou_are_those_of_scikit_learn():
  rng = np.random.default_rng(0)
  a, b = rng.integers(0, 3, (2, 500))
  confusion = segmentation.confusion_matrix(a, b, 3)
  np.testing.assert_array_equal(confusion, confusion_matrix(a, b))
  np.testing.assert_allclose(segmentation.intersection_over_union(confusion),
                             jaccard_score(a, b, average=None))
  assert np.isnan(segmentation.intersection_over_union(np.diag([1, 0]))[1])


def test_calibration_of_honest_and_boasting_probabilities():
  rng = np.random.default_rng(1)
  p = rng.uniform(size=20_000)
  honest = calibration(p, rng.uniform(size=len(p)) < p)
  assert honest.expected_error < 0.02 and honest.count.sum() == len(p)
  boasting = calibration(np.full(1000, 0.95), np.arange(1000) < 700)
  np.testing.assert_allclose(boasting.expected_error, 0.25)


# --- length, width, charge
# -----------------------------------------------------------------------------------------
def published_length_and_width(image):
  """DBSCAN(3, 5) on non-zero pixels, largest cluster; hull diameter; extent on PCA axis 2, rounded, plus
  1."""
  points = np.argwhere(image > 0)
  labels = DBSCAN(eps=3, min_samples=5).fit(points).labels_
  if not (labels >= 0).any():
    return 0.0, 0.0
  cluster = points[labels == np.argmax(np.bincount(labels[labels >= 0]))]
  try:
    length = pdist(cluster[ConvexHull(cluster).vertices]).max()
  except Exception:  # all on one line
    length = pdist(cluster).max()
  return length, np.round(np.ptp(PCA(2).fit_transform(cluster)[:, 1])) + 1


def test_length_and_width_are_the_published_ones(crops):
  images, label = crops
  found = particles.find_particles(images, classes_of(label))
  want = np.array([published_length_and_width(image) for image in images])
  np.testing.assert_allclose(found.length, want[:, 0], rtol=1e-9)
  np.testing.assert_allclose(found.width, want[:, 1])


def test_quantities_of_a_drawn_track():
  image = np.zeros((64, 64), np.float32)
  image[10:40, 20:22] = 2.0
  image[60, 60] = 1.0  # a blip: in the charge, not in the length
  label = np.where(image > 0, 1, 0)[None]
  found = particles.find_particles(image[None], classes_of(label))
  assert found.is_track[0] and found.track_pixels[0] == 61 and found.clusters[0] == 1
  np.testing.assert_allclose(found.length[0], np.hypot(29, 1))
  assert found.width[0] == 2.0 and found.charge[0] == 121.0
  np.testing.assert_allclose(found.cluster_share[0], 120 / 121)
  table, names = particles.high_level_features(image[None], found)
  at = dict(zip(names, table[0]))
  np.testing.assert_allclose(at["centroid x"], (120 * 24.5 + 60) / 121, rtol=1e-6)
  np.testing.assert_allclose(at["largest pixel"], 2.0)
  points = np.repeat(np.argwhere(image > 0), image[image > 0].astype(int), axis=0)
  np.testing.assert_allclose(at["major axis"]**2,
                             np.linalg.eigvalsh(np.cov(points.T, bias=True))[1], rtol=1e-6)


def test_zero_lengths_stay_only_as_published():
  images = np.zeros((2, 64, 64), np.float32)
  images[0, 5:20, 5] = 1.0
  images[1, 3, 3] = 1.0  # no cluster
  found = particles.find_particles(images, classes_of((images > 0).astype(int)))
  assert len(particles.quantities(found, definition="published")["track length [px]"]) == 2
  assert particles.quantities(found)["track length [px]"].tolist() == [14.0]
  assert particles.empty_tracks(found).tolist() == [False, True]


# --- histograms --------------------------------------------------------------------------------
def test_published_chi2_by_hand():
  """B = (4, 2, 0), C = (1, 1, 2): scaled by 6/4 to (1.5, 1.5, 3): 2.5^2/4 + 0.5^2/2; the empty bin does not
  count."""
  edges = np.array([0.0, 1, 2, 3])
  real, fake = np.repeat([0.5, 1.5], [4, 2]), np.repeat([0.5, 1.5, 2.5], [1, 1, 2])
  np.testing.assert_allclose(histograms.published_chi2(real, fake, edges), 2.5**2 / 4 + 0.5**2 / 2)
  assert np.isnan(histograms.published_chi2(real, fake[:0], edges))
  assert histograms.bin_edges(np.array([3.9]), np.array([4.0]), width=2.0).tolist() == [0.0, 2.0, 4.0, 6.0]


def test_two_sample_chi2_against_scipy_and_uniform_under_the_null():
  rng = np.random.default_rng(2)
  edges = np.linspace(-1, 1, 9)
  a, b = rng.uniform(-1, 1, 4000), rng.uniform(-1, 1, 2500)
  table = np.stack([np.histogram(x, edges)[0] for x in (a, b)])
  want = stats.chi2_contingency(table, correction=False)
  got = histograms.two_sample_chi2(a, b, edges)
  assert got.ndf == want.dof
  np.testing.assert_allclose(got.chi2, want.statistic, rtol=0.02)  # ours takes the variance bin by bin
  p = [histograms.two_sample_chi2(*rng.uniform(-1, 1, (2, 400)), edges).p_value for _ in range(150)]
  assert stats.kstest(p, "uniform").pvalue > 1e-3
  assert histograms.two_sample_chi2(a, 1.2 * b, edges).p_value < 1e-6
  assert np.isnan(histograms.reduced_chi2(a[:5], b, edges).value)


def test_chi2_by_hand():
  """Equal totals: sum (a - b)^2 / (a + b)."""
  a, b = (np.repeat([0.5, 1.5, 2.5], counts) for counts in ([10, 20, 30], [20, 10, 30]))
  got = histograms.two_sample_chi2(a, b, np.arange(5))
  np.testing.assert_allclose(got.chi2, 100 / 30 + 100 / 30, rtol=1e-12)
  assert got.ndf == 2 and got.reduced == got.chi2 / 2
  np.testing.assert_allclose(got.p_value, np.exp(-got.chi2 / 2), rtol=1e-9)  # two degrees of freedom


def test_chi2_of_one_population_follows_its_distribution_for_unequal_samples():
  rng = np.random.default_rng(0)
  bins = np.linspace(-3, 3, 13)
  p_values = [
      histograms.two_sample_chi2(rng.normal(size=3000), rng.normal(size=1000), bins).p_value
      for _ in range(300)
  ]
  assert stats.kstest(p_values, "uniform").pvalue > 1e-3
  assert histograms.two_sample_chi2(rng.normal(size=3000), rng.normal(0.3, 1.0, 1000), bins).p_value < 1e-6


def test_bad_edges_are_named():
  with pytest.raises(ValueError, match="rising bin edges"):
    histograms.two_sample_chi2(np.ones(30), np.ones(30), np.array([0.0, 2.0, 1.0]))


@pytest.mark.parametrize("values", [np.ones(60), np.zeros(0)])
def test_values_that_are_all_alike_have_no_chi2(values):
  found = histograms.reduced_chi2(values, np.arange(60.0), histograms.quantile_bins(values, 20))
  assert np.isnan([found.value, found.error, found.p_value]).all()


def test_kolmogorov_smirnov_is_that_of_scipy():
  rng = np.random.default_rng(3)
  a, b = rng.normal(size=300), rng.normal(size=200) + 0.3
  got = histograms.kolmogorov_smirnov(a, b)
  np.testing.assert_allclose((got.value, got.p_value), stats.ks_2samp(a, b))
  null = [histograms.kolmogorov_smirnov(*rng.normal(size=(2, 200))) for _ in range(100)]
  assert 0.7 < np.mean([e.error for e in null]) / np.std([e.value for e in null]) < 1.4


# --- classifier --------------------------------------------------------------------------------
def test_auc_and_its_error():
  rng = np.random.default_rng(4)
  label = np.arange(300) < 120
  score = np.round(rng.normal(size=300) + label, 1)  # with ties
  np.testing.assert_allclose(c2st.delong_auc(score, label).value, roc_auc_score(label, score))
  draws = [c2st.delong_auc(rng.normal(size=300) + label, label) for _ in range(200)]
  np.testing.assert_allclose(np.mean([e.error for e in draws]), np.std([e.value for e in draws]), rtol=0.2)


def test_scores_that_are_not_known_have_no_p_value():
  rng = np.random.default_rng(5)
  unknown = c2st.cross_validated_test(*rng.normal(size=(2, 40, 1)),
                                      lambda x, y, test, fold: np.full(len(test), np.nan))
  assert np.isnan(unknown.auc.value) and np.isnan(unknown.auc.p_value)
  assert np.isnan(unknown.calibration.expected_error) and unknown.calibration.count.sum() == 0
  assert np.isnan(c2st.delong_auc(np.ones(3), np.ones(3, bool)).value)
  even = c2st.cross_validated_test(*rng.normal(size=(2, 40, 1)),
                                   lambda x, y, test, fold: np.full(len(test), 0.5))
  assert even.auc.value == 0.5 and even.auc.p_value == 1.0


def test_cross_validation_is_fair_under_the_null_and_finds_the_bayes_area():
  """Two unit normals a distance 1 apart: area Phi(1 / sqrt 2) = 0.760."""
  rng = np.random.default_rng(5)
  logistic = lambda x, y, test, fold: LogisticRegression().fit(x, y).predict_proba(test)[:, 1]
  null = c2st.cross_validated_test(*rng.normal(size=(2, 300, 3)), logistic)
  assert abs(null.auc.value - 0.5) < 4 * null.auc.error and null.auc.p_value > 1e-3
  found = c2st.cross_validated_test(rng.normal(size=(600, 1)),
                                    rng.normal(size=(600, 1)) + 1, logistic, num_folds=3)
  assert abs(found.auc.value - stats.norm.cdf(np.sqrt(0.5))) < 4 * found.auc.error
  assert found.calibration.expected_error < 0.06
  with pytest.raises(ValueError, match="num_folds >= 2; got 1"):
    c2st.cross_validated_test(np.zeros((4, 1)), np.zeros((4, 1)), logistic, num_folds=1)


def test_boosting_sees_a_difference_that_is_no_shift():
  rng = np.random.default_rng(6)
  x, y = rng.normal(size=(2, 300, 2))
  y[:, 1] = y[:, 0] * np.sign(rng.normal(size=300))  # same margins
  assert c2st.cross_validated_test(x, y, c2st.gradient_boosting(num_trees=40), num_folds=2).auc.value > 0.7


# --- momentum and defects
# ------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.third_party  # optax
def test_momentum_closure_finds_a_planted_bias_and_width():
  rng = np.random.default_rng(7)
  def draw(n, bias=0.0, noise=5.0):
    p = rng.normal(size=(n, 3)) * 200
    wanted = momentum.targets(p)
    return wanted + bias + noise * rng.normal(size=wanted.shape), p
  predict, width = momentum.fit_regression(*draw(3000))
  good = momentum.momentum_closure(predict, width, *draw(1000))
  off = momentum.momentum_closure(predict, width, *draw(1000, bias=6.0, noise=15.0))
  for name in momentum.COMPONENTS:
    assert abs(good.bias[name].value) < 5 * good.bias[name].error + 1.0
    assert abs(good.width[name].value - 1.0) < 0.2
    assert abs(off.bias[name].value - 6.0) < 5 * off.bias[name].error + 2.0 and off.width[name].value > 1.3


def test_defects_are_what_they_say(crops):
  images = crops[0]
  np.testing.assert_array_equal(defects.shifted(images, 0)[:, 1:], images[:, :-1])
  np.testing.assert_allclose(defects.charge_scaled(images, 0).sum(), 1.05 * images.sum(), rtol=1e-5)
  copies = defects.duplicated(images, 0).reshape(len(images), -1)
  assert len(np.unique(copies, axis=0)) == len(images) - int(0.1 * len(images))
  blurred = defects.blurred(images, 0)
  np.testing.assert_allclose(blurred.sum(), images.sum(), rtol=0.02)
  assert blurred.max() < images.max()
  dead = defects.dead_pixels(images, 0)
  assert 0 < (dead != images).any(0).sum() < 0.03 * 64 * 64
  memorised = defects.make_memorised(images)(images[:20], 0)
  assert all(any(np.array_equal(m, image) for image in images) for m in memorised)
