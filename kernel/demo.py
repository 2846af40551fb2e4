"""`make demo`: both notebooks in parallel, each in a real Rust kernel, with the live figure.

TIME_SPAN (seconds), SOURCE (`demo`, `replay:FILE`, `bluesky` or `x`), RATE (tweets a second; of a replay: times
its own pace; 0: as fast as possible) and KAFKA (`embedded`, `apache`) change the cells that are
tagged `parameters`. KAFKA=host:port names a Kafka that runs. The executed notebooks go to target/demo.
"""

import os
import re
import sys
import threading
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
DATA = "application/vnd.live-sentiment+json"
SILENCE = 5.0
LIVE = {"bluesky": "Bluesky::new()", "x": "X::from_env()?"}


def number(name, default):
    try:
        value = float(os.environ.get(name) or default)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        sys.exit(f"demo: {name}={os.environ[name]!r} is no number from 0 up; give one such as {name}={default}")
    return value


def source(text, rate):
    kind, _, file = text.partition(":")
    if text in LIVE:
        return LIVE[text]
    if kind == "demo" and not file:
        pace = f".rate({rate})?" if rate else ".as_fast_as_possible()"
        return f"Demo::default(){pace}"
    if kind == "replay" and file:
        path = Path(file).resolve()
        if not path.is_file():
            sys.exit(f"demo: opened the replay file {path}: there is none. Give SOURCE=replay:FILE.")
        pace = f".speed({rate})?" if rate else ".as_fast_as_possible()"
        quoted = str(path).replace("\\", "\\\\").replace('"', '\\"')
        return f'Replay::open("{quoted}")?{pace}'
    sys.exit(f"demo: SOURCE={text!r} is none; give SOURCE=demo, replay:FILE, bluesky or x")


def engine(kafka):
    """The engine that the notebook is to start; an address is for both kernels' environment."""
    if kafka in ("embedded", "apache"):
        return f"Engine::{kafka.capitalize()}"
    if not re.fullmatch(r"[^\s,:]+:\d+(,[^\s,:]+:\d+)*", kafka):
        sys.exit(f"demo: KAFKA={kafka!r} is none; give KAFKA=embedded, apache or host:port")
    os.environ["KAFKA_BOOTSTRAP_SERVERS"] = kafka
    return "Engine::Embedded"


class CellFailed(Exception):
    """An error left a cell through `?`. evcxr prints it and calls the cell a success all the same."""


def check(cell):
    said = [output.text for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    if said:
        raise CellFailed("a cell failed:\n" + cell.source + "\n\n" + "".join(said))


class Run(threading.Thread):
    """One notebook, executed cell by cell; its words are printed as they come."""

    def __init__(self, name, parameters, timeout, others):
        super().__init__(name=name, daemon=True)
        # Kernels end together: with the Streamer's, the embedded broker ends.
        self.together = others
        self.path = ROOT / "notebooks" / f"{name}.ipynb"
        self.notebook = nbformat.read(self.path, as_version=4)
        for cell in self.notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        place = next(i for i, cell in enumerate(self.notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        if parameters:
            injected = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["injected-parameters"]})
            self.notebook.cells.insert(place + 1, injected)
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
                        check(cell)
                    self.together.wait()
                except BaseException:
                    self.together.abort()
                    raise
        except threading.BrokenBarrierError:
            pass  # the other notebook has failed, and says why
        except CellExecutionError as error:
            self.error = f"a cell failed:\n{error}"
        except CellFailed as error:
            self.error = str(error)
        except Exception as error:  # whatever ends a kernel ends the demo with its reason
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
        """What the cell tagged `result` has returned, as numbers."""
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
        sys.exit("demo: TIME_SPAN=0: nothing can be streamed in no time; give one such as TIME_SPAN=60")
    chosen = source(os.environ.get("SOURCE") or "demo", rate)
    broker = engine(os.environ.get("KAFKA") or "embedded")
    timeout = int(time_span + SILENCE + 600)
    together = threading.Barrier(2)
    streamer = f"let time_span = Duration::from_secs_f64({time_span:.3f});\nlet source = {chosen};\nlet engine = {broker};"
    runs = [Run("Streamer", streamer, timeout, together), Run("Listener", "", timeout, together)]
    print("demo: two Rust kernels are starting …", flush=True)
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    failed = [f"demo: {run.name}: {run.error}" for run in runs if run.error]
    streamed, heard = (run.result() for run in runs)
    if failed or streamed is None or heard is None:
        sys.exit("\n".join(failed) or "demo: a notebook has shown no result; see target/demo")
    sent, got = streamed["sent"], heard["heard"]
    skipped = sum(heard["skipped"].values())
    print(f"demo: streamed {sent}, heard {got}, lost {sent - got}, skipped {skipped}, sentiment {heard['sum']:+.2f}")
    sys.exit(sent != got)


if __name__ == "__main__":
    main()
