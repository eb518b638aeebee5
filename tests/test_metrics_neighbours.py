"""Neighbours, memorisation, coverage and separation against brute force, POT and planted cases."""
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from lartpc_jax.metrics import embedding, memorisation, neighbours
from lartpc_jax.transport.exact import exact_emd


def lines(num, seed, size=16, width=0):
  """Images [num n n] of short straight lines of random place, angle and charge."""
  rng = np.random.default_rng(seed)
  images = np.zeros((num, size, size), np.float32)
  for image in images:
    start, angle, length = rng.uniform(3, size - 3, 2), rng.uniform(0, 2 * np.pi), rng.uniform(2, 8)
    for s in np.arange(0, length, 0.5):
      x, y = (start + s * np.array([np.cos(angle), np.sin(angle)]) + width * rng.normal(size=2)).astype(int)
      if 0 <= x < size and 0 <= y < size:
        image[x, y] += rng.uniform(0.5, 1.5)
    image[tuple(start.astype(int))] += 0.1
  return images


def test_lower_bounds_are_below_the_exact_distance_and_not_far():
  index = neighbours.build_index(lines(30, 0))
  exact = np.array([[exact_emd(a, b) for b in index.images] for a in index.images[:6]])
  bound = np.array(
      [neighbours.lower_bounds(code, index.codes, index.num_directions) for code in index.codes[:6]])
  assert (bound <= exact + 1e-4).all()
  far = exact > 2.0
  assert np.median(bound[far] / exact[far]) > 0.8


def test_bound_of_a_translation_along_a_direction_is_nearly_tight():
  """Moved by 6 pixels along the first axis: EMD 6, and so is the bound but for the averaging over steps of 2
  pixels."""
  image = np.zeros((1, 32, 32), np.float32)
  image[0, 5:9, 4:20] = 1.0
  index = neighbours.build_index(np.concatenate([image, np.roll(image, 6, axis=1)]))
  np.testing.assert_allclose(
      neighbours.lower_bounds(index.codes[0], index.codes, index.num_directions)[1], 6.0, rtol=1e-4)


def test_nearest_in_emd_are_those_of_brute_force():
  index, queries = neighbours.build_index(lines(60, 1)), neighbours.build_index(lines(4, 2))
  done = []
  found = neighbours.nearest_emd(index, queries, num_neighbours=3, progress=done.append)
  exact = np.array([[exact_emd(a, b) for b in index.images] for a in queries.images])
  np.testing.assert_allclose(found.distance, np.sort(exact, axis=1)[:, :3], atol=1e-6)
  np.testing.assert_array_equal(found.index[:, 0], exact.argmin(1))
  assert (found.num_exact < 40).all() and done == [1, 2, 3, 4]


def test_an_image_without_charge_is_named():
  images = lines(3, 0)
  images[1] = 0
  with pytest.raises(ValueError, match="image 1 has none above 0.0"):
    neighbours.build_index(images)


def test_nearest_in_l2_are_those_of_scikit_learn():
  rng = np.random.default_rng(3)
  x, y = rng.normal(size=(30, 6)), rng.normal(size=(90, 6))
  distance, index = neighbours.nearest_l2(x, y, num_neighbours=4, chunk=7)
  want = NearestNeighbors(n_neighbors=4).fit(y).kneighbors(x)
  np.testing.assert_allclose(distance, want[0], atol=1e-5)
  np.testing.assert_array_equal(index, want[1])
  own, _ = neighbours.nearest_l2(y, y, num_neighbours=1, leave_out_self=True, chunk=13)
  np.testing.assert_allclose(own[:, 0],
                             NearestNeighbors(n_neighbors=2).fit(y).kneighbors(y)[0][:, 1], atol=1e-5)


def test_pairwise_emd_is_exact_and_pooling_changes_it_little():
  images = lines(8, 4)
  exact = np.array([[0.0 if a is b else exact_emd(a, b) for b in images] for a in images])
  np.testing.assert_allclose(neighbours.pairwise_emd(images), exact, atol=1e-6)
  assert np.abs(neighbours.pairwise_emd(images, pool=2) - exact).max() < 1.5


def test_centred_emd_does_not_see_where_an_image_lies():
  image = lines(1, 4, size=12)[0]
  moved = np.zeros((3, 20, 20), np.float32)
  moved[0, 1:13, 2:14], moved[1, 6:18, 4:16], moved[2, 1:13, 2:14] = image, image, image.T
  plain, centred = (neighbours.pairwise_emd(moved, centred=c) for c in (False, True))
  np.testing.assert_allclose(plain[0, 1], np.hypot(5, 2), rtol=1e-6)
  np.testing.assert_allclose(centred[0, 1], 0.0, atol=1e-6)
  assert centred[0, 2] > 0.1  # the shape still counts


def test_copies_and_duplicates_are_found_and_nothing_else():
  training, others = (lines(100, seed).reshape(100, -1) for seed in (5, 6))
  generated = np.concatenate([training[:20], others[:80]])
  nearest, _ = neighbours.nearest_l2(generated, training, num_neighbours=2)
  assert memorisation.copy_rate(nearest).value == pytest.approx(0.2, abs=0.03)
  assert memorisation.copy_rate(neighbours.nearest_l2(others, training, num_neighbours=2)[0]).value < 0.03
  repeated = np.concatenate([others[:90], others[:10]])  # ten pairs: twenty images have a double
  assert memorisation.duplicate_rate(repeated).value == pytest.approx(0.2, abs=0.03)
  assert memorisation.duplicate_rate(others).value < 0.03


def test_distance_test_is_even_for_strangers_and_sure_of_a_memorised_set():
  rng = np.random.default_rng(7)
  training, holdout, fresh = rng.normal(size=(3, 200, 4))
  near = lambda x, a, b: neighbours.nearest_l2(x, np.concatenate([a, b]), num_neighbours=20)
  test = lambda x, a, b: memorisation.closer_to_training(*near(x, a, b), len(a), len(b))
  even = test(fresh, training, holdout)
  nearest = lambda a: cdist(fresh, a).min(1)
  assert even.share.value == np.mean(nearest(training) < nearest(holdout))
  np.testing.assert_allclose(even.ratio.value,
                             np.mean(nearest(training) / (nearest(training) + nearest(holdout))))
  assert abs(even.share.value
             - 0.5) < 4 * even.share.error and min(even.share.p_value, even.ratio.p_value) > 1e-3
  copies = training + 0.05 * rng.normal(size=training.shape)
  sure = test(copies, training, holdout)
  assert sure.share.value > 0.9 and sure.ratio.value < 0.3
  assert sure.share.p_value == sure.ratio.p_value == 1 / 1001  # none of 1000 divisions comes near


def test_a_hub_is_no_memorisation():
  """Sets that are exchangeable, in which the emptiest image is the nearest of most: p-values must be uniform.

  The binomial test that takes images for independent finds p < 0.001 in two of five of these."""
  rng = np.random.default_rng(9)
  p_values, binomial = [], []
  for _ in range(40):
    sets = rng.normal(size=(3, 60, 400)) * rng.lognormal(0.0, 1.0, (3, 60, 1))
    queries, pool = sets[0], sets[1:].reshape(120, -1)
    found = memorisation.closer_to_training(*neighbours.nearest_l2(queries, pool, num_neighbours=20), 60, 60,
                                            num_permutations=100)
    p_values.append((found.share.p_value, found.ratio.p_value))
    binomial.append(stats.binomtest(round(60 * found.share.value), 60, alternative="two-sided").pvalue)
  assert np.mean(np.array(binomial) < 1e-3) > 0.2
  for p in np.array(p_values).T:
    assert np.mean(p < 0.1) < 0.1 + 4 * np.sqrt(0.1 * 0.9 / 40) and np.mean(
        p < 0.5) < 0.5 + 4 * 0.5 / np.sqrt(40)


def test_one_image_in_ten_learned_by_heart_is_found_among_hubs():
  rng = np.random.default_rng(10)
  training, holdout, queries = rng.normal(size=(3, 200, 100)) * rng.lognormal(0.0, 0.5, (3, 200, 1))
  queries[:20] = training[rng.permutation(200)[:20]]
  found = memorisation.closer_to_training(
      *neighbours.nearest_l2(queries, np.concatenate([training, holdout]), num_neighbours=20), 200, 200)
  assert found.ratio.p_value == 1 / 1001 and found.share.p_value > 0.01  # the share does not see it
  empty = memorisation.closer_to_training(np.zeros((3, 2)), np.array([[0, 1]] * 3), 1, 1)
  assert empty.share.value == empty.ratio.value == 0.5  # ties at distance 0


def prdc(real, fake, k):
  """Naeem et al. 2020, eqs. 1, 2, 5 and 6, image by image."""
  radius = lambda x: np.sort(cdist(x, x), axis=1)[:, k]
  d, r, f = cdist(real, fake), radius(real), radius(fake)
  return ((d <= r[:, None]).any(0).mean(), (d <= f[None]).any(1).mean(), (d <= r[:, None]).sum(0).mean() / k,
          (d <= r[:, None]).any(1).mean())


def test_coverage_against_a_transcription():
  rng = np.random.default_rng(8)
  real, fake = rng.normal(size=(150, 3)), 0.6 * rng.normal(size=(120, 3)) + 0.3
  found = memorisation.coverage(real, fake, num_neighbours=5, chunk=40)
  np.testing.assert_allclose([e.value for e in found], prdc(real, fake, 5), atol=1e-12)
  dropped = memorisation.coverage(real, fake[fake[:, 0] > 0.3], num_neighbours=5)
  assert dropped.recall.value < found.recall.value - 0.1
  assert dropped.coverage.value < found.coverage.value - 0.1


def test_repeated_images_do_not_hide_copies_or_duplicates():
  same = np.repeat(lines(1, 0).reshape(1, -1), 100, axis=0)
  assert memorisation.duplicate_rate(same).value == 1.0  # a generator that has collapsed to one image
  rng = np.random.default_rng(0)
  assert memorisation.duplicate_rate(same * (1.0 + 1e-5 * rng.normal(size=same.shape))).value == 1.0
  training, others = (lines(60, seed).reshape(60, -1) for seed in (5, 6))
  twice = np.concatenate([training, training])
  assert memorisation.copy_rate(neighbours.nearest_l2(training, twice, num_neighbours=2)[0]).value == 1.0
  once = neighbours.distinct(twice)
  np.testing.assert_array_equal(once, training)
  blurred = training + 0.05 * rng.normal(size=training.shape).astype(np.float32)
  copies = memorisation.copy_rate(neighbours.nearest_l2(blurred, once, num_neighbours=2)[0])
  assert copies.value > 0.9 > 0.1 > memorisation.copy_rate(
      neighbours.nearest_l2(others, once, num_neighbours=2)[0]).value
  # no second
  assert memorisation.copy_rate(neighbours.nearest_l2(training, training[:1],
                                                      num_neighbours=2)[0]).value == 1.0


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_coverage_of_repeated_and_of_offset_features(offset):
  """50 rows six times against themselves: all distances to the 5th neighbour are 0; Naeem et al. 2020 give 1,
  1, 6/5, 1."""
  rows = np.tile(
      np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32) + np.float32(offset), (6, 1))
  found = memorisation.coverage(rows, rows, num_neighbours=5)
  np.testing.assert_allclose([e.value for e in found], [1.0, 1.0, 1.2, 1.0], rtol=1e-12)


def test_nearest_in_l2_far_from_the_origin():
  rng = np.random.default_rng(3)
  x, y = rng.normal(size=(30, 6)) + 1e5, rng.normal(size=(90, 6)) + 1e5
  distance, index = neighbours.nearest_l2(x, y, num_neighbours=4)
  want = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(y - 1e5).kneighbors(x - 1e5)
  np.testing.assert_allclose(distance, want[0], rtol=1e-4)
  np.testing.assert_array_equal(index, want[1])
  # fewer than there are spare ones
  own, _ = neighbours.nearest_l2(y[:5], y[:5], num_neighbours=4, leave_out_self=True)
  np.testing.assert_allclose(own, np.sort(cdist(y[:5], y[:5]), axis=1)[:, 1:], rtol=1e-4)


def test_images_without_charge_and_pools_that_do_not_fit_are_named_before_the_transport():
  images = lines(3, 0)
  images[2] = 0.0
  with pytest.raises(ValueError, match="pairwise_emd needs charge in every image; image 2 has none"):
    neighbours.pairwise_emd(images)
  with pytest.raises(ValueError, match="a pool that divides the sides of the images, 16 and 16; got 3"):
    neighbours.pairwise_emd(images[:2], pool=3)


def test_separation_is_that_of_scikit_learn():
  rng = np.random.default_rng(9)
  labels = np.arange(80) < 35
  x = rng.normal(size=(80, 2)) + labels[:, None]
  distance = np.sqrt(np.sum((x[:, None] - x[None])**2, -1))
  found = embedding.separation(distance, labels, num_neighbours=5)
  np.testing.assert_allclose(found.silhouette.value, silhouette_score(x, labels), atol=1e-9)
  votes = [
      KNeighborsClassifier(5).fit(np.delete(x, i, 0),
                                  np.delete(labels, i)).predict(x[i:i + 1])[0] == labels[i] for i in range(80)
  ]
  want = 0.5 * (np.mean(np.array(votes)[labels]) + np.mean(np.array(votes)[~labels]))
  np.testing.assert_allclose(found.knn_accuracy.value, want)
  with pytest.raises(ValueError, match="more than 10 images of either class; got 5 and 75"):
    embedding.separation(distance, np.arange(80) < 5)


def test_tsne_keeps_two_clusters_apart():
  rng = np.random.default_rng(10)
  x = np.concatenate([rng.normal(size=(20, 3)), rng.normal(size=(20, 3)) + 12])
  xy = embedding.tsne(np.sqrt(np.sum((x[:, None] - x[None])**2, -1)), perplexity=8.0)
  distance = np.sqrt(np.sum((xy[:, None] - xy[None])**2, -1))
  assert embedding.separation(distance, np.arange(40) < 20, num_neighbours=5).knn_accuracy.value == 1.0
