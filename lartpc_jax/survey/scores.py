"""What the answers of a survey say: can people tell real from generated images?"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from lartpc_jax.survey.store import SAYS

CONFIDENCE = 0.95
MAX_BLOCKS = 8


class Answers(NamedTuple):
  """a answers of any number of participants."""
  participant: np.ndarray  # [a] int
  experience: np.ndarray   # [a] str
  position: np.ndarray     # [a] int, from 0
  image: np.ndarray        # [a] int, number in the deck
  source: np.ndarray       # [a] int, 0: real, else the number of the generator
  real: np.ndarray         # [a] bool: called real
  sure: np.ndarray         # [a] int, see `store.SURENESS`
  seconds: np.ndarray      # [a] since the answer before

  @property
  def right(self) -> np.ndarray:
    """[a] bool."""
    return self.real == (self.source == 0)


class Score(NamedTuple):
  """Right answers among all."""
  num: int
  right: int
  share: float     # NaN of none
  low: float       # of Wilson's interval at CONFIDENCE
  high: float
  p_value: float   # of so uneven a count, were every answer right with probability 1/2


class Told(NamedTuple):
  """A generator against the real images."""
  num: int
  called_real: Score        # of its images; the p-value is left out, as it says nothing alone
  p_value: float            # Fisher's exact test, one-sided: they are called real less often than real ones


def make_answers(rows: Sequence[tuple], source_of_image: np.ndarray) -> Answers:
  """Of the rows of `store.read_answers` and the source [n] of each image of the deck."""
  columns = list(zip(*rows, strict=True)) if rows else [()] * 7
  participant, experience, position, image, says, sure, seconds = columns
  whole = lambda column: np.array(column, int)
  image = whole(image)
  return Answers(whole(participant), np.array(experience, str), whole(position), image,
                 source_of_image[image], np.array(says, str) == SAYS[0], whole(sure),
                 np.array(seconds, float))


def score(right: np.ndarray) -> Score:
  """Share of True in `right` [n], with the interval of Wilson 1927 and the two-sided exact binomial test
  against 1/2: people who are wrong too often see a difference as well."""
  num, count = len(right), int(np.sum(right))
  if not num:
    return Score(0, 0, *[float("nan")] * 4)
  test = stats.binomtest(count, num, 0.5)
  interval = test.proportion_ci(CONFIDENCE, method="wilson")
  return Score(num, count, count / num, float(interval.low), float(interval.high), float(test.pvalue))


def by_generator(answers: Answers, num_sources: int) -> list[Told]:
  """How often images of each source are called real; for generators, a test against the real images.

  A share of right answers would mix what a generator does with how readily people say "real".
  """
  real = answers.real[answers.source == 0]
  found = []
  for number in range(num_sources):
    called = answers.real[answers.source == number]
    p_value = float("nan")
    if number and len(called) and len(real):
      table = [[int(real.sum()), int((~real).sum())], [int(called.sum()), int((~called).sum())]]
      p_value = float(stats.fisher_exact(table, alternative="greater").pvalue)
    found.append(Told(len(called), score(called)._replace(p_value=float("nan")), p_value))
  return found


def by_participant(answers: Answers) -> dict[int, tuple[str, Score, float]]:
  """Number -> experience, score, median seconds an answer."""
  chosen = lambda number: answers.participant == number
  return {int(number): (str(answers.experience[chosen(number)][0]), score(answers.right[chosen(number)]),
                        float(np.median(answers.seconds[chosen(number)])))
          for number in np.unique(answers.participant)}


def by_value(answers: Answers, values: np.ndarray) -> dict:
  """Value -> score of the answers that have it; `values` [a]."""
  return {value.item(): score(answers.right[values == value]) for value in np.unique(values)}


def learning(answers: Answers, num_positions: int) -> tuple[list[tuple[int, int, Score]], float]:
  """Blocks (first, last position from 1, score) of the course of the survey, and the p-value of a trend.

  The trend is that of right answers with the position, Mantel 1963: (a - 1) r^2 is chi-squared with one
  degree of freedom; NaN where nothing varies.
  """
  edges = np.unique(np.linspace(0, num_positions, min(MAX_BLOCKS, num_positions) + 1).round().astype(int))
  among = lambda low, high: answers.right[(answers.position >= low) & (answers.position < high)]
  blocks = [(int(low) + 1, int(high), score(among(low, high))) for low, high in zip(edges[:-1], edges[1:])]
  right = answers.right.astype(float)
  if len(right) < 3 or not right.std() or not answers.position.std():
    return blocks, float("nan")
  r = np.corrcoef(answers.position, right)[0, 1]
  return blocks, float(stats.chi2.sf((len(right) - 1) * r**2, 1))
