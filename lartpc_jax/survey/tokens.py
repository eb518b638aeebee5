"""Signed names, for cookies: whoever does not hold the secret can neither make one nor change it."""
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

_BYTES = 32
_PATTERN = re.compile(r"([\w-]{1,64})\.([0-9a-f]{64})", re.ASCII)


def sign(name: str, secret: str, *, purpose: str) -> str:
  """The name and its signature (HMAC-SHA-256, RFC 2104). A signature for one purpose serves no other."""
  return f"{name}.{_signature(name, secret, purpose)}"


def signed_name(token: str | None, secret: str, *, purpose: str) -> str | None:
  """The name of a token that `sign` made; None for any other text."""
  match = _PATTERN.fullmatch(token or "")
  if match is None or not hmac.compare_digest(match[2], _signature(match[1], secret, purpose)):
    return None
  return match[1]


def _signature(name: str, secret: str, purpose: str) -> str:
  return hmac.new(secret.encode(), f"{purpose}:{name}".encode(), hashlib.sha256).hexdigest()


def read_secret(path: str | os.PathLike) -> str:
  """The secret in a file, which is made if need be, and which its owner alone can read.

  Raises:
    ValueError: naming the file, if what it holds is too short to be one.
  """
  path = Path(path)
  try:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
  except FileExistsError:
    secret = path.read_text(encoding="ascii", errors="replace").strip()
    if len(secret) < _BYTES:
      raise ValueError(f"{path}: must hold a secret of {_BYTES} characters or more; got {len(secret)}. "
                       "Remove it, and another one is made: open sessions then end.") from None
    return secret
  with os.fdopen(handle, "w", encoding="ascii") as file:
    secret = secrets.token_urlsafe(_BYTES)
    file.write(secret + "\n")
    file.flush()
    os.fsync(file.fileno())
  return secret
