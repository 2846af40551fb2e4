"""How long a user waits from the start of a kernel, and from Run All, to the first point of the live
figure, with our kernel and with an unmodified evcxr; and for `make setup`.

The Listener notebook runs while a streamer program streams. An unmodified evcxr takes minutes, so it is
measured once per machine (`benches/run evcxr`), and the result is kept with its date."""

import datetime
import json
import os
import re
import shutil
import subprocess
import threading
import time

import nbformat
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec

from machine import EXAMPLES, HOME, ROOT, Embedded, Program, median, reached, say, spread, table, until

TOOLS = ROOT / "target" / "tools" / "bin"
SETUP = ROOT / "target" / "setup.seconds"
PLAIN = HOME / "evcxr.json"


def ours():
    spec = json.loads((ROOT / ".venv/share/jupyter/kernels/rust/kernel.json").read_text())
    return spec["argv"], {}


def plain():
    """evcxr as `cargo install` installs it: no settings, and an empty directory to compile in."""
    shutil.rmtree(HOME / "evcxr", ignore_errors=True)
    folders = {name: HOME / "evcxr" / name for name in ("EVCXR_TMPDIR", "EVCXR_CONFIG_DIR", "JUPYTER_PATH")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return [str(TOOLS / "evcxr_jupyter"), "--control_file", "{connection_file}"], {name: str(path) for name, path in folders.items()}


def cells():
    """Yields the cells up to the one that starts the listener."""
    notebook = nbformat.read(ROOT / "notebooks" / "Listener.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell.source
            if "figure.show(" in cell.source:
                return


def run(kernel, broker):
    """Returns the seconds until the kernel is ready, and from Run All to the first point."""
    argv, more = kernel()
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(argv=argv, display_name="Rust", language="rust", interrupt_mode="message")
    began = time.monotonic()
    manager.start_kernel(env={**os.environ, **more, "KAFKA_BOOTSTRAP_SERVERS": broker.address}, cwd=str(ROOT / "notebooks"))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=600)
        ready = time.monotonic() - began
        output = []
        first = threading.Event()
        point = []

        def look():
            address = until(lambda: re.search(r"http://127\.0\.0\.1:\d+/", "".join(output)), "the address of the figure", limit=600)[0]
            until(lambda: reached(address, 1), "the first point", limit=600)
            point.append(time.monotonic())
            first.set()

        threading.Thread(target=look, daemon=True).start()
        began = time.monotonic()
        for cell in cells():
            client.execute_interactive(cell, timeout=600, output_hook=lambda message: output.append(str(message["content"])))
        if not first.wait(60):
            raise RuntimeError("no point was drawn:\n" + "".join(output)[-2000:])
        return ready, point[0] - began
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def streamer(broker):
    return [EXAMPLES / "streamer", "--bootstrap", broker.address, "--track", "bitcoin", "--json"]


def measure_plain():
    say("unmodified evcxr: 5 minutes …")
    with Embedded() as broker, Program(*streamer(broker)):
        PLAIN.write_text(json.dumps({"date": str(datetime.date.today()), "run": run(plain, broker)}))


def kernels(turns):
    found = {"ours": []}
    with Embedded() as broker:
        with Program(*streamer(broker)):
            for turn in range(turns):
                found["ours"].append(run(ours, broker))
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
    return f"`make setup`: from nothing {nothing}; with nothing to do {spread(took, lambda value: f'{value:.1f}')} s."


def tables(turns):
    return kernels(turns) + "\n\n" + setup(turns)
