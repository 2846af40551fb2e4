"""A soak test of the live page: 200 tweets per second, two listeners, and an open page in a real Chromium.
Once per minute, it prints the memory of the page and of the listener, and the response time
of the panel.

The argument is the duration in seconds: `benches/run soak 3600`."""

import shutil
import time

from playwright.sync_api import sync_playwright

from machine import EXAMPLES, Embedded, Program, figure_address, median, say, table

RATE = 200
INTERVAL = 60
# The number of intervals before the first comparison. By then, all caches and buffers are in use.
WARM_UP = 5
ASK = """async () => {
  const begin = performance.now();
  const { x } = document.getElementById("plot").data[0];
  const [from, to] = [x[Math.floor(x.length / 3)], x[Math.floor(x.length / 2)]];
  const shift = 60000 * new Date(to).getTimezoneOffset();
  const { listeners } = await import("./model.js");
  const query = new URLSearchParams({ generation: listeners[0].generation, from: Math.round(from + shift), to: Math.round(to + shift) });
  const answer = await (await fetch(`stretch?${query}`)).json();
  if (answer.movers.length !== 10) throw new Error("the answer has no tweets");
  return performance.now() - begin;
}"""


def sample(page, session, listener):
    session.send("HeapProfiler.collectGarbage")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    answer = median([page.evaluate(ASK) for _ in range(5)])
    counted = page.locator("#counted").inner_text()
    return [counted, metrics["JSHeapUsedSize"] / 1e6, metrics["Nodes"], metrics["JSEventListeners"], listener.memory("VmRSS"), answer]


def soak(seconds):
    rows = []
    with Embedded() as broker, sync_playwright() as playwright:
        listen = [EXAMPLES / "listener", "--bootstrap", broker.address, "--figure-port", 0, "--compare"]
        stream = [EXAMPLES / "streamer", "--bootstrap", broker.address, "--rate", RATE, "--time-span", seconds + 60, "--json",
                  "--track", "bitcoin", "--track", "ethereum", "--track", "dogecoin"]
        with Program(*listen, stderr=True) as listener:
            address = figure_address(listener)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(address)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            with Program(*stream, limit=seconds + 120):
                for minute in range(1, seconds // INTERVAL + 1):
                    page.wait_for_timeout(1000 * INTERVAL)
                    row = sample(page, session, listener)
                    rows.append([minute, row[0], *(f"{value:.1f}" for value in row[1:])])
                    say(" · ".join(map(str, rows[-1])))
            browser.close()
    columns = ["minute", "tweets", "heap of the page, MB", "nodes", "event listeners", "memory of the listener, MB", "answer of the panel, ms"]
    print("\n" + table(columns, [rows[min(WARM_UP, len(rows)) - 1], rows[-1]]))
    say(f"ended at {time.strftime('%H:%M:%S')}")
