"""Both notebooks in JupyterLab, in a real browser: the live figure, and the links."""

import re
import shutil

import pytest
from conftest import LIMIT, ROOT, no_kernel_is_left, until
from playwright.sync_api import sync_playwright

TOKEN = "for-this-test-alone"


@pytest.fixture
def no_leftovers():
    """JupyterLab is killed at the end of a test. Its kernels and their broker must end with it."""
    until("the kernels of earlier tests to be gone", no_kernel_is_left)
    yield
    until("JupyterLab's kernels to end with it", no_kernel_is_left)


@pytest.fixture
def lab(no_leftovers, start, free_port):
    port = free_port()
    start(
        "make", "lab", f"PORT={port}", f"FLAGS=--no-browser --IdentityProvider.token={TOKEN} --log-level=CRITICAL",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(LIMIT * 1000)
        # The notebooks belong to the repository: the outputs of this run must not be saved.
        context.route(
            re.compile(r"/api/contents/.*\.ipynb"),
            lambda route: route.abort() if route.request.method in ("PUT", "PATCH") else route.continue_(),
        )

        def open_notebook(name):
            page = context.new_page()
            address = f"http://127.0.0.1:{port}/lab/workspaces/{name}/tree/notebooks/{name}.ipynb?reset&token={TOKEN}"

            def answers():
                try:
                    return page.goto(address)
                except Exception:
                    return None

            until("JupyterLab", answers)
            page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
            page.get_by_text("Rust | Idle").wait_for()
            return page

        yield open_notebook
        browser.close()


def run_all(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("li[data-command='runmenu:run-all']").click()
    return page


def test_a_link_to_the_documentation_opens_it(lab):
    page = lab("Streamer")
    page.locator(".jp-Notebook a", has_text="docs/sources.md").first.click()
    page.locator(".lm-TabBar-tabLabel", has_text="sources.md").wait_for()
    page.locator(".jp-FileEditor, .jp-MarkdownViewer").get_by_text("Get the credentials").first.wait_for()


def test_the_figure_moves_below_the_cell(lab):
    run_all(lab("Streamer"))
    page = run_all(lab("Listener"))
    figure = page.locator("iframe").first.content_frame

    def tweets():
        # JupyterLab scrolls to the running cell, and removes cells that are not visible from the page.
        page.locator(".jp-WindowedPanel-outer").evaluate("notebook => notebook.scrollTop = 0")
        shown = figure.locator("#counted").all_inner_texts()
        return int(shown[0].replace(",", "")) if shown and shown[0] != "–" else 0

    before = until("a tweet", tweets)
    until("more tweets", lambda: tweets() > before)
    assert figure.locator("#figure .scatterlayer .trace").count() > 0
    until("the latest tweets", lambda: figure.locator("#latest tr").count() > 0)


def test_the_stop_button_ends_a_wait_and_the_stream_goes_on(lab):
    page = lab("Streamer")
    notebook = page.locator(".jp-WindowedPanel-outer")
    text = lambda: "".join(page.locator(".jp-OutputArea-output").all_inner_texts())

    def in_view(cell):
        # JupyterLab removes cells that are not visible from the page.
        notebook.evaluate("notebook => notebook.scrollTop = notebook.scrollHeight")
        return page.locator(".jp-CodeCell", has_text=cell).last

    last = until("the last cell", lambda: (cell := in_view("streaming.stop()")).is_visible() and cell)
    last.locator(".cm-content").click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("li[data-command='notebook:run-all-above']").click()
    until("the progress of the stream", lambda: "1 s: sent" in text())
    page.get_by_role("button", name="Interrupt the kernel").click()
    until("the end of the wait", lambda: "interrupted; the stream is still running" in text())

    def sent():
        """Returns what the last cell has printed, if it has."""
        shown = re.findall(r"now (\d+)\n", text())
        return int(shown[-1]) if shown else 0

    # Another text for the last cell, which reads the variables.
    last.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text('println!("now {}", streaming.status().counts.sent);')
    page.keyboard.press("Control+Enter")
    before = until("the output of the cell", sent)
    page.keyboard.press("Control+Enter")
    until("the stream to have gone on", lambda: sent() > before)
