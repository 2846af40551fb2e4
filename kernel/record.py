"""`make record`: runs both notebooks and saves their outputs in notebooks/.

Code hosts show no Plotly figure, so each figure is also saved as a picture, drawn by the same plotly.js
in a real browser. The README's picture is a screenshot of the live page.
"""

import json
import re
import shutil
import sys
import threading

import nbformat
from playwright.sync_api import sync_playwright

from demo import ROOT, Run

# When the picture of the README is taken, as a share of the time span.
PICTURE_AT = 0.2
PLOTLY = "application/vnd.plotly.v1+json"
BROWSER = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


class Recorded(Run):
    """A run that knows when its figure is served, and its address."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.address = None
        self.listening = threading.Event()

    def executed(self, cell, cell_index, **more):
        super().executed(cell, cell_index, **more)
        for output in cell.get("outputs", []):
            if match := re.search(r"The live figure is at (\S+)", output.get("data", {}).get("text/plain", "")):
                self.address = match[1]
        if "print_tweets" in cell.source:
            self.listening.set()


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
    source = "".join(cell.source for cell in streamer.notebook.cells)
    seconds = int(re.search(r"let time_span = Duration::from_secs\((\d+)\);", source)[1])
    for run in (streamer, listener):
        run.start()
    listener.listening.wait(600)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=BROWSER)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(listener.address)
        page.wait_for_timeout(seconds * 1000 * PICTURE_AT)
        page.screenshot(path=ROOT / "docs" / "figure.png")
        streamer.join()
        listener.join()
        for run in (streamer, listener):
            if run.error:
                sys.exit(f"record: {run.path.name}: {run.error}")
            keep(run, lambda figure: picture(page, figure))
        browser.close()
    print("record: updated both notebooks and docs/figure.png")


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
