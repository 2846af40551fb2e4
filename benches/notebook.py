"""Measures how long a user waits: for the start of a kernel, for a cell, from Run All of both notebooks to the
first tweet in the live figure (with a bare client, and with JupyterLab in a real browser), after an
interrupt, and for `make setup`.

A measurement of an unmodified evcxr takes minutes. So it runs once per machine (`benches/run evcxr`), and
the result is stored with its date. `benches/run notebook DIRECTORY` also measures another checkout that is
set up. The measurements alternate between the two checkouts."""

import datetime
import json
import os
import random
import re
import shutil
import subprocess
import threading
import time

import nbformat
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec
from playwright.sync_api import TimeoutError, sync_playwright

from machine import EXAMPLES, HOME, ROOT, Embedded, Program, end_with_parent, free_port, listens, median, reached, say, spread, table, until

TOOLS = ROOT / "target" / "tools" / "release"
SETUP = ROOT / "target" / "setup.seconds"
PLAIN = HOME / "evcxr.json"


def plain():
    """An evcxr kernel without our settings and our cargo, which compiles in an empty directory."""
    shutil.rmtree(HOME / "evcxr", ignore_errors=True)
    folders = {name: HOME / "evcxr" / name for name in ("EVCXR_TMPDIR", "EVCXR_CONFIG_DIR", "JUPYTER_PATH")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    argv = [str(TOOLS / "rust-kernel"), "--control_file", "{connection_file}"]
    return argv, {name: str(path) for name, path in folders.items()}, "message", ROOT


def of(root):
    """The kernel of a checkout."""
    spec = json.loads((root / ".venv/share/jupyter/kernels/rust/kernel.json").read_text())
    return spec["argv"], {}, spec["interrupt_mode"], root


def cells(root, name, last):
    """Returns the code cells of a notebook up to the cell that contains `last`."""
    notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    (end,) = (number for number, source in enumerate(sources) if last in source)
    return sources[: end + 1]


class Kernel:
    def __init__(self, kernel, **variables):
        argv, more, interrupt_mode, root = kernel
        self.manager = KernelManager()
        self.manager._kernel_spec = KernelSpec(argv=argv, display_name="Rust", language="rust", interrupt_mode=interrupt_mode)
        began = time.monotonic()
        self.manager.start_kernel(env={**os.environ, **more, **variables}, cwd=str(root / "notebooks"), stdout=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=600)
        self.ready = time.monotonic() - began
        self.output = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.stop_channels()
        self.manager.shutdown_kernel()

    def run(self, cell, hook=lambda: None):
        """Runs a cell. Returns the seconds that it took."""
        seconds, status = self.time(cell, hook)
        if status != "ok":
            raise RuntimeError(f"a cell has failed: {cell}\n{self.output[-2000:]}")
        return seconds

    def time(self, cell, hook=lambda: None):
        """Runs a cell. Returns the seconds that it took, and its status."""

        def read(message):
            self.output += str(message["content"])
            hook()

        began = time.monotonic()
        reply = self.client.execute_interactive(cell, timeout=600, output_hook=read)
        return time.monotonic() - began, reply["content"]["status"]

    def first_tweet(self):
        """Waits until the figure of this kernel has a tweet. Returns the time."""
        address = until(lambda: re.search(r"http://127\.0\.0\.1:\d+/", self.output), "the address of the figure", limit=600)[0]
        until(lambda: reached(address, 1), "the first tweet", limit=600, pause=0.02)
        return time.monotonic()


def listen(kernel, broker):
    """Returns the seconds until a kernel is ready, and from Run All of the Listener to the first tweet."""
    with Kernel(kernel, KAFKA_BOOTSTRAP_SERVERS=broker.address) as listener:
        began = time.monotonic()
        run_all = threading.Thread(target=lambda: [listener.run(cell) for cell in cells(kernel[3], "Listener", 'figure.show("audience"')])
        run_all.start()
        first = listener.first_tweet()
        run_all.join()
        return listener.ready, first - began


def both(root):
    """Returns the seconds from Run All of both notebooks at once to the first tweet."""
    need_port_9092()
    with Kernel(of(root)) as streamer, Kernel(of(root)) as listener:
        parts = [(streamer, cells(root, "Streamer", ".start(source)")), (listener, cells(root, "Listener", 'figure.show("audience"'))]
        threads = [threading.Thread(target=lambda kernel=kernel, part=part: [kernel.run(cell) for cell in part]) for kernel, part in parts]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        first = listener.first_tweet()
        for thread in threads:
            thread.join()
        return first - began


def one_by_one(root):
    """Returns four times in seconds: the start of a kernel, the median of a committed cell, the median of a
    changed cell, and the median from an interrupt to the end of a wait."""
    need_port_9092()
    committed, changed, interrupts = [], [], []
    with Kernel(of(root)) as streamer:
        for cell in cells(root, "Streamer", ".start(source)"):
            committed.append(streamer.run(cell))
        with Kernel(of(root)) as listener:
            for number, cell in enumerate(cells(root, "Listener", 'figure.show("audience"')):
                # The first line adds the dependency.
                cell = f"let _ = {random.random()};\n{cell}" if number else cell
                (changed if number else committed).append(listener.run(cell))
        if streamer.manager.kernel_spec.interrupt_mode == "signal":
            for _ in range(3):
                sent = []

                def interrupt():
                    if "1 s: sent" in streamer.output[-300:] and not sent:
                        sent.append(time.monotonic())
                        streamer.manager.interrupt_kernel()

                streamer.output = ""
                streamer.run("streaming.wait();", interrupt)
                interrupts.append(time.monotonic() - sent[0])
    return listener.ready, median(committed), median(changed), median(interrupts) if interrupts else None


def in_a_browser(root):
    """Returns the seconds from Run All of both notebooks in JupyterLab to the first drawn tweet."""
    need_port_9092()
    port = free_port()
    options = ["--no-browser", f"--ServerApp.root_dir={root}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--IdentityProvider.token=", "--log-level=CRITICAL"]
    root_flag = ["--allow-root"] if os.getuid() == 0 else []
    lab = subprocess.Popen([str(root / ".venv/bin/jupyter"), "lab", *root_flag, *options], preexec_fn=end_with_parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(port), "JupyterLab")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            context = browser.new_context(viewport={"width": 1400, "height": 1000})
            # The notebooks are files of the repository, so JupyterLab must not save the outputs of this run.
            unsaved = lambda route: route.abort() if route.request.method in ("PUT", "PATCH") else route.continue_()
            context.route(re.compile(r"/api/contents/.*\.ipynb"), unsaved)
            pages = []
            for name in ("Streamer", "Listener"):
                page = context.new_page()
                page.goto(f"http://127.0.0.1:{port}/lab/workspaces/{name}/tree/notebooks/{name}.ipynb?reset")
                page.get_by_text("Rust | Idle").wait_for(timeout=120_000)
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.locator("li[data-command='runmenu:run-all']").wait_for()
                pages.append(page)
            began = time.monotonic()
            for page in pages:
                page.bring_to_front()
                page.locator("li[data-command='runmenu:run-all']").click()
            figure = pages[1].frame_locator("iframe").first

            def drawn():
                # JupyterLab scrolls to the running cell, and removes cells that are not visible from the page.
                pages[1].locator(".jp-WindowedPanel-outer").evaluate("notebook => notebook.scrollTop = 0")
                shown = figure.locator("#counted").all_inner_texts()
                return shown and shown[0] not in ("–", "0") and figure.locator("#figure .scatterlayer .trace").count()

            until(drawn, "the first tweet", pause=0.02)
            took = time.monotonic() - began
            browser.close()
            return took
    finally:
        lab.terminate()
        lab.wait()


def in_a_browser_or_again(root):
    try:
        return in_a_browser(root)
    except TimeoutError as error:
        say(f"JupyterLab with the notebooks of {root} was not ready: {error}; trying once more")
        return in_a_browser(root)


def need_port_9092():
    """Waits until the port is free, because the notebooks start their broker there. The broker of an earlier
    run ends with its kernel."""
    until(lambda: not listens(9092), "port 9092 to be free; hint: `make stop`")


def waits(roots, turns):
    """Measures several checkouts. The runs alternate between them."""
    found = {root: [] for root in roots}
    for turn in range(turns):
        for root in roots:
            found[root].append((*one_by_one(root), both(root), in_a_browser_or_again(root)))
        say(f"cells: turn {turn + 1} of {turns}")
    seconds = lambda values: "–" if None in values else spread(values, lambda value: f"{value:.2f}")
    names = [
        "start of a kernel", "a committed cell", "a changed cell", "from an interrupt to the end of the wait",
        "Run All of both notebooks to the first tweet, bare client", "the same in JupyterLab in a browser",
    ]  # fmt: skip
    rows = [[name, *(seconds([run[number] for run in found[root]]) for root in roots)] for number, name in enumerate(names)]
    heads = ["seconds", "this checkout", *(f"checkout of {commit(root)}" for root in roots[1:])]
    return table(heads, rows)


def commit(root):
    return subprocess.check_output(["git", "-C", root, "log", "-1", "--format=%h of %cs"], text=True).strip()


def streamer(broker):
    return [EXAMPLES / "streamer", "--bootstrap", broker.address, "--track", "bitcoin", "--json"]


def measure_plain():
    say("unmodified evcxr: 5 minutes …")
    with Embedded() as broker, Program(*streamer(broker)):
        PLAIN.write_text(json.dumps({"date": str(datetime.date.today()), "run": listen(plain(), broker)}))


def kernels(turns):
    found = {"ours": []}
    with Embedded() as broker:
        with Program(*streamer(broker)):
            for turn in range(turns):
                found["ours"].append(listen(of(ROOT), broker))
                say(f"notebooks: turn {turn + 1} of {turns}")
    if PLAIN.exists():
        once = json.loads(PLAIN.read_text())
        found[f"unmodified evcxr (one run, {once['date']})"] = [once["run"]]
    seconds = lambda value: f"{value:.1f}"
    rows = []
    total = {name: median([ready + point for ready, point in runs]) for name, runs in found.items()}
    for name, runs in found.items():
        ready, point = zip(*runs)
        ratio = "1" if name == "ours" else f"**{total[name] / total['ours']:.0f} times**"
        rows.append([name, ratio, *(spread(values, seconds) for values in ([a + b for a, b in runs], ready, point))])
    return table(["kernel", "we are faster by", "start to first point, s", "start to ready", "Run All to first point"], rows)


def setup(turns):
    took = []
    for _ in range(turns):
        began = time.monotonic()
        subprocess.run([ROOT / "kernel" / "setup"], check=True, stdout=subprocess.DEVNULL)
        took.append(time.monotonic() - began)
    nothing = f"{int(SETUP.read_text()) / 60:.1f} minutes (once, when this machine was set up)" if SETUP.exists() else "not measured on this machine"
    return f"`make setup`: from nothing {nothing}; with nothing to do {spread(took, lambda value: f'{value:.2f}')} s."


def tables(turns, others=()):
    return "\n\n".join([kernels(turns), waits([ROOT, *others], turns), setup(turns)])
