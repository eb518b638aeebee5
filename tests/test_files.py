"""A file is whole or untouched."""
import concurrent.futures
import errno
import fcntl

import pytest

from lartpc_jax.files import atomic_write, hold_lock


def test_replaces_when_done(tmp_path):
  path = tmp_path / "a.txt"
  path.write_text("old")
  with atomic_write(path) as file:
    file.write("new")
    assert path.read_text() == "old"
  assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file(tmp_path):
  path = tmp_path / "a.bin"
  path.write_bytes(b"old")
  with pytest.raises(RuntimeError), atomic_write(path, "wb") as file:
    file.write(b"half")
    raise RuntimeError
  assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_permissions_are_those_of_open(tmp_path):
  (tmp_path / "plain").write_text("")
  with atomic_write(tmp_path / "atomic"):
    pass
  assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_other_modes_are_refused(tmp_path):
  with pytest.raises(ValueError, match="'a'"), atomic_write(tmp_path / "a", "a"):
    pass


@pytest.mark.parametrize("durable", [True, False])
def test_waits_for_the_disk_if_asked(tmp_path, monkeypatch, durable):
  waited = []
  monkeypatch.setattr("os.fsync", waited.append)
  with atomic_write(tmp_path / "a", durable=durable) as file:
    file.write("new")
  assert len(waited) == durable and (tmp_path / "a").read_text() == "new"


def elsewhere(call):
  """call() in another thread, as locks see another process."""
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    return pool.submit(call).result()


def test_a_lock_has_one_holder_or_many_that_share(tmp_path):
  path = tmp_path / "lock"
  with hold_lock(path, busy="never"):
    for shared in (False, True):
      with pytest.raises(OSError, match="Somebody writes."):
        elsewhere(lambda shared=shared: hold_lock(path, busy="Somebody writes.", shared=shared).__enter__())
    with hold_lock(path, busy="never"):  # who holds it may ask again, and keeps it when the inner block ends
      pass
    with pytest.raises(OSError, match="Somebody writes."):
      elsewhere(lambda: hold_lock(path, busy="Somebody writes.").__enter__())
  share = hold_lock(path, busy="never", shared=True), hold_lock(path, busy="never", shared=True)
  with share[0], share[1], pytest.raises(OSError, match="busy"), hold_lock(path, busy="busy"):
    pass
  with hold_lock(path, busy="never"):  # free again
    pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
  def flock(file, how):
    raise OSError(number, "why")
  monkeypatch.setattr(fcntl, "flock", flock)
  number = errno.ENOSYS
  with hold_lock(tmp_path / "lock", busy="never"):
    assert "has no locks (why)" in caplog.text
  number = errno.EIO
  with pytest.raises(OSError, match="why"), hold_lock(tmp_path / "lock", busy="never"):
    pass
