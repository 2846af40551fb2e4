"""The common parts of the benchmarks: programs that are measured from outside, brokers that end with this
process, and the format of tables.

The rate of a program is (tweets − 1) / (time for all − time for one). So neither its start nor Python's
imports count, and the method is the same for each program."""

import ctypes
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "target" / "bench"
EXAMPLES = ROOT / "target" / "release" / "examples"
PEERS = ROOT / "benches" / "peers"


def end_with_parent():
    """Runs in the child process before its program starts. Tells Linux to kill the child when this process ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Measured:
    def __init__(self, seconds, cpu, memory, result):
        self.seconds, self.cpu, self.memory, self.result = seconds, cpu, memory, result


class Program:
    """A child process. `end` waits for its end and returns the measurements. Leaving the `with` block kills it."""

    def __init__(self, *command, limit=300, stderr=False):
        self.began = time.perf_counter()
        self.limit = limit
        HOME.mkdir(parents=True, exist_ok=True)
        self.output = open(HOME / f"output-{os.getpid()}-{time.monotonic_ns()}", "w+")
        self.process = subprocess.Popen(
            [str(part) for part in command], cwd=HOME, stdin=subprocess.DEVNULL, stdout=self.output,
            stderr=subprocess.PIPE if stderr else subprocess.DEVNULL, text=True, preexec_fn=end_with_parent,
        )
        self.over = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.output.close()
        Path(self.output.name).unlink(missing_ok=True)

    def kill(self):
        if not self.over:
            self.process.kill()
            self.process.wait()
            self.over = True

    def memory(self, which="VmHWM"):
        """Returns the peak memory, or with `VmRSS` the current memory, in MB. (`wait4` would include the
        memory of this process from before the program started.)"""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(which)), 0)

    def end(self):
        most = 0
        while True:
            most = max(most, self.memory())
            done, status, used = os.wait4(self.process.pid, os.WNOHANG)
            if done:
                break
            if time.perf_counter() - self.began > self.limit:
                self.process.kill()
            time.sleep(0.005)
        seconds = time.perf_counter() - self.began
        self.over = True
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.output.seek(0)
        output = self.output.read().strip()
        if self.process.returncode != 0:
            raise RuntimeError(f"{self.process.args} ended with {self.process.returncode} after {seconds:.0f} s: {output}")
        last = output.splitlines()[-1] if output else "null"
        return Measured(seconds, used.ru_utime + used.ru_stime, most, json.loads(last))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(done, what, limit=120, pause=0.05):
    end = time.monotonic() + limit
    while not (result := done()):
        if time.monotonic() > end:
            raise RuntimeError(f"waited {limit} s for {what}")
        time.sleep(pause)
    return result


def listens(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


class Embedded:
    name = "the embedded broker"

    def __enter__(self):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        url = f"tcp://{self.address}"
        self.program = Program(ROOT / ".venv/bin/tansu", "broker", "--listener-url", url, "--advertised-listener-url", url, "--silent")
        until(lambda: listens(port), "the embedded broker")
        return self

    def __exit__(self, *_):
        self.program.__exit__()


class Apache:
    name = "Apache Kafka 4.3.0"

    @staticmethod
    def is_there():
        return subprocess.run([ROOT / "kafka/prepare"], stdout=subprocess.DEVNULL).returncode == 0

    def __enter__(self):
        port, controller = free_port(), free_port()
        self.address = f"127.0.0.1:{port}"
        self.data = HOME / f"kafka-{port}"
        HOME.mkdir(parents=True, exist_ok=True)
        properties = (ROOT / "kafka/server.properties").read_text().replace(":9092", f":{port}").replace(":9093", f":{controller}")
        file = HOME / f"kafka-{port}.properties"
        file.write_text(properties.replace("log.dirs=target/kafka/data", f"log.dirs={self.data}"))
        self.program = Program(ROOT / "kafka/run", file)
        until(lambda: listens(port) and "Kafka Server started" in Path(self.program.output.name).read_text(), "Apache Kafka")
        return self

    def __exit__(self, *_):
        self.program.__exit__()
        shutil.rmtree(self.data, ignore_errors=True)


_topics = 0


def topic(broker):
    """Creates a topic and returns its name."""
    global _topics
    _topics += 1
    name = f"tweets-{_topics}"
    with Program(EXAMPLES / "streamer", "--bootstrap", broker.address, "--topic", name, "--rate", 0, "--count", 0, "--json") as made:
        made.end()
    return name


def figure_address(listener):
    """Returns the address of a listener's figure. A thread reads the rest of the listener's output."""
    for line in listener.process.stderr:
        if "the live figure is at " in line:
            threading.Thread(target=listener.process.stderr.read, daemon=True).start()
            return line.split("the live figure is at ")[1].strip()


def reached(address, counted):
    """Returns the first update of a new page: its size in bytes, and its listener. Returns None if the listener has
    not counted `counted` tweets yet."""
    with urllib.request.urlopen(address + "events", timeout=60) as events:
        event = next(line for line in events if line.startswith(b"data:"))
    update = json.loads(event[5:])
    listener = update["listeners"][0] if update["listeners"] else {"counted": -1}
    return (len(event), listener) if listener["counted"] >= counted else None


def median(values):
    return statistics.median(values)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def thousands(number):
    """Formats a number with three significant digits. A noisy machine cannot reproduce more."""
    if number <= 0:
        return "0"
    digits = 3 - len(str(int(number)))
    return f"{round(number, digits):,.0f}" if digits <= 0 else f"{number:.{min(digits, 2)}f}"


def spread(values, form=thousands):
    return f"{form(median(values))} ({form(min(values))}–{form(max(values))})"


def say(text):
    print(f"bench: {text}", flush=True)
