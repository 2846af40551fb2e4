"""The functions of the figure, in a real browser: selections, explanations, several listeners, lag, views,
downloads, and hostile data."""

import csv
import json
import os
import re
import signal
from datetime import datetime, timedelta, timezone

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import EXAMPLES, drawn_points, listen, listens, shown, stream, until

START = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
WIDTHS = (390, 1400, 3840)
HOSTILE = {
    "markup": "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script><b>love</b>",
    "entities": "&lt;b&gt; &amp; good </td></tr></table>",
    "bidi": "\u202egnp.good\u202c \u2066\u2067love\u2069 \u061c\u200f",
    "zero width": "lo\u200bve\u200d \ufeffgood\u2060" * 20,
    "combining": "good " + "a" + "\u0301\u0489\u20dd" * 3_400,
    "long word": "good " + "w" * (1 << 19),
    "template": "%{x} ${7*7} {{7*7}} =1+1 good",
}


def replay(start, broker, tmp_path, tweets):
    """Streams tweets, given as (seconds after noon, topic, user, followers, text). Returns how many were sent."""
    file = tmp_path / "tweets.jsonl"
    lines = [
        {
            "id": str(number), "user": user, "followers": followers, "text": text, "topics": [topic],
            "created_at": (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z"),
        }
        for number, (seconds, topic, user, followers, text) in enumerate(tweets)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return replay_file(start, broker, file)


def replay_file(start, broker, file, *more):
    streamer = start(EXAMPLES / "streamer", "--bootstrap", broker, "--source", "replay", "--file", file, "--rate", 0, "--json", *more)
    output, errors = streamer.communicate(timeout=120)
    assert streamer.returncode == 0, errors
    return json.loads(output)["sent"]


def number(text):
    return float(re.sub(r"[^0-9.-]", "", text.replace("−", "-")))


def open_page(page, address, counted):
    page.goto(address)
    until("the tweets", lambda: shown(page, "counted") == f"{counted:,}")
    until("the lines", lambda: len(drawn_points(page)) > 1)


def in_view(page):
    """Returns the times at the left and the right edge of the chart."""
    return page.evaluate("document.getElementById('plot').layout.xaxis.range")


def local(page, at):
    """Returns a time as the chart stores it, shifted by the time zone of the browser."""
    return at - 60_000 * page.evaluate("(at) => new Date(at).getTimezoneOffset()", at)


def span(page):
    start, end = in_view(page)
    return end - start


def panel(page):
    until("the panel", lambda: page.locator("#panel").is_visible() and page.locator("#panel-summary").inner_text())
    return page.locator("#panel").inner_text()


def drag(page, start, end):
    """Drags over the figure. `start` and `end` are shares of its width."""
    page.locator("#figure").scroll_into_view_if_needed()
    box = page.locator("#figure").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], middle, steps=4)
    page.mouse.up()


def select_all(page):
    page.locator("#figure").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")


def story(start, broker, tmp_path):
    """Sixty neutral tweets, one per second, and then three tweets that move the sum."""
    calm = [(second, "bitcoin", f"calm{second}", 0, "nothing to say") for second in range(60)]
    loud = [
        (60, "bitcoin", "whale", 1_000_000, "this is GREAT!!!"),
        (61, "ethereum", "bear", 500_000, "it is a horrible scam"),
        (62, "bitcoin", "fan", 1_000, "I love it"),
    ]
    return replay(start, broker, tmp_path, calm + loud)


def test_a_stretch_selected_by_keyboard_or_pointer_says_why_the_sum_moved(page, start, broker, tmp_path):
    _, address = listen(start, broker)
    open_page(page, address, story(start, broker, tmp_path))
    select_all(page)
    until("the whole stream", lambda: "63 tweets" in panel(page))
    text = panel(page)
    assert f"changed the sum by {shown(page, 'sum')}" in text
    movers = page.locator("#panel .tweets li .byline").all_inner_texts()
    assert [re.search(r"@(\w+)", mover)[1] for mover in movers] == ["whale", "bear", "fan"]
    assert "1,000,000 followers" in movers[0] and movers[0].startswith("+")
    words = page.locator("#panel .words .word").all_inner_texts()
    assert set(words) == {"great", "horrible", "scam", "love"}, words
    rows = dict(row.split("\t", 1) for row in page.locator("#panel table").inner_text().splitlines()[1:])
    assert number(rows["ethereum"].split("\t")[0]) < 0 < number(rows["bitcoin"].split("\t")[0])
    page.keyboard.press("Escape")
    # The panel closes immediately. The band of the selection disappears with the next frame.
    until("no selection", page.locator("#band").is_hidden)
    assert page.locator("#panel").is_hidden()
    # The first half contains only neutral tweets.
    drag(page, 0.12, 0.4)
    assert "All tweets here are neutral" in panel(page)
    assert page.locator("#band").is_visible()
    page.locator("#panel-close").click()
    assert page.locator("#panel").is_hidden()


def test_a_click_on_a_point_shows_its_tweet_and_why_it_has_its_score(page, start, broker, tmp_path):
    _, address = listen(start, broker)
    open_page(page, address, story(start, broker, tmp_path))
    page.locator("#figure").focus()
    page.keyboard.press("End")
    assert "fan" not in page.locator("#figure").get_attribute("aria-valuetext")
    page.keyboard.press("Enter")
    assert "@fan" in panel(page) and "I love it" in panel(page)
    page.locator("#panel .tweets button").click()
    explanation = page.locator("#panel .explanation")
    until("the explanation", explanation.is_visible)
    assert "love +3.20" in explanation.inner_text() and "compound is +0.6369" in explanation.inner_text()
    # The table shows the same explanation, and does not change while it is open.
    page.locator("#latest tr", has_text="GREAT").locator("button").click()
    details = page.locator("#latest .details:visible")
    until("the explanation", lambda: "exclamation marks +0.88" in details.inner_text())
    assert "capitals" in details.inner_text() and page.locator("#latest mark.adds").inner_text() == "GREAT"
    assert page.locator("#frozen").is_visible()
    # Click beside the last point.
    page.keyboard.press("Escape")
    page.locator("#figure").click(position={"x": 500, "y": 20})
    assert "@" in panel(page)


def test_two_listeners_have_their_own_lines_axes_and_numbers(page, browser, start, broker, tmp_path):
    _, address = listen(start, broker, "--compare")
    tweets = [(second, "bitcoin", "u", 1_000_000_000, "I love it") for second in range(40)]
    open_page(page, address, replay(start, broker, tmp_path, tweets))
    until("four lines", lambda: len(drawn_points(page)) == 4)
    traces = page.evaluate("document.getElementById('plot').data.map(({name, yaxis, line}) => [name, yaxis, line.dash])")
    assert traces == [
        ["audience: all topics", "y", "solid"], ["audience: bitcoin", "y", "solid"],
        ["compound: all topics", "y2", "dash"], ["compound: bitcoin", "y2", "dash"],
    ]
    names = page.locator("#names span").all_inner_texts()
    assert sorted(names) == sorted(name for name, _, _ in traces)
    numbers, starts = page.evaluate("""() => {
        const edges = (selector, side) => [...document.querySelectorAll(selector)].map((text) => text.getBoundingClientRect()[side]);
        return [edges("#plot .y2tick text", "right"), edges("#names span", "left")];
    }""")
    assert numbers and max(numbers) < min(starts), "the names are beside the numbers of the second axis"
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/axes.png")
    before = shown(page, "sum")
    page.select_option("#listener", "compound")
    assert abs(number(before) / number(shown(page, "sum")) - 20.723) < 0.01
    page.locator("#legend [aria-label=compound] button", has_text="bitcoin").click()
    until("three lines", lambda: len(drawn_points(page)) == 3)
    select_all(page)
    until("the panel", lambda: shown(page, "panel-title") == "Why did compound move?")
    # The address contains the choice.
    other = browser.new_page()
    other.goto(page.url)
    until("the same lines", lambda: len(drawn_points(other)) == 3)
    until("the same listener", lambda: shown(other, "sum") == shown(page, "sum"))
    until("the same selection", lambda: other.locator("#panel").is_visible())
    assert other.locator("#panel-title").inner_text() == "Why did compound move?"
    other.close()


def test_the_lag_is_red_while_it_grows_and_zero_at_the_end(page, start, broker):
    _, address = listen(start, broker, "--delay", 40)
    page.goto(address)
    start(EXAMPLES / "streamer", "--bootstrap", broker, "--rate", 60, "--time-span", 20)
    until("a growing lag", lambda: page.locator("#lag").get_attribute("data-grows") == "true")
    page.locator("#lag-title").click()
    cells = page.locator("#partitions td").all_inner_texts()
    assert cells[0] == "0" and number(cells[1]) + number(cells[3]) == number(cells[2]), cells
    until("no lag", lambda: shown(page, "lag-title").startswith("lag 0 messages"))
    until("a calm colour", lambda: page.locator("#lag").get_attribute("data-grows") == "false")


def test_the_pipeline_shows_which_part_has_stopped(page, start, free_port):
    url = f"tcp://127.0.0.1:{free_port()}"
    tansu = (".venv/bin/tansu", "broker", "--listener-url", url, "--advertised-listener-url", url, "--silent")
    broker = start(*tansu)
    until("the broker", lambda: listens(url.removeprefix("tcp://")))
    listener, address = listen(start, url.removeprefix("tcp://"))
    page.goto(address)

    def states():
        return page.evaluate("[...document.querySelectorAll('.pipeline li')].map((part) => part.dataset.state).join(' ')")

    streamer = start(EXAMPLES / "streamer", "--bootstrap", url.removeprefix("tcp://"), "--rate", 20, "--time-span", 600)
    until("all parts to work", lambda: states() == "works works works works works")
    until("the time span", lambda: "10 min left" in shown(page, "remaining"))
    streamer.kill()
    until("the silent streamer", lambda: states() == "ended broken works works works")
    assert "no status for" in page.locator("#at-streamer").inner_text()
    broker.send_signal(signal.SIGKILL)
    until("the lost broker", lambda: states() == "unknown unknown broken waiting works")
    assert "unreachable since" in shown(page, "at-topic") and "broker unreachable since" in shown(page, "lag-title")
    # The restarted embedded broker has lost the topic, so the listener waits for a new stream.
    start(*tansu)
    until("the broker", lambda: listens(url.removeprefix("tcp://")))
    start(EXAMPLES / "streamer", "--bootstrap", url.removeprefix("tcp://"), "--rate", 20, "--time-span", 600)
    until("all parts to work", lambda: states() == "works works works works works")
    listener.kill()
    until("the lost notebook", lambda: states() == "unknown unknown unknown unknown broken")


def test_the_mood_the_time_in_view_and_a_pause(page, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    start(EXAMPLES / "streamer", "--bootstrap", broker, "--track", "bitcoin", "--rate", 100, "--time-span", 300)
    until("points", lambda: len(drawn_points(page)) > 1 and drawn_points(page)[0] > 50)
    page.keyboard.press("m")
    until("the mood", lambda: page.evaluate("document.getElementById('plot').data.map(({type}) => type ?? 'scatter')") == ["scatter", "bar"])
    mood, bars = page.evaluate("document.getElementById('plot').data.map(({y}) => y)")
    assert all(-1 <= mean <= 1 for mean in mood) and 1 < len(mood) <= 700
    assert len(bars) <= 40 and sum(bars) > 50
    page.keyboard.press("m")
    page.keyboard.press("1")
    until("a minute", lambda: "follow=1" in page.url)
    until("the last minute in view", lambda: span(page) == 60_000)
    # A pause keeps the view. The listener continues to count.
    page.keyboard.press("p")
    until("the pause", lambda: shown(page, "pause") == "Back to live")
    until("the frozen axis", lambda: page.evaluate("document.getElementById('plot').layout.xaxis.title.text") == "local time (paused)")
    frozen = in_view(page)
    before = number(shown(page, "counted"))
    until("more tweets", lambda: number(shown(page, "counted")) > before + 100)
    assert in_view(page) == frozen
    page.keyboard.press("+")
    until("the zoom", lambda: span(page) < 41_000)
    page.locator("#pause").click()
    until("the newest tweets", lambda: in_view(page)[1] > frozen[1])


def test_the_end_of_the_stream_is_a_line(page, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    stream(start, broker, "--rate", 0, "--count", 500)
    until("the line", lambda: page.evaluate("document.getElementById('plot').layout?.shapes?.[0]?.label?.text") == "end of the stream")


def test_downloads_and_the_link_have_what_is_in_view(page, start, broker, tmp_path):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _, address = listen(start, broker)
    tweets = [(second, "=1+1", "u", 5, "I love it") for second in range(5)]
    open_page(page, address, replay(start, broker, tmp_path, tweets))

    def download(button):
        with page.expect_download() as waiting:
            page.locator(button).click()
        return waiting.value.path().read_bytes()

    assert download("#png").startswith(b"\x89PNG")
    svg = download("#svg").decode()
    assert svg.startswith("<svg") and "all topics" in svg
    rows = list(csv.DictReader(download("#csv").decode().splitlines()))
    total = [row for row in rows if row["line"] == "all topics"]
    assert [row["time"] for row in total] == [f"2026-01-01T12:00:0{second}.000Z" for second in range(5)]
    assert abs(float(total[-1]["sum"]) - number(shown(page, "sum"))) < 0.01
    assert {row["line"] for row in rows} == {"all topics", "'=1+1"}, "a spreadsheet must not take a topic for a formula"
    saved = tmp_path / "tweets.csv"
    saved.write_bytes(download("#tweets"))
    assert replay_file(start, broker, saved, "--topic", "again") == 5
    page.locator("#mood-view").click()
    page.locator("#link").click()
    until("the message", lambda: shown(page, "message") == "link copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url and page.url.endswith("#chart=mood")


def test_full_screen_has_large_letters(page, start, broker):
    _, address = listen(start, broker)
    page.set_viewport_size({"width": 1920, "height": 1080})
    open_page(page, address, stream(start, broker, "--rate", 0, "--count", 500)["sent"])
    page.keyboard.press("f")
    until("full screen", lambda: page.evaluate("document.fullscreenElement !== null"))
    until("large letters in the chart", lambda: page.evaluate("document.getElementById('plot').layout.font.size") > 30)
    assert number(page.evaluate("getComputedStyle(document.querySelector('#names span')).fontSize")) > 30
    page.keyboard.press("f")
    until("the page", lambda: page.evaluate("document.getElementById('plot').layout.font.size") < 20)


def test_hostile_texts_stay_text_in_every_place(browser, page, start, broker, tmp_path):
    _, address = listen(start, broker)
    tweets = [(second, text[:250], text[:200], 10, text) for second, text in enumerate(HOSTILE.values())]
    open_page(page, address, replay(start, broker, tmp_path, tweets))
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        select_all(page)
        until("the selection", lambda: page.locator("#panel .tweets > li").count() >= 4)
        for row in page.locator("#latest > tr").all():
            row.locator("button").click()
        until("all explanations", lambda: page.locator("#latest .explanation").count() == len(tweets))
        for button in page.locator("#panel .tweets button").all():
            button.click()
        until("all explanations", lambda: page.locator("#panel .explanation").count() == page.locator("#panel .tweets > li").count())
        assert "markup" not in page.title() and page.title() == "Live sentiment"
        assert page.locator("main img, main b, main script, main iframe").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"no horizontal scrolling at {width}"
        tallest = page.evaluate("Math.max(...[...document.querySelectorAll('td.text > bdi, p.text')].map((text) => text.offsetHeight))")
        assert tallest < 400 * max(1, width / 2400), f"a text is {tallest} pixels high at {width}"
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/hostile-{width}.png", full_page=True)
        while page.locator("#latest button[aria-expanded=true]").count():
            page.locator("#latest button[aria-expanded=true]").first.click()
        page.keyboard.press("Escape")
    box = page.locator("#figure").bounding_box()
    for share in range(10, 80, 10):
        page.mouse.move(box["x"] + share / 100 * box["width"], box["y"] + 50)
    assert page.title() == "Live sentiment"


def test_skipped_messages_open_to_an_example(page, start, broker, tmp_path):
    # A listener of scores skips tweets that have no score.
    _, address = listen(start, broker, "--scored")
    page.goto(address)
    replay(start, broker, tmp_path, [(0, "bitcoin", "u", 5, HOSTILE["markup"])])
    until("the message", lambda: shown(page, "skipped-title").startswith("1 message skipped"))
    page.locator("#skipped-title").click()
    until("the example", lambda: "document.title='stolen'" in shown(page, "skipped-reasons"))
    assert shown(page, "skipped-reasons").startswith("1: ") and page.title() == "Live sentiment"


def test_a_tweet_of_the_year_9999_is_counted_and_does_not_take_the_view(page, start, broker, tmp_path):
    _, address = listen(start, broker)
    second = lambda number: 250_000_000_000 if number == 5 else number  # noqa: E731
    sent = replay(start, broker, tmp_path, [(second(number), "bitcoin", "u", 5, "good") for number in range(100)])
    open_page(page, address + "#follow=1", sent)
    assert shown(page, "times-corrected").startswith("1 tweet counted at the time of the message")
    newest = 1_000 * (START + timedelta(seconds=99)).timestamp()
    until("the last minute", lambda: in_view(page) == [local(page, newest - 60_000), local(page, newest)])


def test_bad_links_stale_questions_and_a_lost_notebook_show_a_message(page, start, broker, tmp_path):
    listener, address = listen(start, broker)
    sent = story(start, broker, tmp_path)
    outside = f"{address}#selection=5,9&range=9,5&follow=constructor&chart=x&hidden={'x' * 500}"
    open_page(page, outside, sent)
    assert "there are no tweets here" in panel(page)
    page.goto("about:blank")
    open_page(page, address, sent)
    select_all(page)
    until("an answer", lambda: "63 tweets" in panel(page))
    page.keyboard.press("Escape")
    listener.kill()
    until("the lost connection", lambda: "reconnecting" in shown(page, "state"))
    select_all(page)
    assert "the notebook does not answer" in panel(page)


def test_two_pages_select_at_once(page, browser, start, broker, tmp_path):
    _, address = listen(start, broker)
    sent = story(start, broker, tmp_path)
    other = browser.new_page()
    for one in (page, other):
        open_page(one, address, sent)
    select_all(page)
    drag(other, 0.12, 0.4)
    until("all", lambda: "63 tweets" in panel(page))
    until("the first half", lambda: "neutral" in panel(other))
    other.close()


def test_reduced_motion_draws_once_a_second(browser, start, broker):
    _, address = listen(start, broker)
    page = browser.new_page(reduced_motion="reduce")
    page.goto(address)
    start(EXAMPLES / "streamer", "--bootstrap", broker, "--track", "bitcoin", "--rate", 100, "--time-span", 60)
    until("tweets", lambda: len(drawn_points(page)) > 1)
    page.evaluate("""() => {
        window.drawings = [];
        document.getElementById("plot").on("plotly_afterplot", () => window.drawings.push(performance.now()));
    }""")
    until("drawings", lambda: page.evaluate("window.drawings.length") >= 4)
    gaps = page.evaluate("window.drawings.slice(1).map((at, index) => at - window.drawings[index])")
    assert min(gaps) > 900, gaps
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(browser, start, broker, scheme):
    _, address = listen(start, broker, "--compare")
    sent = stream(start, broker, "--rate", 0, "--count", 2000)["sent"]
    page = browser.new_page(color_scheme=scheme)
    open_page(page, address, sent)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        select_all(page)
        until("the panel", lambda: page.locator("#panel .tweets > li").count() == 10)
        page.locator("#panel .tweets button").first.click()
        until("the explanation", lambda: page.locator("#panel .explanation").count() == 1)
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        for chart in ("sum-view", "mood-view"):
            page.locator(f"#{chart}").click()
            result = Axe().run(page)
            assert result.violations_count == 0, result.generate_report()
        page.keyboard.press("Escape")
    page.close()


def test_a_screen_reader_hears_the_numbers_at_most_every_ten_seconds(page, start, broker):
    _, address = listen(start, broker)
    page.goto(address)
    page.evaluate("""() => {
        window.heard = [];
        const region = document.getElementById("announcement");
        new MutationObserver(() => window.heard.push(performance.now())).observe(region, { childList: true, characterData: true, subtree: true });
    }""")
    start(EXAMPLES / "streamer", "--bootstrap", broker, "--rate", 50, "--time-span", 60)
    until("two announcements", lambda: page.evaluate("window.heard.length") >= 2)
    first, second = page.evaluate("window.heard")[:2]
    assert second - first >= 9_500
    live = page.evaluate("[...document.querySelectorAll('[aria-live], [role=status]')].map((node) => node.id)")
    assert sorted(live) == ["announcement", "message", "panel-summary"]
