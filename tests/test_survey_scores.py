"""Scores against formulas written out, and on answers whose truth is known."""
import math

import numpy as np
import pytest
from scipy import stats

from lartpc_jax.survey import scores


def answers_of(source, real, *, participant=None, position=None, sure=None):
  n = len(source)
  zeros = np.zeros(n, int)
  return scores.Answers(zeros if participant is None else participant, np.full(n, "none"),
                        np.arange(n) if position is None else position, zeros, np.asarray(source),
                        np.asarray(real), zeros + 1 if sure is None else sure, np.ones(n))


@pytest.mark.parametrize("right,num", [(0, 5), (7, 10), (55, 100), (10, 10)])
def test_wilson_and_the_binomial_test_as_written_out(right, num):
  found = scores.score(np.arange(num) < right)
  z, p = stats.norm.ppf(0.975), right / num
  middle = (p + z * z / (2 * num)) / (1 + z * z / num)
  half = z / (1 + z * z / num) * math.sqrt(p * (1 - p) / num + z * z / (4 * num * num))
  assert (found.num, found.right, found.share) == (num, right, p)
  np.testing.assert_allclose([found.low, found.high], [middle - half, middle + half], atol=1e-12)
  far = [k for k in range(num + 1) if abs(k - num / 2) >= abs(right - num / 2)]
  np.testing.assert_allclose(found.p_value, sum(math.comb(num, k) for k in far) / 2**num, rtol=1e-12)


def test_nothing_is_known_of_no_answers():
  empty = scores.make_answers([], np.array([0, 1]))
  found = scores.score(empty.right)
  assert found.num == 0 and math.isnan(found.share) and math.isnan(found.p_value)
  assert [told.num for told in scores.by_generator(empty, 2)] == [0, 0]
  assert scores.by_participant(empty) == {} and math.isnan(scores.learning(empty, 5)[1])


def test_who_cannot_tell_has_uniform_p_values_whatever_he_says():
  """Someone who says "real" nine times of ten: half are right, and no p-value is small too often."""
  rng = np.random.default_rng(0)
  small = [scores.score(answers_of(rng.integers(0, 2, 200), rng.random(200) < 0.9).right).p_value < 0.05
           for _ in range(500)]
  assert 0.015 < np.mean(small) < 0.075  # the exact test is a little below its level of 0.05


def test_a_generator_that_fools_and_one_that_does_not():
  """By Fisher's test written out as a sum of hypergeometric probabilities."""
  source = np.repeat([0, 1, 2], 40)
  real = np.concatenate([np.arange(40) < 30, np.arange(40) < 29, np.arange(40) < 8])
  true, good, bad = scores.by_generator(answers_of(source, real), 3)
  assert (true.called_real.right, good.called_real.right, bad.called_real.right) == (30, 29, 8)
  assert math.isnan(true.p_value)
  tail = sum(math.comb(40, k) * math.comb(40, 38 - k) for k in range(30, 39)) / math.comb(80, 38)
  np.testing.assert_allclose(bad.p_value, tail, rtol=1e-9)
  assert bad.p_value < 1e-5 < 0.4 < good.p_value


def test_rows_of_the_store_become_answers():
  rows = [(1, "none", 0, 2, "real", 3, 4.0), (1, "none", 1, 0, "generated", 1, 2.0),
          (2, "expert", 0, 1, "generated", 2, 6.0)]
  found = scores.make_answers(rows, np.array([0, 1, 0]))
  assert found.right.tolist() == [True, False, True]
  people = scores.by_participant(found)
  assert people[1][0] == "none" and people[1][1].right == 1 and people[1][2] == 3.0
  assert people[2] == ("expert", scores.score(np.array([True])), 6.0)
  assert {sure: s.right for sure, s in scores.by_value(found, found.sure).items()} == {1: 0, 2: 1, 3: 1}


def test_learning_is_a_trend():
  """The p-value is that of the correlation; blocks hold every position once."""
  rng = np.random.default_rng(1)
  position = np.tile(np.arange(30), 40)
  source = rng.integers(0, 2, len(position))
  learns = rng.random(len(position)) < 0.5 + 0.4 * position / 29
  real = np.where(learns, source == 0, source != 0)
  blocks, p = scores.learning(answers_of(source, real, position=position), 30)
  assert [low for low, _, _ in blocks[1:]] == [high + 1 for _, high, _ in blocks[:-1]]
  assert blocks[0][0] == 1 and blocks[-1][1] == 30 and sum(s.num for _, _, s in blocks) == len(position)
  assert blocks[0][2].share < 0.65 < 0.8 < blocks[-1][2].share and p < 1e-10
  flat = rng.random(len(position)) < 0.7
  _, p = scores.learning(answers_of(source, np.where(flat, source == 0, source != 0), position=position), 30)
  assert p > 0.01
