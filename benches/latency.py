"""Measures the latency from the creation of a tweet to its drawing in a real Chromium, for our page and for a
Dash page like the original's. Plotly reports each drawing. The next frame counts the drawn tweets."""

import bisect
import datetime
import json
import shutil
import sys

from playwright.sync_api import sync_playwright

from machine import EXAMPLES, HOME, PEERS, Program, figure_address, free_port, listens, median, say, table, topic, until

RATES = (20, 200, 2_000)
SECONDS = 4
# The number of drawn tweets: the count that our page shows, or the number of points of Dash's line.
OURS = "() => Number(document.getElementById('counted').textContent.replaceAll(',', ''))"
DASH = "() => (document.querySelector('.js-plotly-plot')?.data?.[0]?.y?.length ?? 0)"
WATCH = """(count) => {
  window.drawn = [];
  const figure = document.querySelector('.js-plotly-plot');
  figure.on('plotly_afterplot', () => requestAnimationFrame(() => window.drawn.push([Date.now(), count()])));
}"""


def drawn_after(page, stream, made_file, count_before):
    """Returns the milliseconds from the creation of each tweet to the first frame that shows it."""
    made_file.unlink(missing_ok=True)
    page.evaluate("window.drawn = []")
    with Program(*stream, "--save-to", made_file) as streamer:
        streamer.end()
    made = [created(line) for line in made_file.read_text().splitlines()]
    total = count_before + len(made)
    until(lambda: page.evaluate("window.drawn.length > 0 && window.drawn.at(-1)[1]") >= total, "the last tweet to be drawn")
    drawn = page.evaluate("window.drawn")
    counts = [count for _, count in drawn]
    return [drawn[bisect.bisect_left(counts, count_before + index + 1)][0] - at for index, at in enumerate(made)], total


def created(line):
    return datetime.datetime.fromisoformat(json.loads(line)["created_at"][:23] + "+00:00").timestamp() * 1_000


def tables(kind, turns):
    rows = []
    with kind() as broker, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for rate in RATES:
            found = {"ours": [], "dash": []}
            names = {who: topic(broker) for who in found}
            port = free_port()
            listen = [EXAMPLES / "listener", "--bootstrap", broker.address, "--topic", names["ours"], "--figure-port", 0]
            dash = [sys.executable, PEERS / "dash_page.py", broker.address, names["dash"], port]
            with Program(*listen, stderr=True) as listener, Program(*dash):
                address = figure_address(listener)
                until(lambda: listens(port), "Dash")
                pages = {"ours": (address, OURS), "dash": (f"http://127.0.0.1:{port}/", DASH)}
                counts = dict.fromkeys(found, 0)
                opened = {}
                for who, (where, count) in pages.items():
                    opened[who] = browser.new_page()
                    opened[who].goto(where)
                    opened[who].wait_for_selector(".js-plotly-plot")
                    opened[who].evaluate(f"({WATCH})({count})")
                for _ in range(turns):
                    for who, page in opened.items():
                        page.bring_to_front()
                        stream = [EXAMPLES / "streamer", "--bootstrap", broker.address, "--topic", names[who], "--join",
                                  "--rate", rate, "--count", rate * SECONDS, "--seed", counts[who] + 1, "--json"]
                        took, counts[who] = drawn_after(page, stream, HOME / "made.jsonl", counts[who])
                        found[who].append(took)
                for page in opened.values():
                    page.close()
            half, most = ({who: median([percentile(run, share) for run in runs]) for who, runs in found.items()} for share in (0.5, 0.99))
            rows.append([rate, f"**{half['dash'] / half['ours']:.0f} times**"] + [f"{value:.0f}" for value in (half["ours"], most["ours"], half["dash"], most["dash"])])
            say(f"latency at {rate} per second")
        browser.close()
    note = f"{turns} runs of {SECONDS} seconds each, alternating, on {kind.name}; milliseconds.\n\n"
    return note + table(["tweets per second", "we are faster by", "ours, 50 %", "99 %", "Dash, 50 %", "99 %"], rows)


def percentile(values, share):
    return sorted(values)[int((len(values) - 1) * share)]
