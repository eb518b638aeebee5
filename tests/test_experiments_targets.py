"""What a run remembers of its input: a file by its content, a directory by what lies in it."""
from lartpc_jax.experiments.targets import describe_input


def test_a_directory_is_known_by_the_names_and_sizes_of_its_files(tmp_path):
  folder = tmp_path / "batches"
  folder.mkdir()
  (folder / "batch_0.npy").write_bytes(b"1234")
  before = describe_input(str(folder))
  assert before.startswith("batches, sha256 ") and describe_input(str(folder)) == before
  (folder / "batch_1.npy").write_bytes(b"")
  more = describe_input(str(folder))
  (folder / "batch_1.npy").write_bytes(b"1")
  assert len({before, more, describe_input(str(folder))}) == 3
