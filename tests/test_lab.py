"""What a person does: both notebooks in JupyterLab, in a browser, and the figure under the cell."""

import shutil

import pytest
from conftest import LIMIT, ROOT, no_kernel_is_left, until
from playwright.sync_api import sync_playwright

TOKEN = "for-this-test-alone"


@pytest.fixture
def nothing_stays():
    """JupyterLab is killed at the end of a test: its kernels and their broker must follow."""
    until("the kernels of earlier tests to be gone", no_kernel_is_left)
    yield
    until("JupyterLab's kernels to end with it", no_kernel_is_left)


@pytest.fixture
def lab(nothing_stays, start, free_port):
    port = free_port()
    start(
        ROOT / ".venv/bin/jupyter", "lab", "--allow-root", "--no-browser", "--ServerApp.root_dir=notebooks",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", "--log-level=CRITICAL",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(LIMIT * 1000)
        # The notebooks are the repository's own: what this run puts out is not to be saved.
        context.route(
            "**/api/contents/*.ipynb*",
            lambda route: route.abort() if route.request.method in ("PUT", "PATCH") else route.continue_(),
        )

        def open_notebook(name):
            page = context.new_page()
            address = f"http://127.0.0.1:{port}/lab/workspaces/{name}/tree/{name}.ipynb?reset&token={TOKEN}"

            def answers():
                try:
                    return page.goto(address)
                except Exception:
                    return None

            until("JupyterLab", answers)
            page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
            page.get_by_text("Rust | Idle").wait_for()
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.locator("li[data-command='runmenu:run-all']").click()
            return page

        yield open_notebook
        browser.close()


def test_the_figure_moves_under_the_cell(lab):
    lab("Streamer")
    page = lab("Listener")
    figure = page.locator("iframe").first.content_frame

    def tweets():
        # JupyterLab follows the running cell, and takes what is out of sight out of the page.
        page.locator(".jp-WindowedPanel-outer").evaluate("notebook => notebook.scrollTop = 0")
        said = figure.locator("#heard").all_inner_texts()
        return int(said[0].replace(",", "")) if said and said[0] != "–" else 0

    before = until("a tweet", tweets)
    until("more tweets", lambda: tweets() > before)
    assert figure.locator("#figure .scatterlayer .trace").count() > 0
    assert figure.locator("#latest tr").count() > 0
