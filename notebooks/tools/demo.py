"""`make demo`: runs both notebooks in parallel, each in a real Rust kernel, with the live figure.

Environment variables replace the cells that are tagged `parameters`:

TIME_SPAN  seconds
SOURCE     `demo`, `replay:FILE` with a file or a folder, `bluesky` or `x`
RATE       tweets per second; for a replay, the speed, where 1 is the original pace; 0: no waiting
KAFKA      `embedded` or `apache`, or host:port of a running broker

The executed notebooks are written to target/demo.
"""

import os
import re
import sys
import threading
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = "application/vnd.live-sentiment+json"
QUIET = 5.0
LIVE = {"bluesky": "Bluesky::new()", "x": "X::from_env()?"}


def whole_path(file, program):
    """Returns the absolute path of a replay's file, because a kernel has another working directory."""
    path = Path(file).resolve()
    if not path.exists():
        sys.exit(f"{program}: failed to open the replay file {path}: it does not exist\nhint: give SOURCE=replay:FILE")
    return path


def number(name, default):
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        sys.exit(f"demo: invalid {name}={os.environ[name]!r}: it is not a number from 0 up\nhint: give a number such as {name}={default}")
    return value


def source(text, rate):
    kind, _, file = text.partition(":")
    if text in LIVE:
        return LIVE[text]
    if kind == "demo" and not file:
        pace = f".rate({rate})?" if rate else ".as_fast_as_possible()"
        return f"Demo::default(){pace}"
    if kind == "replay" and file:
        path = whole_path(file, "demo")
        pace = f".speed({rate})?" if rate else ".as_fast_as_possible()"
        quoted = str(path).replace("\\", "\\\\").replace('"', '\\"')
        return f'Replay::open("{quoted}")?{pace}'
    sys.exit(f"demo: invalid SOURCE={text!r}\nhint: give SOURCE=demo, replay:FILE, bluesky or x")


def engine(kafka):
    """Returns the engine that the notebook starts. If `kafka` is an address, puts it into the environment of
    both kernels."""
    if kafka in ("embedded", "apache"):
        return f"Engine::{kafka.capitalize()}"
    if not re.fullmatch(r"[^\s,:]+:\d+(,[^\s,:]+:\d+)*", kafka):
        sys.exit(f"demo: invalid KAFKA={kafka!r}\nhint: give KAFKA=embedded, apache or host:port")
    os.environ["KAFKA_BOOTSTRAP_SERVERS"] = kafka
    return "Engine::Embedded"


class Run(threading.Thread):
    """One notebook, executed cell by cell."""

    def __init__(self, name, parameters, timeout, others):
        super().__init__(name=name, daemon=True)
        # Neither kernel may end before the other notebook has finished, because the embedded broker ends with
        # the Streamer's kernel.
        self.barrier = others
        self.path = ROOT / "notebooks" / f"{name}.ipynb"
        self.notebook = nbformat.read(self.path, as_version=4)
        for cell in self.notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        if parameters:
            index = next(i for i, cell in enumerate(self.notebook.cells) if "parameters" in cell.metadata.get("tags", []))
            injected = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["injected-parameters"]})
            self.notebook.cells.insert(index + 1, injected)
        self.timeout = timeout
        self.error = None

    def run(self):
        client = NotebookClient(
            self.notebook,
            kernel_name="rust",
            timeout=self.timeout,
            startup_timeout=1200,
            resources={"metadata": {"path": str(self.path.parent)}},
            on_cell_executed=self.executed,
        )
        try:
            with client.setup_kernel():
                try:
                    for index, cell in enumerate(self.notebook.cells):
                        client.execute_cell(cell, index)
                    self.barrier.wait()
                except BaseException:
                    self.barrier.abort()
                    raise
        except threading.BrokenBarrierError:
            pass  # the other notebook has failed and reports the error
        except CellExecutionError as error:
            self.error = f"a cell failed:\n{error}"
        except Exception as error:  # any other error also ends the demo
            self.error = f"{type(error).__name__}: {error}"
        finally:
            folder = ROOT / "target" / "demo"
            folder.mkdir(parents=True, exist_ok=True)
            nbformat.write(self.notebook, folder / self.path.name)

    def executed(self, cell, cell_index, **_):
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/plain", "")
            if match := re.search(r"The live figure is at (\S+)", text):
                print(f"demo: the live figure is at {match[1]}", flush=True)
        first = cell.source.strip().splitlines()[0]
        print(f"demo: {self.name}: {first[:70]}", flush=True)

    def result(self):
        """Returns the numbers of the cell that is tagged `result`."""
        for cell in self.notebook.cells:
            if "result" in cell.metadata.get("tags", []):
                for output in cell.outputs:
                    if DATA in output.get("data", {}):
                        return output["data"][DATA]
        return None


def main():
    time_span = number("TIME_SPAN", 60)
    rate = number("RATE", 1 if os.environ.get("SOURCE", "").startswith("replay") else 20)
    if time_span == 0:
        sys.exit("demo: invalid TIME_SPAN=0: it ends before it starts\nhint: give a time span such as TIME_SPAN=60")
    chosen = source(os.environ.get("SOURCE") or "demo", rate)
    broker = engine(os.environ.get("KAFKA") or "embedded")
    timeout = int(time_span + QUIET + 600)
    barrier = threading.Barrier(2)
    parameters = f"let time_span = Duration::from_secs_f64({time_span:.3f});\nlet source = {chosen};\nlet engine = {broker};"
    runs = [Run("Streamer", parameters, timeout, barrier), Run("Listener", "", timeout, barrier)]
    print("demo: two Rust kernels are starting …", flush=True)
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    failed = [f"demo: {run.name}: {run.error}" for run in runs if run.error]
    streamer_result, listener_result = (run.result() for run in runs)
    if failed or streamer_result is None or listener_result is None:
        sys.exit("\n".join(failed) or "demo: a notebook displayed no result; see target/demo")
    sent, counted = streamer_result["sent"], listener_result["counted"]
    skipped, sentiment = sum(listener_result["skipped"].values()), listener_result["sum"]
    print(f"demo: sent {sent}, counted {counted}, lost {sent - counted}, skipped {skipped}, sentiment {sentiment:+.2f}")
    sys.exit(sent != counted)


if __name__ == "__main__":
    main()
