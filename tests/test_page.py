"""The live page in a real browser, with real programs and a real broker."""

import json
import os

from conftest import EXAMPLES, drawn_points, listen, shown, stream, until


def test_the_page_shows_what_was_streamed(page, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    sent = stream(start, broker, "--rate", 0, "--count", 3000)["sent"]
    until("the last tweet", lambda: shown(page, "counted") == f"{sent:,}")
    assert shown(page, "state") == "connected"
    until("a line for all topics and one for each", lambda: len(drawn_points(page)) == 4)
    until("points in each", lambda: all(count > 20 for count in drawn_points(page)))
    until("the table", lambda: page.locator("#latest tr").count() == 20)
    names = page.evaluate("document.getElementById('plot').data.map((trace) => trace.name)")
    assert names[0] == "all topics" and sorted(names[1:]) == ["bitcoin", "dogecoin", "ethereum"]
    last = page.evaluate("document.getElementById('plot').data[0].y.at(-1)")
    assert abs(last - float(shown(page, "sum").replace(",", "").replace("−", "-"))) < 0.01


def test_the_page_shows_the_status_of_the_streamer(page, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    streamer = start(EXAMPLES / "streamer", "--bootstrap", broker, "--track", "bitcoin", "--rate", 50, "--time-span", 6, "--json")
    until("the running streamer", lambda: "newest tweet" in shown(page, "streamer"))
    sent = json.loads(streamer.communicate(timeout=60)[0])["sent"]
    until("its end", lambda: f"sent {sent:,}" in shown(page, "streamer") and "time span is over" in shown(page, "streamer"))
    assert shown(page, "streamer").startswith("Streamer: demo")
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/streamer.png", full_page=True)


def test_a_page_that_opens_late_shows_the_same(page, browser, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    sent = stream(start, broker, "--rate", 0, "--count", 5000)["sent"]
    until("the last tweet", lambda: shown(page, "counted") == f"{sent:,}")
    late = browser.new_page()
    late.goto(address)
    until("the last tweet", lambda: shown(late, "counted") == f"{sent:,}")
    until("the same points", lambda: drawn_points(late) == drawn_points(page) != [])
    assert shown(late, "sum") == shown(page, "sum")
    late.close()


def test_a_tweet_is_text_and_never_html(page, start, broker, tmp_path):
    html = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script> <b>love</b>"
    file = tmp_path / "html.jsonl"
    tweet = {"id": "1", "user": html, "text": html, "followers": 5, "topics": [html]}
    file.write_text(json.dumps(tweet) + "\n")
    _, address = listen(start, broker)
    page.goto(address)
    replay = start(EXAMPLES / "streamer", "--bootstrap", broker, "--source", "replay", "--file", file, "--json")
    assert json.loads(replay.communicate(timeout=60)[0])["sent"] == 1
    until("the row", lambda: page.locator("#latest tr").count() == 1)
    assert page.locator("#latest td.text bdi").inner_text() == html
    until("the line", lambda: len(drawn_points(page)) == 2)
    page.locator("#figure").hover()
    assert page.locator("#latest img, #latest b, #figure img").count() == 0
    assert page.evaluate("document.title") == "Live sentiment"


def test_an_open_page_recovers_after_a_restart_of_the_listener(page, start, broker, free_port):
    port = free_port()
    listener, address = listen(start, broker, port=port)
    page.goto(address)
    sent = stream(start, broker, "--rate", 0, "--count", 500)["sent"]
    until("the tweets", lambda: shown(page, "counted") == f"{sent:,}")
    listener.kill()
    until("the lost connection", lambda: "reconnecting" in shown(page, "state"))
    listen(start, broker, port=port)
    until("the page to be back", lambda: shown(page, "state") == "connected" and shown(page, "counted") == f"{sent:,}")


def test_the_page_is_narrow_and_dark_and_works_by_keyboard(browser, start, broker):
    _, address = listen(start, broker)
    stream(start, broker, "--rate", 0, "--count", 2000)
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    page.goto(address)
    until("the table", lambda: page.locator("#latest tr").count() == 20)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no horizontal scrolling"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.keyboard.press("Tab")
    reached = set()
    for _ in range(40):
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        page.keyboard.press("Tab")
    assert {"figure", "scroll"} <= reached, reached
    assert "tweets" in page.locator("#description").text_content()
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/narrow.png", full_page=True)
    page.close()
