"""The live page in a real browser, fed by the real programs through a real broker."""

import json
import os
import shutil

import pytest
from conftest import EXAMPLES, figure_address, until
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page; what it complains of fails the test."""
    page = browser.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.complaints = complaints
    yield page
    assert [said for said in complaints if "ERR_" not in said and "EventSource" not in said] == []
    page.close()


def listen(start, broker, *more, port=0):
    listener = start(EXAMPLES / "listener", "--bootstrap", broker, "--figure-port", port, "--json", *more)
    return listener, figure_address(listener)


def stream(start, broker, *more):
    streamer = start(EXAMPLES / "streamer", "--bootstrap", broker, "--track", "bitcoin", "--track", "ethereum",
                     "--track", "dogecoin", "--language", "en", "--json", *more)
    said, trouble = streamer.communicate(timeout=120)
    assert streamer.returncode == 0, trouble
    return json.loads(said)


def shown(page, name):
    return page.locator(f"#{name}").inner_text()


def drawn_points(page):
    return page.evaluate("(document.getElementById('figure').data ?? []).map((trace) => trace.x.length)")


def test_the_page_shows_what_was_streamed(page, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    sent = stream(start, broker, "--rate", 0, "--count", 3000)["sent"]
    until("the last tweet", lambda: shown(page, "heard") == f"{sent:,}")
    assert shown(page, "state") == "connected"
    until("a line for all topics and one for each", lambda: len(drawn_points(page)) == 4)
    until("points in each", lambda: all(count > 20 for count in drawn_points(page)))
    until("the table", lambda: page.locator("#latest tr").count() == 20)
    names = page.evaluate("document.getElementById('figure').data.map((trace) => trace.name)")
    assert names[0] == "all topics" and sorted(names[1:]) == ["bitcoin", "dogecoin", "ethereum"]
    last = page.evaluate("document.getElementById('figure').data[0].y.at(-1)")
    assert abs(last - float(shown(page, "sum").replace(",", "").replace("−", "-"))) < 0.01


def test_the_page_shows_how_the_streamer_stands(page, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    streamer = start(EXAMPLES / "streamer", "--bootstrap", broker, "--track", "bitcoin", "--rate", 50, "--time-span", 6, "--json")
    until("the running streamer", lambda: "newest tweet" in shown(page, "streamer"))
    sent = json.loads(streamer.communicate(timeout=60)[0])["sent"]
    until("its end", lambda: f"sent {sent:,}" in shown(page, "streamer") and "time span is over" in shown(page, "streamer"))
    assert shown(page, "streamer").startswith("Streamer: demo")
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/streamer.png", full_page=True)


def test_a_page_opened_late_shows_the_same(page, browser, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    sent = stream(start, broker, "--rate", 0, "--count", 5000)["sent"]
    until("the last tweet", lambda: shown(page, "heard") == f"{sent:,}")
    late = browser.new_page()
    late.goto(address)
    until("the last tweet", lambda: shown(late, "heard") == f"{sent:,}")
    until("the same points", lambda: drawn_points(late) == drawn_points(page) != [])
    assert shown(late, "sum") == shown(page, "sum")
    late.close()


def test_a_tweet_is_text_and_never_html(page, start, broker, tmp_path):
    nasty = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script> <b>love</b>"
    file = tmp_path / "nasty.jsonl"
    tweet = {"id": "1", "user": nasty, "text": nasty, "followers": 5, "topics": [nasty]}
    file.write_text(json.dumps(tweet) + "\n")
    _, address = listen(start, broker)
    page.goto(address)
    replay = start(EXAMPLES / "streamer", "--bootstrap", broker, "--source", "replay", "--file", file, "--json")
    assert json.loads(replay.communicate(timeout=60)[0])["sent"] == 1
    until("the row", lambda: page.locator("#latest tr").count() == 1)
    assert page.locator("#latest td").nth(3).inner_text() == nasty
    until("the line", lambda: len(drawn_points(page)) == 2)
    page.locator("#figure .nsewdrag").first.hover()
    assert page.locator("#latest img, #latest b, #figure img").count() == 0
    assert page.evaluate("document.title") == "Live sentiment"


def test_a_page_left_open_recovers_when_the_listener_is_back(page, start, broker, free_port):
    port = free_port()
    listener, address = listen(start, broker, port=port)
    page.goto(address)
    sent = stream(start, broker, "--rate", 0, "--count", 500)["sent"]
    until("the tweets", lambda: shown(page, "heard") == f"{sent:,}")
    listener.kill()
    until("the loss", lambda: "reconnecting" in shown(page, "state"))
    listen(start, broker, port=port)
    until("the page to be back", lambda: shown(page, "state") == "connected" and shown(page, "heard") == f"{sent:,}")


def test_narrow_dark_and_by_keyboard(browser, start, broker):
    _, address = listen(start, broker)
    stream(start, broker, "--rate", 0, "--count", 2000)
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    page.goto(address)
    until("the table", lambda: page.locator("#latest tr").count() == 20)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways for"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.keyboard.press("Tab")
    reached = set()
    for _ in range(40):
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        page.keyboard.press("Tab")
    assert {"figure", "scroll"} <= reached, reached
    assert "tweets" in page.locator("#words").text_content()
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/narrow.png", full_page=True)
    page.close()
