"""The common parts of the Python tests: brokers, and programs that end with their test."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from jupyter_client import KernelManager
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "target" / "release" / "examples"
KERNELS = ROOT / "target" / "kernel"
DEFAULT = "127.0.0.1:9092"
# The time limit of a wait. It is longer than any operation takes on a slow machine, so only a failing test
# waits this long.
LIMIT = 120


def until(what, done):
    end = time.monotonic() + LIMIT
    while not (result := done()):
        assert time.monotonic() < end, f"waited {LIMIT} s for: {what}"
        time.sleep(0.05)
    return result


@pytest.fixture
def start():
    """Starts a program. When the test ends, the program and the programs that it has started end too."""
    running = []

    def start(*command, **options):
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def broker(start, free_port):
    """Starts a real broker. Returns its address."""
    address = f"127.0.0.1:{free_port()}"
    url = f"tcp://{address}"
    start(ROOT / ".venv/bin/tansu", "broker", "--listener-url", url, "--advertised-listener-url", url, "--silent")
    until("the broker", lambda: listens(address))
    return address


@pytest.fixture
def apache():
    """Skips the test if Apache Kafka cannot run on this machine. `make test` then reports this at its end."""
    prepared = subprocess.run([ROOT / "kafka" / "prepare"], capture_output=True, text=True)
    if prepared.returncode != 0:
        assert "CI" not in os.environ, "CI must run all tests: " + prepared.stdout
        with open(ROOT / "target" / "not-run.txt", "a") as missing:
            missing.write(f"tests on Apache Kafka: {prepared.stdout.strip()}\n")
        pytest.skip(prepared.stdout.strip())


def text_of(content):
    """Returns the printed or displayed text in a message of a kernel."""
    return content.get("text") or content.get("evalue") or content.get("data", {}).get("text/plain") or ""


class Kernel:
    """A real Rust kernel, as JupyterLab starts it."""

    def __init__(self, variables):
        earlier = set(KERNELS.glob("kernel-*"))
        self.manager = KernelManager(kernel_name="rust")
        self.manager.start_kernel(cwd=str(ROOT / "notebooks"), env={**os.environ, **variables})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=300)
        # The name of its directory contains the process id of the start script, which becomes the kernel.
        (self.directory,) = set(KERNELS.glob("kernel-*")) - earlier

    def run(self, cell):
        """Runs a cell. Returns the status of the reply, and everything that the cell printed or displayed."""
        output = []

        def hook(message):
            content = message["content"]
            output.append(text_of(content))

        reply = self.client.execute_interactive(cell, timeout=300, output_hook=hook)
        return reply["content"]["status"], "".join(output)

    def run_apart(self, cell):
        """Runs a cell. Returns what it printed or displayed, and apart from it what it wrote to standard error,
        and its error."""
        output, errors = [], []

        def hook(message):
            content = message["content"]
            (errors if content.get("name") == "stderr" or "evalue" in content else output).append(text_of(content))

        self.client.execute_interactive(cell, timeout=300, output_hook=hook)
        return "".join(output), "".join(errors)

    def stop(self):
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()


@pytest.fixture
def start_kernel():
    """Starts kernels that end with the test."""
    running = []

    def start_kernel(**variables):
        running.append(Kernel(variables))
        return running[-1]

    yield start_kernel
    for kernel in running:
        kernel.stop()
    until("all processes and folders to be removed", no_kernel_is_left)


@pytest.fixture
def kernel(start_kernel):
    return start_kernel()


@pytest.fixture
def free_port():
    import socket

    def free_port():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return taken.getsockname()[1]

    return free_port


def listens(address):
    import socket

    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    except OSError:
        return False


def no_kernel_is_left():
    sockets = Path(tempfile.gettempdir()).glob("live-sentiment-*")
    return not listens(DEFAULT) and not list(KERNELS.glob("kernel-*")) and not list(sockets)


def figure_address(listener):
    """Reads the output of the listener until it contains the address of the figure."""
    for line in listener.stderr:
        if match := re.search(r"the live figure is at (\S+)", line):
            return match[1]
    raise AssertionError("the listener printed no address")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of the browser. An error or a warning on the page fails the test."""
    page = browser.new_page()
    messages = []
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("console", lambda message: messages.append(message.text) if message.type in ("error", "warning") else None)
    page.messages = messages
    yield page
    assert [message for message in messages if not re.search("ERR_|EventSource|a status of 4", message)] == []
    page.close()


def listen(start, broker, *more, port=0):
    listener = start(EXAMPLES / "listener", "--bootstrap", broker, "--figure-port", port, "--json", *more)
    return listener, figure_address(listener)


def stream(start, broker, *more):
    streamer = start(EXAMPLES / "streamer", "--bootstrap", broker, "--track", "bitcoin", "--track", "ethereum",
                     "--track", "dogecoin", "--language", "en", "--json", *more)
    output, errors = streamer.communicate(timeout=120)
    assert streamer.returncode == 0, errors
    return json.loads(output)


def shown(page, name):
    return page.locator(f"#{name}").inner_text()


def drawn_points(page):
    return page.evaluate("(document.getElementById('plot').data ?? []).map((trace) => trace.x.length)")


def processes_with(mark):
    """Returns the processes whose environment or command line contains the mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                held = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in held:
                found.append(int(entry.name))
    return found
