"""The survey in Chromium, as a participant sees it, at two widths; `make test-browser` runs it.

Screenshots go to build/screenshots, to be looked at.
"""
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lartpc_jax.survey.store import open_store, read_answers
from tests import survey_site as site

pytestmark = [pytest.mark.browser, pytest.mark.slow]
REPO = Path(__file__).resolve().parent.parent
WIDTHS = {"wide": (1280, 900), "phone": (390, 844)}
NUM = 6


@pytest.fixture(scope="module")
def browser():
  playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra [browser]")
  chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
  if chromium is None:
    pytest.skip("needs Chromium")
  with playwright.sync_playwright() as running:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    opened = running.chromium.launch(executable_path=chromium, args=[*sandbox, "--disable-dev-shm-usage"])
    yield opened
    opened.close()


@pytest.fixture
def shots():
  folder = REPO / "build" / "screenshots"
  folder.mkdir(parents=True, exist_ok=True)
  return folder


@pytest.fixture
def survey(tmp_path):
  """Real crops against the same turned and mixed two by two: good to look at, and nothing is drawn."""
  with np.load(REPO / "lartpc_jax" / "assets" / "sample_crops.npz") as npz:
    crops = npz["image"][:60] * npz["unit_mev"]
  mixed = np.maximum(crops[:30], crops[30:60, ::-1])
  return site.make_survey(tmp_path, images_each=NUM, sources={"real": crops, "mixed": mixed})


def person(browser, width):
  """A browser of its own, with no cookie yet; a phone is touched."""
  size = WIDTHS[width]
  context = browser.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=width == "phone",
                                is_mobile=width == "phone")
  page = context.new_page()
  page.set_default_timeout(120_000)  # of machines that do other things as well
  page.wrong = []  # what a console says of errors and what did not load
  page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
  page.on("pageerror", lambda error: page.wrong.append(str(error)))
  page.on("requestfailed", lambda request: page.wrong.append(request.url))
  return page


def start(page, address):
  page.goto(address)
  page.get_by_label("I have seen such images", exact=True).check()
  page.get_by_role("button", name="Begin").click()
  page.wait_for_selector(".picture")


def number(page):
  return page.locator(".progress label").inner_text()


def fits(page):
  """Nothing is wider than the window, and the picture and all buttons are in sight."""
  inside = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
  boxes = [x.bounding_box() for x in (page.locator(".picture"), *page.locator(".answers button").all())]
  height = page.viewport_size["height"]
  return inside and all(box["y"] >= 0 and box["y"] + box["height"] <= height for box in boxes)


def stored(tmp_path):
  connection = open_store(tmp_path / "survey.sqlite")
  rows = read_answers(connection)
  connection.close()
  return rows


@pytest.mark.parametrize("width", WIDTHS)
def test_a_whole_survey(browser, survey, shots, tmp_path, width):
  with site.serving(survey) as address:
    page = person(browser, width)
    page.goto(address)
    page.screenshot(path=shots / f"survey_welcome_{width}.png", full_page=True)
    start(page, address)
    for i in range(NUM):
      assert number(page) == f"Image {i + 1} of {NUM}" and fits(page)
      assert page.evaluate("document.querySelector('.picture').naturalWidth") == 64
      if i == 2:
        page.screenshot(path=shots / f"survey_trial_{width}.png")
      with page.expect_navigation():
        if width == "wide":
          page.keyboard.press("14"[i % 2])
        else:
          page.locator(".answers button").nth(1 if i % 2 else 4).tap()
    page.wait_for_url("**/thanks")
    assert f"of {NUM}" in page.locator(".score").inner_text()
    page.screenshot(path=shots / f"survey_thanks_{width}.png", full_page=True)
    page.goto(address + "/admin")
    page.get_by_label("Token").fill(site.TOKEN)
    page.get_by_role("button").click()
    page.wait_for_selector(".chart")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(path=shots / f"survey_admin_{width}.png", full_page=True)
    assert not page.wrong
    page.context.close()
  rows = stored(tmp_path)
  says = ["real", "generated"] if width == "wide" else ["generated", "real"]
  assert [row[4] for row in rows] == says * (NUM // 2)
  assert {row[5] for row in rows} == ({3} if width == "wide" else {2})


def test_reload_back_and_two_tabs_count_once(browser, survey, tmp_path):
  with site.serving(survey) as address:
    page = person(browser, "wide")
    start(page, address)
    page.keyboard.press("1")
    page.wait_for_function("document.body.innerText.includes('Image 2 of')")
    page.reload()
    assert number(page) == f"Image 2 of {NUM}"
    tab = page.context.new_page()
    tab.goto(address + "/survey")
    page.keyboard.press("2")
    page.wait_for_function("document.body.innerText.includes('Image 3 of')")
    tab.keyboard.press("6")  # the same image again, otherwise
    tab.wait_for_selector(".note")
    assert number(tab) == f"Image 3 of {NUM}"
    page.go_back()
    page.wait_for_selector(".picture")
    if "Image 2" in number(page):  # a kept page: its answer comes too late
      page.keyboard.press("6")
      page.wait_for_selector(".note")
    assert number(page) == f"Image 3 of {NUM}"
    page.locator("[data-key='4']").dblclick()
    page.wait_for_function("document.body.innerText.includes('Image 4 of')")
    page.context.close()
  assert [(row[2], row[4], row[5]) for row in stored(tmp_path)] == [
      (0, "real", 3), (1, "real", 2), (2, "generated", 3)]


def test_a_session_goes_on_after_the_server_and_the_browser_ended(browser, survey, tmp_path):
  with site.serving(survey) as address:
    page = person(browser, "phone")
    start(page, address)
    page.locator(".answers button").first.tap()
    page.wait_for_function("document.body.innerText.includes('Image 2 of')")
    picture = page.locator(".picture").get_attribute("src")
    state = page.context.storage_state()
    page.context.close()
  port = int(address.rpartition(":")[2])
  again = survey._replace(connection=open_store(tmp_path / "survey.sqlite"))
  with site.serving(again, port) as address:
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    page.goto(address)
    page.get_by_role("link", name="Go on with image 2").click()
    assert page.locator(".picture").get_attribute("src") == picture
    context.close()


def test_two_participants_at_once(browser, survey, tmp_path):
  with site.serving(survey) as address:
    people = [person(browser, "wide"), person(browser, "phone")]
    for page in people:
      start(page, address)
    for _ in range(NUM):
      for page, key in zip(people, "14"):
        with page.expect_navigation():
          page.keyboard.press(key)
    for page in people:
      assert page.url.endswith("/thanks") and not page.wrong
      page.context.close()
  rows = stored(tmp_path)
  assert [(row[0], row[2]) for row in rows] == [(p, i) for p in (1, 2) for i in range(NUM)]
  assert {(row[0], row[4]) for row in rows} == {(1, "real"), (2, "generated")}
