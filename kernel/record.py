"""`make record`: runs all notebooks and saves their outputs in notebooks/.

Code hosts show no Plotly figure, so each figure is also saved as a picture, drawn by the same plotly.js
in a real browser. The pictures of the README and of docs/figure.md are screenshots of the live page.
"""

import json
import re
import shutil
import sys
import threading

import nbformat
from playwright.sync_api import sync_playwright

import pictures
from demo import Run

PLOTLY = "application/vnd.plotly.v1+json"
BROWSER = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


class Recorded(Run):
    """A run that knows when its figure is served, its address, and when it shows two listeners."""

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
            # The kernel waits for the picture, because the figure ends with it.
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
        size = pictures.while_streaming(page)
        listener.comparing.wait(1200)
        pictures.of_two_listeners(page)
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
