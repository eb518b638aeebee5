"""Signed names: nobody makes one without the secret."""
import pytest

from lartpc_jax.survey.tokens import read_secret, sign, signed_name


def test_a_signed_name_comes_back():
  assert signed_name(sign("abc-1_", "secret", purpose="a"), "secret", purpose="a") == "abc-1_"


@pytest.mark.parametrize("change", [
    lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
    lambda token: "x" + token[1:],
    lambda token: token.split(".")[0],
    lambda token: token + "0",
    lambda token: token.replace(".", ".."),
    lambda token: "",
    lambda token: None,
    lambda token: "é" + token,
    lambda token: "a" * 10_000,
    lambda token: sign("abc", "other secret", purpose="a"),
    lambda token: sign("abc", "secret", purpose="b"),
])
def test_any_other_text_is_none(change):
  assert signed_name(change(sign("abc", "secret", purpose="a")), "secret", purpose="a") is None


def test_a_secret_is_made_once_and_for_its_owner_alone(tmp_path):
  first = read_secret(tmp_path / "secret.txt")
  assert len(first) >= 32 and read_secret(tmp_path / "secret.txt") == first
  assert (tmp_path / "secret.txt").stat().st_mode & 0o777 == 0o600
  assert read_secret(tmp_path / "other.txt") != first


def test_a_short_secret_is_named(tmp_path):
  (tmp_path / "secret.txt").write_text("12345\n")
  with pytest.raises(ValueError, match=r"secret\.txt: must hold a secret of 32 characters or more; got 5"):
    read_secret(tmp_path / "secret.txt")
