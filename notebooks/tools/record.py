"""`make record`: runs all notebooks and saves their outputs in notebooks/.

Code hosts do not show Plotly figures. So each figure is also saved as a picture, which the same plotly.js
draws in a real browser. The animation of the README and the pictures of docs/figure.md are screenshots of
the live page.
"""

import io
import json
import re
import shutil
import sys
import threading
import time

import nbformat
from PIL import Image
from playwright.sync_api import sync_playwright

from demo import ROOT, Run

PLOTLY = "application/vnd.plotly.v1+json"
BROWSER = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
DOCS = ROOT / "docs"
# The animation of the README.
SIZE = {"width": 1100, "height": 820}
FRAMES_PER_SECOND = 5
SECONDS = 14
MAX_BYTES = 2_000_000


class Recorded(Run):
    """A run that stores the address of its figure, and signals when a listener runs and when two are shown."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.address = None
        self.listening, self.comparing, self.pictured = threading.Event(), threading.Event(), threading.Event()

    def executed(self, cell, cell_index, **more):
        super().executed(cell, cell_index, **more)
        for output in cell.get("outputs", []):
            if match := re.search(r"The live figure is at (\S+)", output.get("data", {}).get("text/plain", "")):
                self.address = match[1]
        if "print_tweets" in cell.source:
            self.listening.set()
        if 'figure.show("shouting"' in cell.source:
            # Wait for the picture here, because the figure ends with the kernel.
            self.comparing.set()
            self.pictured.wait(60)


def picture(page, figure):
    """Returns the figure as a PNG, in base64."""
    draw = """async (figure) => {
        const layout = {...figure.layout, paper_bgcolor: "#ffffff", width: 1000, height: 520};
        const url = await Plotly.toImage({data: figure.data, layout}, {format: "png", width: 1000, height: 520});
        return url.split(",")[1];
    }"""
    return page.evaluate(draw, figure)


def wait_for(page, condition):
    # Playwright's own wait evaluates a string in the page, which its security policy forbids.
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"waited 60 s for: {condition}"
        page.wait_for_timeout(100)


def select(page, start, end, frame=lambda: None):
    """Selects a stretch of the chart. `start` and `end` are shares of its width."""
    box = page.locator("#figure").bounding_box()
    y = box["y"] + 0.45 * box["height"]
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(box["x"] + (start + (end - start) * step / 5) * box["width"], y)
        frame()
    page.mouse.up()
    page.mouse.move(0, 0)
    wait_for(page, "!document.getElementById('panel').hidden")


def explain(page):
    page.locator("#panel .tweets button").first.click()
    page.locator("#panel .explanation").first.wait_for()


def take(page, name):
    # Remove the focus, whose outline would be in the picture.
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=DOCS / name)


def animation(page):
    """Records a few seconds of the running page: the lines move, a stretch is selected, a tweet is explained,
    and the view changes to the mood. Returns the size of the file in bytes."""
    frames, times = [], []

    def frame():
        frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        times.append(time.monotonic())

    def play(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            frame()
            time.sleep(max(0, 1 / FRAMES_PER_SECOND - (time.monotonic() - started)))

    page.set_viewport_size(SIZE)
    play(0.25 * SECONDS)
    select(page, 0.3, 0.55, frame)
    play(0.2 * SECONDS)
    explain(page)
    play(0.25 * SECONDS)
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    play(0.2 * SECONDS)
    page.keyboard.press("m")
    play(0.1 * SECONDS)
    durations = [round(1000 * (after - before)) for before, after in zip(times, times[1:])] + [1000]
    file = DOCS / "figure.webp"
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=55, method=4)
    size = file.stat().st_size
    assert size < MAX_BYTES, f"{file} has {size} bytes"
    return size


def while_streaming(page):
    """Takes the pictures with one listener, while the stream is running."""
    wait_for(page, "Number(document.getElementById('counted').textContent.replace(',', '')) > 150")
    size = animation(page)
    page.set_viewport_size({"width": 1200, "height": 900})
    take(page, "figure.png")
    select(page, 0.3, 0.6)
    explain(page)
    take(page, "figure-why.png")
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.wait_for_timeout(500)
    take(page, "figure-mood.png")
    page.keyboard.press("m")
    return size


def of_two_listeners(page):
    """Takes the picture with two listeners."""
    wait_for(page, "document.querySelectorAll('#legend > div').length === 2")
    page.wait_for_timeout(1500)
    take(page, "figure-listeners.png")


def main():
    barrier = threading.Barrier(2)
    # The parameters of the notebooks are not replaced: the outputs belong to the saved cells.
    streamer = Recorded("Streamer", "", 1200, barrier)
    listener = Recorded("Listener", "", 1200, barrier)
    for run in (streamer, listener):
        run.start()
    listener.listening.wait(600)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=BROWSER)
        page = browser.new_page()
        page.goto(listener.address)
        size = while_streaming(page)
        listener.comparing.wait(1200)
        of_two_listeners(page)
        listener.pictured.set()
        streamer.join()
        listener.join()
        for run in (streamer, listener):
            if run.error:
                sys.exit(f"record: {run.path.name}: {run.error}")
            keep(run, lambda figure: picture(page, figure))
        browser.close()
    lesson = Recorded("Lesson", "", 1200, threading.Barrier(1))
    lesson.run()
    if lesson.error:
        sys.exit(f"record: Lesson.ipynb: {lesson.error}")
    keep(lesson, None)
    print(f"record: updated the notebooks and the pictures in docs; the animation has {size:,} bytes")


def keep(run, draw):
    notebook = run.notebook
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = number + 1
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number + 1
            data = output.get("data", {})
            if PLOTLY in data:
                figure = data[PLOTLY]
                data["image/png"] = draw(figure if isinstance(figure, dict) else json.loads(figure))
    nbformat.write(notebook, run.path)


if __name__ == "__main__":
    main()
