"""The pages of a survey by HTTP: a participant's way, what tells nothing, what is refused, the results."""
import csv
import io
import re

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from lartpc_jax.survey import store
from lartpc_jax.survey.app import make_app
from lartpc_jax.survey.requests import ADMIN, MAX_FORM_BYTES, SESSION
from lartpc_jax.survey.tokens import sign
from tests import survey_site as site

NUM = 6


@pytest.fixture
def survey(tmp_path):
  made = site.make_survey(tmp_path, images_each=NUM)
  yield made
  made.connection.close()


@pytest.fixture
def client(survey):
  """A browser: it keeps cookies, and follows."""
  return TestClient(make_app(survey), base_url=site.BASE)


def stored(survey):
  """(position, says, sure) of all answers."""
  return [(row[2], row[4], row[5]) for row in store.read_answers(survey.connection)]


def trials_of(survey, client):
  """What the store knows of this client."""
  return store.find_participant(survey.connection, client.cookies[SESSION].split(".")[0]).trials


def finish(client, says="real-2"):
  while (page := site.trial(client)) is not None:
    assert site.answer(client, page, says).status_code == 303


def test_the_way_of_a_participant(client, survey):
  assert "6\nimages" in client.get("/").text
  assert client.get("/survey").url.path == "/"  # not without a session
  assert site.begin(client).url.path == "/survey"
  for i in range(NUM):
    page = site.trial(client)
    assert page.number == i + 1
    picture = client.get(f"/picture/{page.key}")
    assert picture.headers["content-type"] == "image/png" and picture.content in survey.deck.pictures
    assert client.get("/thanks").url.path == "/survey"  # not before the end
    assert site.answer(client, page, "generated-3").headers["location"] == "/survey"
    assert len(stored(survey)) == i + 1
  response = client.get("/survey")
  assert response.url.path == "/thanks"
  sources = survey.deck.source[[trial.image for trial in trials_of(survey, client)]]
  assert f"<strong>{np.sum(sources > 0)} of {NUM}</strong>" in response.text
  assert "See your score" in client.get("/").text and site.begin(client).url.path == "/thanks"
  assert store.count_participants(survey.connection) == (1, 1)


def test_reload_and_a_late_answer_count_once(client, survey):
  site.begin(client)
  first = site.trial(client)
  assert site.trial(client).text == first.text
  site.answer(client, first, "real-1")
  late = site.answer(client, first, "generated-3")
  assert late.headers["location"] == "/survey?again"
  assert "first one counts" in client.get("/survey?again").text
  assert stored(survey) == [(0, "real", 1)]
  assert client.get(f"/picture/{first.key}").status_code == 200  # for a page that the browser kept


def test_two_participants_share_nothing(client, survey):
  other = TestClient(client.app, base_url=site.BASE)
  site.begin(client)
  site.begin(other)
  mine, theirs = site.trial(client), site.trial(other)
  assert mine.key != theirs.key
  assert other.get(f"/picture/{mine.key}").status_code == 404
  assert site.answer(other, mine).status_code == 409
  site.answer(client, mine)
  assert site.trial(other).number == 1 and len(stored(survey)) == 1


def test_the_next_image_comes_after_the_answer(client, survey):
  site.begin(client)
  trials = trials_of(survey, client)
  status = lambda: [client.get(f"/picture/{trial.key}").status_code for trial in trials]
  assert status() == [200] + 5 * [404]
  assert client.post("/answer", data={"key": trials[1].key, "answer": "real-1"}).status_code == 409
  site.answer(client, site.trial(client))
  assert status() == [200, 200] + 4 * [404]


def test_a_restart_goes_on(client, survey, tmp_path):
  site.begin(client)
  site.answer(client, site.trial(client))
  page = site.trial(client)
  again = survey._replace(connection=store.open_store(tmp_path / "survey.sqlite"))
  restarted = TestClient(make_app(again), base_url=site.BASE, cookies=dict(client.cookies))
  assert site.trial(restarted).text == page.text
  finish(restarted)
  assert [row[0] for row in stored(again)] == list(range(NUM))
  again.connection.close()


def test_nothing_tells_real_from_generated(client, survey):
  """Pages and answers of real and generated images differ in the key and the number of the image alone."""
  seen = []
  for _ in range(8):
    client.cookies.clear()
    site.begin(client)
    trials = trials_of(survey, client)
    for trial in trials:
      page, picture = client.get("/survey"), client.get(f"/picture/{trial.key}")
      said = client.post("/answer", data={"key": trial.key, "answer": "real-2"}, follow_redirects=False)
      plain = re.sub(r"Image \d+", "Image N", re.sub(r'value="\d+">\d+ of', 'value="N">N of',
                                                     page.text.replace(trial.key, "KEY")))
      head = lambda response: tuple(sorted(response.headers.items()))
      seen.append((survey.deck.source[trial.image] > 0, (
          plain, head(page), head(picture), len(picture.content), len(trial.key), said.status_code,
          head(said) if trial.position < NUM - 1 else None)))
  assert {generated for generated, _ in seen} == {False, True}
  assert len({what for _, what in seen}) == 2  # the last image has no next one
  names = dict(seen[0][1][2])
  assert not {"etag", "last-modified", "date", "server"} & set(names) and names["cache-control"] == "no-store"


def test_a_key_says_nothing_of_its_image(survey):
  """The same image has another name for everyone, and names do not rise."""
  sessions = [store.add_participant(survey.connection, "none", [7, 7, 7]) for _ in range(20)]
  flat = [trial.key for session in sessions
          for trial in store.find_participant(survey.connection, session).trials]
  assert len(set(flat)) == 60 and sorted(flat) != flat


@pytest.mark.parametrize("cookie", [
    "", "x", "abc." + 64 * "0", sign("abc", "another secret", purpose=SESSION),
    sign("admin", site.SECRET, purpose=ADMIN), "' OR 1=1 --." + 64 * "0", 5000 * "a"])
def test_forged_sessions_are_none(client, survey, cookie):
  site.begin(client)
  key = site.trial(client).key
  client.cookies.clear()
  headers = {"cookie": f"{SESSION}={cookie}"}
  assert client.post("/answer", data={"key": key, "answer": "real-1"}, headers=headers).status_code == 403
  assert client.get(f"/picture/{key}", headers=headers).status_code == 404
  assert client.get("/survey", headers=headers).url.path == "/" and stored(survey) == []


def test_a_true_signature_of_no_session_is_none(client):
  headers = {"cookie": f"{SESSION}={sign('nobody', site.SECRET, purpose=SESSION)}"}
  assert client.get("/survey", headers=headers).url.path == "/"
  assert client.post("/answer", data={"key": "x", "answer": "real-1"}, headers=headers).status_code == 403


INJECTIONS = ["' OR '1'='1", "x'; DROP TABLE trials; --", '" OR ""="',
              "x' UNION SELECT session FROM participants --"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_stays_text(client, survey, text):
  site.begin(client)
  page = site.trial(client)
  assert client.post("/answer", data={"key": text, "answer": "real-1"}).status_code == 409
  assert client.post("/answer", data={"key": page.key, "answer": text}).status_code == 400
  assert client.get("/picture/" + text.replace("/", "")).status_code == 404
  assert client.post("/admin", data={"token": text}).status_code == 403
  client.cookies.clear()
  assert client.post("/start", data={"experience": text}).status_code == 400
  assert stored(survey) == [] and store.count_participants(survey.connection) == (1, 0)


@pytest.mark.parametrize("answer", ["", "real", "real-", "real-0", "real-4", "real-11", "real-1-", "maybe-1",
                                    "Real-1", "real-１", "\x00", "real-1\n"])
def test_malformed_answers_are_refused(client, survey, answer):
  site.begin(client)
  page = site.trial(client)
  assert client.post("/answer", data={"key": page.key, "answer": answer}).status_code == 400
  assert stored(survey) == [] and site.trial(client).key == page.key


def chunks():
  for _ in range(200):
    yield b"a=" + b"b" * 1000 + b"&"


@pytest.mark.parametrize("content,headers,status", [
    (b"key=KEY&answer=real-1&answer=generated-1", site.FORM, 400),
    (b"key=KEY&answer", site.FORM, 400),
    (b"key=%FF%FE&answer=real-1", site.FORM, 400),
    ("key=KEY&answer=réal-1".encode(), site.FORM, 400),
    (b"&".join(b"a%d=1" % i for i in range(30)), site.FORM, 400),
    (b"", site.FORM, 400),
    (b'{"key": "KEY", "answer": "real-1"}', {"content-type": "application/json"}, 415),
    (b"key=KEY&answer=real-1", {}, 415),
    (b"key=KEY&answer=real-1&x=" + b"y" * MAX_FORM_BYTES, site.FORM, 413),
    (chunks(), site.FORM, 413),
    (b"key=KEY&answer=real-1", {**site.FORM, "content-length": "-5"}, 400),
], ids=["twice", "no value", "not utf-8", "not ascii", "many fields", "empty", "json", "no type", "long",
        "chunked", "length"])
def test_malformed_forms_are_refused(client, survey, content, headers, status):
  site.begin(client)
  page = site.trial(client)
  if isinstance(content, bytes):
    content = content.replace(b"KEY", page.key.encode())
  response = client.post("/answer", content=content, headers=headers)
  assert response.status_code == status and "Traceback" not in response.text
  assert stored(survey) == []


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/answer", 405), ("GET", "/start", 405), ("POST", "/survey", 405), ("DELETE", "/", 405),
    ("GET", "/nothing", 404), ("GET", "/picture/", 404), ("GET", "/survey.sqlite", 404),
    ("GET", "/../survey/app.py", 404), ("GET", "/picture/..%2F..%2Fsecret.txt", 404), ("GET", "/docs", 404)])
def test_other_requests_are_refused(client, method, path, status):
  response = client.request(method, path, follow_redirects=False)
  assert response.status_code == status
  assert "content-security-policy" in response.headers and "cache-control" in response.headers


def test_other_hosts_are_refused(survey):
  client = TestClient(make_app(survey, allowed_hosts=("127.0.0.1", "localhost")), base_url="http://evil.example")
  assert client.get("/").status_code == 400
  assert TestClient(client.app, base_url="http://localhost:8000").get("/").status_code == 200


def test_an_error_inside_shows_nothing_of_it(survey):
  client = TestClient(make_app(survey), base_url=site.BASE, raise_server_exceptions=False)
  site.begin(client)
  survey.connection.execute("ALTER TABLE trials RENAME TO lost")
  response = client.get("/survey")
  assert response.status_code == 500 and "answers are kept" in response.text and "trials" not in response.text


def test_cookies_are_for_this_site_and_not_for_scripts(client):
  client.cookies.clear()
  response = client.post("/start", data={"experience": "none"}, follow_redirects=False)
  cookie = response.headers["set-cookie"].lower()
  assert "httponly" in cookie and "samesite=lax" in cookie and "max-age=" in cookie


def test_the_results_need_the_token(client):
  assert "Token of the survey" in client.get("/admin").text
  assert client.get("/admin/answers.csv").status_code == 403
  assert client.post("/admin", data={"token": "wrong"}).status_code == 403
  assert client.get("/admin/answers.csv", headers={"authorization": "Bearer wrong"}).status_code == 403
  assert client.get("/admin/answers.csv", headers={"authorization": "Bearer é".encode()}).status_code == 403
  assert client.get("/admin", headers={"cookie": f"{ADMIN}={sign('admin', 'x', purpose=ADMIN)}"}
                    ).text.count("<table") == 0
  assert client.post("/admin", data={"token": site.TOKEN}).url.path == "/admin"
  assert "Can people tell?" in client.get("/admin").text
  other = httpx.Headers({"authorization": f"Bearer {site.TOKEN}"})
  client.cookies.clear()
  assert client.get("/admin/answers.csv", headers=other).status_code == 200


def test_results_and_csv_are_those_of_the_answers(client, survey):
  client.post("/admin", data={"token": site.TOKEN})
  assert "No answers yet" in client.get("/admin").text
  for says in ("real-3", "generated-1"):
    client.cookies.delete(SESSION)
    site.begin(client, "expert")
    finish(client, says)
  text = client.get("/admin/answers.csv").text
  rows = list(csv.DictReader(io.StringIO(text)))
  assert [int(row["position"]) for row in rows] == 2 * list(range(1, NUM + 1))
  assert {row["source"] for row in rows} <= {"real", "good", "bad"}
  for row in rows:
    truth = "real" if row["source"] == "real" else "generated"
    assert (row["says"] == truth) == (row["right"] == "1")
    assert survey.deck.sources[survey.deck.source[int(row["image"])]] == row["source"]
  right = sum(row["right"] == "1" for row in rows)
  page = client.get("/admin").text
  assert f"({right} of {2 * NUM} answers)" in page and "2 started, 2 finished" in page
  for name in ("real", "good", "bad"):
    called = [row["says"] == "real" for row in rows if row["source"] == name]
    assert re.search(rf"<td>{name}</td>\s*<td>{len(called)}</td>", page)


def test_a_name_in_the_csv_is_no_formula(tmp_path):
  sources = {"real": site.images(3, 0), "=1+1": site.images(3, 1)}
  survey = site.make_survey(tmp_path, images_each=2, sources=sources)
  client = TestClient(make_app(survey), base_url=site.BASE)
  for _ in range(6):
    client.cookies.clear()
    site.begin(client)
    finish(client)
  text = client.get("/admin/answers.csv", headers={"authorization": f"Bearer {site.TOKEN}"}).text
  assert ",'=1+1," in text and ",=1+1," not in text
  survey.connection.close()
