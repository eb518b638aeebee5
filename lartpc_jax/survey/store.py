"""Participants and answers in an SQLite file: an answer is on the disk before anything else is shown.

Nothing personal is kept: a participant is a number, a random name of the session, what he said of his
experience, and when he started. One process writes; its event loop uses the one connection.
"""
import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

SAYS = ("real", "generated")
SURENESS = {1: "a guess", 2: "fairly sure", 3: "certain"}
EXPERIENCE = {"none": "I have never seen such images", "some": "I have seen such images",
              "expert": "I work with such images"}

_TABLES = """
CREATE TABLE IF NOT EXISTS participants (
  id INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE, experience TEXT NOT NULL, started REAL NOT NULL);
CREATE TABLE IF NOT EXISTS trials (
  key TEXT PRIMARY KEY, participant INTEGER NOT NULL REFERENCES participants (id), position INTEGER NOT NULL,
  image INTEGER NOT NULL, says TEXT CHECK (says IN ('real', 'generated')),
  sure INTEGER CHECK (sure IN (1, 2, 3)), answered REAL, UNIQUE (participant, position),
  CHECK ((says IS NULL) = (answered IS NULL) AND (says IS NULL) = (sure IS NULL)));
"""


class Trial(NamedTuple):
  """One image for one participant."""
  key: str          # random name, in URLs and forms
  position: int     # from 0
  image: int        # number in the deck
  says: str | None  # None: not answered
  sure: int | None


class Participant(NamedTuple):
  """A session and its trials in their order."""
  id: int
  trials: list[Trial]

  @property
  def current(self) -> Trial | None:
    """The first trial without an answer; None: all are answered."""
    return next((trial for trial in self.trials if trial.says is None), None)


def open_store(path: str | os.PathLike) -> sqlite3.Connection:
  """The database, made if need be. Committed answers outlive a kill and a crash of the machine.

  Raises:
    ValueError: naming the file, if it is not such a database.
  """
  # transactions are begun by hand; the event loop may run in another thread than the one that opens
  connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
  try:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(_TABLES)
    connection.execute("SELECT key, participant, position, image, says, sure, answered FROM trials LIMIT 1")
  except sqlite3.Error as error:
    connection.close()
    raise ValueError(f"{path}: is not a database of a survey ({error}).") from error
  return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection):
  connection.execute("BEGIN IMMEDIATE")
  try:
    yield
    connection.execute("COMMIT")
  except BaseException:
    connection.execute("ROLLBACK")
    raise


def add_participant(connection: sqlite3.Connection, experience: str, images: Sequence[int]) -> str:
  """Stores a participant and the images that he will see; returns the name of his session.

  Raises:
    ValueError: for an unknown experience.
  """
  if experience not in EXPERIENCE:
    raise ValueError(f"experience must be one of {', '.join(EXPERIENCE)}; got {experience!r}.")
  session = secrets.token_urlsafe(16)
  with _transaction(connection):
    number = connection.execute("INSERT INTO participants (session, experience, started) VALUES (?, ?, ?)",
                                (session, experience, time.time())).lastrowid
    connection.executemany("INSERT INTO trials (key, participant, position, image) VALUES (?, ?, ?, ?)",
                           [(secrets.token_urlsafe(16), number, i, int(x)) for i, x in enumerate(images)])
  return session


def find_participant(connection: sqlite3.Connection, session: str) -> Participant | None:
  """The participant of a session, if there is one."""
  found = connection.execute(
      "SELECT participants.id, key, position, image, says, sure FROM participants JOIN trials "
      "ON trials.participant = participants.id WHERE session = ? ORDER BY position", (session,)).fetchall()
  return Participant(found[0][0], [Trial(*row[1:]) for row in found]) if found else None


def record_answer(connection: sqlite3.Connection, participant: int, key: str, says: str, sure: int) -> bool:
  """Stores an answer to the participant's current trial; False, and nothing stored, if it has one already.

  Raises:
    ValueError: for an answer that is none.
    LookupError: if the trial is not his, or not his turn yet.
  """
  if says not in SAYS or sure not in SURENESS:
    raise ValueError(f"An answer is one of {', '.join(SAYS)}, sure from {min(SURENESS)} to {max(SURENESS)}; "
                     f"got {says!r}, {sure!r}.")
  with _transaction(connection):
    row = connection.execute("SELECT position, says FROM trials WHERE key = ? AND participant = ?",
                             (key, participant)).fetchone()
    if row is None:
      raise LookupError("There is no such image in this session.")
    if row[1] is not None:
      return False  # reload, back button, second tab: the first answer counts
    earlier = connection.execute("SELECT count(*) FROM trials WHERE participant = ? AND position < ? AND "
                                 "says IS NULL", (participant, row[0])).fetchone()[0]
    if earlier:
      raise LookupError("Images before this one are not answered.")
    connection.execute("UPDATE trials SET says = ?, sure = ?, answered = ? WHERE key = ?",
                       (says, sure, time.time(), key))
  return True


def read_answers(connection: sqlite3.Connection) -> list[tuple]:
  """Rows (participant, experience, position, image, says, sure, seconds) of all answers, by participant and
  position; the seconds are those since his answer before, or since the start."""
  return connection.execute(
      "SELECT participant, experience, position, image, says, sure, answered - lag(answered, 1, started) "
      "OVER (PARTITION BY participant ORDER BY position) "
      "FROM trials JOIN participants ON participants.id = participant "
      "WHERE says IS NOT NULL ORDER BY participant, position").fetchall()


def count_participants(connection: sqlite3.Connection) -> tuple[int, int]:
  """How many started, and how many of them answered everything."""
  return connection.execute(
      "SELECT count(*), coalesce(sum(open = 0), 0) FROM "
      "(SELECT sum(says IS NULL) AS open FROM trials GROUP BY participant)").fetchone()
