"""What the Python tests share: programs that end with their test, and brokers."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "target" / "release" / "examples"
KERNELS = ROOT / "target" / "kernel"
DEFAULT = "127.0.0.1:9092"
# Longer than anything takes on a slow machine. Only a failing test waits this long.
LIMIT = 120


def until(what, done):
    end = time.monotonic() + LIMIT
    while not (result := done()):
        assert time.monotonic() < end, f"waited {LIMIT} s for: {what}"
        time.sleep(0.05)
    return result


@pytest.fixture
def start():
    """Starts a program that ends with the test, together with the programs that it starts."""
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
    """Skips the test if Apache Kafka cannot run here. `make test` then says so at its end."""
    prepared = subprocess.run([ROOT / "kafka" / "prepare"], capture_output=True, text=True)
    if prepared.returncode != 0:
        assert "CI" not in os.environ, "CI must run all tests: " + prepared.stdout
        with open(ROOT / "target" / "not-run.txt", "a") as missing:
            missing.write(f"tests on Apache Kafka: {prepared.stdout.strip()}\n")
        pytest.skip(prepared.stdout.strip())


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
    return not listens(DEFAULT) and not list(KERNELS.glob("kernel-*"))


def figure_address(listener):
    """Reads the output of the listener until it contains the address of the figure."""
    for line in listener.stderr:
        if match := re.search(r"the live figure is at (\S+)", line):
            return match[1]
    raise AssertionError("the listener printed no address")


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
