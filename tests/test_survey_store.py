"""Participants and answers in SQLite: each answer once, in its turn, and for good."""
import sqlite3

import pytest

from lartpc_jax.survey import store


@pytest.fixture
def connection(tmp_path):
  opened = store.open_store(tmp_path / "survey.sqlite")
  yield opened
  opened.close()


def start(connection, images=(5, 3, 8)):
  return store.find_participant(connection, store.add_participant(connection, "none", images))


def test_an_answer_is_in_the_file_at_once(connection, tmp_path):
  found = start(connection)
  assert store.record_answer(connection, found.id, found.trials[0].key, "real", 2)
  with sqlite3.connect(tmp_path / "survey.sqlite") as other:  # as after a kill: nothing was closed
    rows = other.execute("SELECT image, says, sure FROM trials ORDER BY position").fetchall()
  other.close()
  assert rows == [(5, "real", 2), (3, None, None), (8, None, None)]


def test_the_first_answer_counts(connection):
  found = start(connection)
  key = found.trials[0].key
  assert store.record_answer(connection, found.id, key, "generated", 3)
  assert not store.record_answer(connection, found.id, key, "real", 1)
  assert [row[4:6] for row in store.read_answers(connection)] == [("generated", 3)]


def test_only_ones_own_image_in_its_turn(connection):
  mine, other = start(connection), start(connection)
  with pytest.raises(LookupError, match="no such image"):
    store.record_answer(connection, mine.id, other.trials[0].key, "real", 1)
  with pytest.raises(LookupError, match="before this one"):
    store.record_answer(connection, mine.id, mine.trials[1].key, "real", 1)
  assert store.read_answers(connection) == []


@pytest.mark.parametrize("says,sure", [("maybe", 1), ("real", 0), ("real", 4), ("", 1)])
def test_no_answer_but_those_there_are(connection, says, sure):
  found = start(connection)
  with pytest.raises(ValueError, match="An answer is one of real, generated"):
    store.record_answer(connection, found.id, found.trials[0].key, says, sure)


def test_the_database_itself_refuses_half_an_answer(connection):
  start(connection)
  with pytest.raises(sqlite3.IntegrityError):
    connection.execute("UPDATE trials SET says = 'real' WHERE position = 0")
  with pytest.raises(sqlite3.IntegrityError):
    connection.execute("UPDATE trials SET says = 'perhaps', sure = 1, answered = 1.0 WHERE position = 0")


def test_seconds_are_those_since_the_answer_before(connection):
  found = start(connection)
  for trial in found.trials:
    store.record_answer(connection, found.id, trial.key, "real", 1)
  connection.execute("UPDATE participants SET started = 100.0")
  connection.execute("UPDATE trials SET answered = 107.0 + 10.0 * position * position")
  assert [row[6] for row in store.read_answers(connection)] == [7.0, 10.0, 30.0]


def test_who_started_and_who_finished(connection):
  assert store.count_participants(connection) == (0, 0)
  found = start(connection)
  start(connection)
  for trial in found.trials:
    store.record_answer(connection, found.id, trial.key, "real", 1)
  assert store.count_participants(connection) == (2, 1)
  assert store.find_participant(connection, "nobody") is None


def test_another_file_is_named(tmp_path):
  (tmp_path / "x.sqlite").write_bytes(b"not a database" * 100)
  with pytest.raises(ValueError, match=r"x\.sqlite: is not a database of a survey"):
    store.open_store(tmp_path / "x.sqlite")
  with sqlite3.connect(tmp_path / "y.sqlite") as other:
    other.execute("CREATE TABLE trials (something TEXT)")
  other.close()
  with pytest.raises(ValueError, match=r"y\.sqlite: is not a database of a survey"):
    store.open_store(tmp_path / "y.sqlite")


def test_unknown_experience_is_named(connection):
  with pytest.raises(ValueError, match="none, some, expert; got 'guru'"):
    store.add_participant(connection, "guru", [1])
