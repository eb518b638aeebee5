"""Every published row of a report against a plain NumPy/SciPy transcription of its definition (Phys. Rev. D
109, 072011).

The transcriptions share no code with the package. Rows: those of runs.rows with definition "published".
"""
import numpy as np
import pytest
from scipy import linalg, optimize
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist, pdist
from sklearn.cluster import DBSCAN
from sklearn.decomposition import PCA

from lartpc_jax.experiments import rows as lib, samples
from lartpc_jax.metrics import defects
from lartpc_jax.train.segmentation import Segmenter

LEVEL_MEV = 0.02            # of one 8-bit grey level
NUM_REAL, NUM_FAKE = 90, 70


@pytest.fixture(scope="module")
def inputs():
  """Real and defective crops in MeV, with probabilities and features as SSNet might give them."""
  images = samples.load_images("sample_crops[0:160]", threshold_mev=0.09, level_mev=LEVEL_MEV).values
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(160, 64, 64, 3)) + 4.0 * (images == 0)[..., None] * np.array([1.0, 0.0, 0.0])
  logits[..., 1] += rng.normal(0, 2, 160)[:, None, None]  # some images are tracks, some showers
  probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  stage = rng.normal(size=(160, 8, 8, 2)) + images.sum((1, 2))[:, None, None, None] / 50
  parts = {"real": slice(0, NUM_REAL), "fake": slice(NUM_REAL, None)}
  images[parts["fake"]] = defects.blurred(1.1 * images[parts["fake"]], 0)
  return {name: (images[part], probability[part], stage[part]) for name, part in parts.items()}


@pytest.fixture(scope="module")
def found(inputs):
  """All rows of the report's parts that have published definitions."""
  examined = {}
  for name, (images, probability, stage) in inputs.items():
    run = lambda _, progress, p=probability, s=stage: (p, s)
    examined[name] = samples.examine(name, images, None, Segmenter(run, ("background", "track", "shower")))
  extra = lambda: lib.Extra({}, {})
  tools = lib.Tools({}, LEVEL_MEV, None, None, {})
  both = examined["real"], examined["fake"]
  gof = dict(num_permutations=2, num_projections=2, transport_batch=35, transport_batches=3,
             sinkhorn_batch=30, sinkhorn_batches=2, sinkhorn_epsilon=1.0)
  rows = [*lib.physics(*both, tools, extra()), *lib.frechet_rows(*both, tools, extra(), num_published=80),
          *lib.goodness_of_fit(*both, tools, extra(), **gof, published_sinkhorn=False)]
  # the published epsilon of a tenth of a grey level is far below all distances: here on a scale where it
  # matters
  coarse = lib.Tools({}, 100.0, None, None, {})
  rows += [
      row for row in lib.goodness_of_fit(*both, coarse, extra(), **gof, published_sinkhorn=True)
      if "p=1" in row.name
  ]
  return {row.name: row.estimate.value for row in rows if row.definition == "published"}


def particles(images, probability):
  """Lengths and widths of track images, charges of shower images."""
  lengths, widths, charges = [], [], []
  for image, p in zip(images, probability, strict=True):
    kept = p[:, :, 1] + p[:, :, 2] > p[:, :, 0]
    track, shower = np.sum(kept & (p[:, :, 1] >= p[:, :, 2])), np.sum(kept & (p[:, :, 1] < p[:, :, 2]))
    if track <= shower:
      charges.append(image.sum())
      continue
    points = np.argwhere(image != 0)
    labels = DBSCAN(eps=3, min_samples=5).fit(points).labels_
    if labels.max() < 0:
      lengths, widths = [*lengths, 0.0], [*widths, 0.0]
      continue
    cluster = points[labels == np.argmax(np.bincount(labels[labels >= 0]))]
    try:
      corners = cluster[ConvexHull(cluster).vertices]
    except QhullError:
      corners = cluster
    lengths.append(pdist(corners).max())
    widths.append(np.round(np.ptp(PCA(2).fit_transform(cluster)[:, 1])) + 1)
  return np.array(lengths), np.array(widths), np.array(charges)


def chi_squared(real, fake, width):
  """sum (C nB / nC - B)^2 / B over bins with B > 0."""
  bins = np.arange(0, max(real.max(), fake.max()) + 2 * width, width)
  b, c = np.histogram(real, bins)[0], np.histogram(fake, bins)[0]
  nonzero = b > 0
  return np.sum((c * (b.sum() / c.sum()) - b)[nonzero]**2 / b[nonzero])


def six_gaussians(x, y):
  """Biased MMD^2 with the sum of six Gaussians, sigma = 2^10 ... 2^15, on the 8-bit scale."""
  kernel = lambda a, b: sum(np.exp(-cdist(a, b, "sqeuclidean") / (2 * (2.0**k)**2)) for k in range(10, 16))
  return kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()


def exact_w1(x, y, size):
  """Between equally many images transport is an assignment: its mean cost, over disjoint batches."""
  values = []
  for i in range(min(len(x), len(y)) // size):
    cost = cdist(x[i * size:(i + 1) * size], y[i * size:(i + 1) * size])
    values.append(cost[optimize.linear_sum_assignment(cost)].mean())
  return np.mean(values)


def sinkhorn(x, y, epsilon, size, batches):
  """Debiased, p = 1: OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2, each the entropic dual in the log domain."""
  def transport(a, b):
    cost, f, g = cdist(a, b), np.zeros(len(a)), np.zeros(len(b))
    for _ in range(2000):
      f = -epsilon * (np.logaddexp.reduce((g[None] - cost) / epsilon, axis=1) - np.log(len(b)))
      g = -epsilon * (np.logaddexp.reduce((f[:, None] - cost) / epsilon, axis=0) - np.log(len(a)))
    return f.mean() + g.mean()
  values = []
  for i in range(batches):
    a, b = x[i * size:(i + 1) * size], y[i * size:(i + 1) * size]
    values.append(transport(a, b) - 0.5 * transport(a, a) - 0.5 * transport(b, b))
  return np.mean(values)


def frechet(x, y):
  """|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2))."""
  c1, c2 = np.cov(x.T), np.cov(y.T)
  return np.sum((x.mean(0) - y.mean(0))**2) + np.trace(c1 + c2 - 2 * np.real(linalg.sqrtm(c1 @ c2)))


@pytest.fixture(scope="module")
def wanted(inputs):
  (real, p_real, stage_real), (fake, p_fake, stage_fake) = inputs["real"], inputs["fake"]
  lengths, widths, charges = zip(particles(real, p_real), particles(fake, p_fake), strict=True)
  x, y = (images.reshape(len(images), -1).astype(float) for images in (real, fake))
  flat = lambda stage: stage.reshape(len(stage), -1)[:80]
  return {
      "track length [px]: chi2": chi_squared(*lengths,
                                             2.0), "track width [px]: chi2": chi_squared(*widths, 1.0),
      "shower charge: chi2": chi_squared(*(c / LEVEL_MEV for c in charges), 800.0),
      "MMD^2, six Gaussians": six_gaussians(x / LEVEL_MEV, y / LEVEL_MEV), "W1 [MeV]": exact_w1(x, y, 35),
      "Sinkhorn divergence, p=1": sinkhorn(x, y, 0.1 * 100.0, 30,
                                           2), "SSNet-FID": frechet(flat(stage_real), flat(stage_fake))
  }


def test_there_is_a_transcription_of_every_published_row(found, wanted):
  assert set(found) == set(wanted)


# All to the rounding of float64; the covariances are singular, and the root of a matrix turns 1e-16 into
# 1e-8.
@pytest.mark.parametrize("name,rtol", [
    ("track length [px]: chi2", 1e-12), ("track width [px]: chi2", 1e-12), ("shower charge: chi2", 1e-12),
    ("MMD^2, six Gaussians", 1e-9), ("W1 [MeV]", 1e-9), ("Sinkhorn divergence, p=1", 1e-9),
    ("SSNet-FID", 1e-6)])
def test_published_rows_are_their_definitions(found, wanted, name, rtol):
  assert wanted[name] > 0
  np.testing.assert_allclose(found[name], wanted[name], rtol=rtol)
