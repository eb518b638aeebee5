"""What the admin page shows, and the answers as CSV."""
import csv
import io
import math
import sqlite3
from typing import NamedTuple

import numpy as np

from lartpc_jax.survey import scores, store
from lartpc_jax.survey.deck import Deck

WIDTH, HEIGHT, MARGIN, RIGHT = 600, 220, 48, 64  # of the chart, in units of its own


class Mark(NamedTuple):
  """One block of the chart of learning, in units of the chart."""
  x: float
  y: float
  low: float
  high: float
  label: str


def load_answers(connection: sqlite3.Connection, deck: Deck) -> scores.Answers:
  """All answers of a store."""
  return scores.make_answers(store.read_answers(connection), deck.source)


def admin_page(connection: sqlite3.Connection, deck: Deck, num_positions: int) -> dict:
  """Values of the template admin.html."""
  answers = load_answers(connection, deck)
  started, finished = store.count_participants(connection)
  blocks, trend = scores.learning(answers, num_positions)
  return {
      "started": started, "finished": finished, "all": scores.score(answers.right),
      "generators": dict(zip(deck.sources, scores.by_generator(answers, len(deck.sources)), strict=True)),
      "participants": scores.by_participant(answers),
      "by_sure": {store.SURENESS[level]: found
                  for level, found in scores.by_value(answers, answers.sure).items()},
      "by_experience": {store.EXPERIENCE[name]: found
                        for name, found in scores.by_value(answers, answers.experience).items()},
      "blocks": blocks, "trend": trend, "marks": _marks(blocks), "half": _height(0.5), "width": WIDTH,
      "height": HEIGHT, "margin": MARGIN, "right": RIGHT, "percent": percent, "p_text": p_text}


def percent(share: float) -> str:
  """A share in whole percent, or a dash."""
  return f"{100 * share:.0f} %" if math.isfinite(share) else "–"


def p_text(p_value: float) -> str:
  """A p-value with two digits, or a dash."""
  if not math.isfinite(p_value):
    return "–"
  return f"{p_value:.2f}" if p_value >= 0.095 else f"{p_value:.2g}"


def _height(share: float) -> float:
  return round(HEIGHT - MARGIN - share * (HEIGHT - 1.5 * MARGIN), 1)


def _marks(blocks) -> list[Mark]:
  step = (WIDTH - MARGIN - RIGHT) / len(blocks)
  return [Mark(round(MARGIN + (i + 0.5) * step, 1), *map(_height, (found.share, found.low, found.high)),
               f"{low}–{high}" if low < high else f"{low}")
          for i, (low, high, found) in enumerate(blocks) if found.num]


def answers_csv(connection: sqlite3.Connection, deck: Deck) -> str:
  """A row an answer, with a head; times in seconds."""
  answers, text = load_answers(connection, deck), io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(["participant", "experience", "position", "image", "source", "says", "sure", "right",
                   "seconds"])
  names, right = np.array(deck.sources), answers.right
  for i in range(len(right)):
    writer.writerow([answers.participant[i], answers.experience[i], answers.position[i] + 1, answers.image[i],
                     _plain(names[answers.source[i]]), store.SAYS[0 if answers.real[i] else 1],
                     answers.sure[i], int(right[i]), f"{answers.seconds[i]:.2f}"])
  return text.getvalue()


def _plain(name: str) -> str:
  """A name that no table program takes for a formula."""
  return "'" + name if name[:1] in "=+-@" else name
