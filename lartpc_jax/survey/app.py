"""The pages of a survey. Every page is made anew from the store, so a reload, the back button, a second tab
or a restart of the server find what was there."""
import hmac
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lartpc_jax.survey import admin, scores, store, tokens
from lartpc_jax.survey.deck import Deck, check_size, draw_images
from lartpc_jax.survey.requests import (
  ADMIN,
  HEADERS,
  SESSION,
  SESSION_SECONDS,
  Refused,
  parse_answer,
  read_form,
  set_cookie,
)

HERE = Path(__file__).parent
ADMIN_SECONDS = 60 * 60 * 12


class Survey(NamedTuple):
  """All that the pages need."""
  deck: Deck
  connection: store.sqlite3.Connection
  images_each: int
  secret: str        # of the signatures
  admin_token: str


class Pages(NamedTuple):
  """What starlette answers with, imported when an application is made."""
  html: type
  redirect: type
  plain: type
  templates: object


def make_app(survey: Survey, *, allowed_hosts: tuple[str, ...] = ("*",)):
  """The application, for any ASGI server with one process.

  Args:
    survey: see `Survey`.
    allowed_hosts: values of the header Host that are answered.
  Raises:
    ValueError: if a source has too few images.
  """
  from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
  from starlette.applications import Starlette
  from starlette.middleware import Middleware
  from starlette.middleware.trustedhost import TrustedHostMiddleware
  from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse
  from starlette.routing import Route
  check_size(survey.deck, survey.images_each)
  templates = Environment(loader=FileSystemLoader(HERE / "templates"), undefined=StrictUndefined,
                          autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True)
  templates.globals |= {"images_each": survey.images_each, "num_pixels": survey.deck.num_pixels,
                        "top_mev": survey.deck.top_mev, "sureness": store.SURENESS,
                        "experience": store.EXPERIENCE}
  pages = Pages(HTMLResponse, RedirectResponse, PlainTextResponse, templates)
  routes = [Route(path, _endpoint(handler, survey, pages), methods=[method])
            for method, path, handler in _routes(pages)]
  return Starlette(routes=routes, exception_handlers=_error_pages(pages),
                   middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts))])


def _routes(pages: Pages) -> list[tuple]:
  """(method, path, handler)."""
  return [("GET", "/", _welcome), ("POST", "/start", _start), ("GET", "/survey", _trial),
          ("POST", "/answer", _answer), ("GET", "/picture/{key}", _picture), ("GET", "/thanks", _thanks),
          ("GET", "/admin", _admin), ("POST", "/admin", _admin_login), ("GET", "/admin/answers.csv", _csv),
          ("GET", "/scale.png", _scale), ("GET", "/survey.css", _static("survey.css", "text/css", pages)),
          ("GET", "/survey.js", _static("survey.js", "text/javascript", pages)),
          ("GET", "/favicon.ico", _no_icon)]


def _endpoint(handler, survey: Survey, pages: Pages):
  """`handler(request, survey, pages)` with the headers of every answer, and refusals as pages."""
  async def endpoint(request):
    response = await handler(request, survey, pages)
    if isinstance(response, Refused):
      response = _page(pages, "refused.html", status=response.status, text=response.text)
    response.headers.update(HEADERS)
    return response
  return endpoint


def _error_pages(pages: Pages) -> dict:
  """Pages of what starlette itself refuses, and of errors, which tell nothing of the inside."""
  texts = {404: "There is no such page.", 405: "That is not asked for like this."}

  async def known(request, error):
    del request
    text = texts.get(error.status_code, "That did not work.")
    response = _page(pages, "refused.html", status=error.status_code, text=text)
    response.headers.update(HEADERS | (error.headers or {}))
    return response

  async def unknown(request, error):
    del request, error  # the server logs it
    response = _page(pages, "refused.html", status=500, text="Something broke here; your answers are kept.")
    response.headers.update(HEADERS)
    return response

  from starlette.exceptions import HTTPException
  return {HTTPException: known, 500: unknown}


def _page(pages: Pages, template: str, *, status: int = 200, **values):
  text = pages.templates.get_template(template).render(status=status, **values)
  return pages.html(text, status_code=status)


def _participant(request, survey: Survey) -> store.Participant | None:
  session = tokens.signed_name(request.cookies.get(SESSION), survey.secret, purpose=SESSION)
  return None if session is None else store.find_participant(survey.connection, session)


def _see_other(pages: Pages, path: str):
  """After a form: the browser asks for the page, so that a reload sends nothing again."""
  return pages.redirect(path, status_code=303)


async def _welcome(request, survey, pages):
  found = _participant(request, survey)
  return _page(pages, "welcome.html", done=None if found is None else _num_done(found))


async def _start(request, survey, pages):
  form = await read_form(request)
  if isinstance(form, Refused):
    return form
  if _participant(request, survey) is not None:
    return _see_other(pages, "/survey")
  if form.get("experience") not in store.EXPERIENCE:
    return Refused(400, "Say how well you know such images.")
  session = store.add_participant(survey.connection, form["experience"],
                                  draw_images(survey.deck, survey.images_each))
  response = _see_other(pages, "/survey")
  set_cookie(response, SESSION, tokens.sign(session, survey.secret, purpose=SESSION), seconds=SESSION_SECONDS)
  return response


async def _trial(request, survey, pages):
  found = _participant(request, survey)
  if found is None:
    return _see_other(pages, "/")
  if found.current is None:
    return _see_other(pages, "/thanks")
  return _page(pages, "trial.html", key=found.current.key, number=found.current.position + 1,
               done=_num_done(found), again="again" in request.query_params)


async def _picture(request, survey, pages):
  """Of the trial that is asked now, or of one answered before: a page that the browser kept shows its own."""
  found = _participant(request, survey)
  trials = [] if found is None else found.trials
  trial = next((t for t in trials if t.key == request.path_params["key"]), None)
  if trial is None or (trial.says is None and trial != found.current):
    return Refused(404, "There is no such image in this session.")
  return pages.plain(survey.deck.pictures[trial.image], media_type="image/png")


async def _answer(request, survey, pages):
  found = _participant(request, survey)
  if found is None:
    return Refused(403, "There is no session; begin at the first page.")
  form = await read_form(request)
  if isinstance(form, Refused):
    return form
  answer = parse_answer(form.get("answer", ""))
  if isinstance(answer, Refused):
    return answer
  try:
    stored = store.record_answer(survey.connection, found.id, form.get("key", ""), *answer)
  except LookupError as error:
    return Refused(409, str(error))
  return _see_other(pages, "/survey" if stored else "/survey?again")


async def _thanks(request, survey, pages):
  found = _participant(request, survey)
  if found is None:
    return _see_other(pages, "/")
  if found.current is not None:
    return _see_other(pages, "/survey")
  real = np.array([survey.deck.source[trial.image] == 0 for trial in found.trials])
  says_real = np.array([trial.says == "real" for trial in found.trials])
  level, right = np.array([trial.sure for trial in found.trials]), says_real == real
  return _page(pages, "thanks.html", score=scores.score(right), fooled=int((says_real & ~real).sum()),
               generated=int((~real).sum()),
               sure={text: right[level == number].tolist() for number, text in store.SURENESS.items()})


async def _admin(request, survey, pages):
  if not _is_admin(request, survey):
    return _page(pages, "login.html", wrong=False)
  return _page(pages, "admin.html", **admin.admin_page(survey.connection, survey.deck, survey.images_each))


async def _admin_login(request, survey, pages):
  form = await read_form(request)
  if isinstance(form, Refused):
    return form
  if not hmac.compare_digest(form.get("token", "").encode(), survey.admin_token.encode()):
    return _page(pages, "login.html", status=403, wrong=True)
  response = _see_other(pages, "/admin")
  set_cookie(response, ADMIN, tokens.sign("admin", survey.secret, purpose=ADMIN), seconds=ADMIN_SECONDS)
  return response


async def _csv(request, survey, pages):
  if not _is_admin(request, survey):
    return Refused(403, "Sign in at /admin first.")
  return pages.plain(admin.answers_csv(survey.connection, survey.deck), media_type="text/csv",
                     headers={"Content-Disposition": 'attachment; filename="answers.csv"'})


def _is_admin(request, survey: Survey) -> bool:
  """By the cookie of the login page, or by the token itself in the header Authorization, for scripts."""
  bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
  return (tokens.signed_name(request.cookies.get(ADMIN), survey.secret, purpose=ADMIN) is not None
          or hmac.compare_digest(bearer.encode(), survey.admin_token.encode()))


async def _scale(request, survey, pages):
  del request
  return pages.plain(survey.deck.scale, media_type="image/png")


def _static(name: str, media_type: str, pages: Pages):
  content = (HERE / "static" / name).read_bytes()

  async def handler(request, survey, _):
    del request, survey
    return pages.plain(content, media_type=media_type)
  return handler


async def _no_icon(request, survey, pages):
  del request, survey
  return pages.plain("", status_code=204)


def _num_done(participant: store.Participant) -> int:
  return sum(trial.says is not None for trial in participant.trials)
