"""What a request may be: its form, its cookies, and the headers of every answer."""
from typing import NamedTuple
from urllib.parse import parse_qsl

MAX_FORM_BYTES = 4096
MAX_FIELDS = 8
FORM = "application/x-www-form-urlencoded"
SESSION, ADMIN = "survey_session", "survey_admin"  # names of cookies, and what their signatures are for
SESSION_SECONDS = 60 * 60 * 24 * 90

# Nothing is loaded from elsewhere, nothing is kept by a cache, nobody may put the pages into a frame.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
                               "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


class Refused(NamedTuple):
  """Why a request is refused."""
  status: int
  text: str


async def read_form(request) -> dict[str, str] | Refused:
  """Fields of a form; `Refused` if it is too long, of another type, not UTF-8, or has a field twice."""
  if request.headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
    return Refused(415, "This takes forms only.")
  length = request.headers.get("content-length", "0")
  if not (length.isascii() and length.isdigit()):
    return Refused(400, "The length of the form is not readable.")
  if int(length) > MAX_FORM_BYTES:
    return Refused(413, "The form is too long.")
  body = b""
  async for part in request.stream():  # the length may be missing, or not true
    body += part
    if len(body) > MAX_FORM_BYTES:
      return Refused(413, "The form is too long.")
  try:
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict",
                      max_num_fields=MAX_FIELDS) if body else []
  except ValueError:
    return Refused(400, "The form is not readable.")
  fields = dict(pairs)
  return fields if len(fields) == len(pairs) else Refused(400, "The form has a field twice.")


def parse_answer(text: str) -> tuple[str, int] | Refused:
  """"real-3" -> ("real", 3)."""
  says, _, sure = text.partition("-")
  if says not in ("real", "generated") or sure not in ("1", "2", "3"):
    return Refused(400, "That is no answer.")
  return says, int(sure)


def set_cookie(response, name: str, token: str, *, seconds: int) -> None:
  """A cookie that scripts do not see and that other sites do not send."""
  response.set_cookie(name, token, max_age=seconds, httponly=True, samesite="lax", path="/")
