"""`make bench` measures this project and its alternatives, prints the tables, and writes docs/benchmarks.md.
`make bench-quick` measures only throughput on one broker and scoring, with two runs each, and writes no
file.

Unless a table says otherwise, each number is the median of five runs. The minimum and the maximum are in
parentheses. The runs alternate with those of the alternatives."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import files
import growth
import latency
import listeners
import mistakes
import notebook
import page_soak
import scoring
import throughput
from machine import ROOT, Apache, Embedded, say

TURNS = 5


def first(command):
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(open("/proc/meminfo").readline().split()[1]) / 1e6
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    packages = "kafka-python textblob numpy confluent-kafka vaderSentiment quixstreams bytewax dash plotly pandas".split()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{datetime.date.today()}, {os.cpu_count()} cores ({model}), {memory:.0f} GB, load before {load}; "
        f"{first(['rustc', '--version'])}, Python {platform.python_version()}, {versions}."
    )


INTRODUCTION = """# Benchmarks

`make bench` (`benches/`) writes this page. Unless a table says otherwise, each number is the median of
{turns} runs. The minimum and the maximum are in parentheses. The runs alternate with those of the
alternatives. The ratio is the first column, because absolute numbers depend on the machine and its load.
The alternatives are in `benches/peers/`, written as their documentation recommends.

{machine}
"""


def main(quick):
    began = time.monotonic()
    about = machine()
    parts = []

    def part(title, text):
        parts.append(f"## {title}\n\n{text}\n")
        print(f"\n{parts[-1]}", flush=True)

    if quick:
        part("Throughput", throughput.ABOUT + throughput.tables([Embedded], 2))
        part("Scoring", scoring.tables(2))
        return
    if not notebook.PLAIN.exists():
        notebook.measure_plain()
    kinds = [Embedded, Apache] if Apache.is_there() else [Embedded]
    part("Throughput", throughput.ABOUT + throughput.tables(kinds, TURNS))
    part("Latency to the screen", latency.tables(kinds[-1], TURNS))
    part("Growth", growth.tables(kinds[-1]))
    part("Several listeners", listeners.tables(kinds[-1], TURNS))
    part("Files", files.tables())
    part("Scoring", scoring.tables(TURNS))
    part("Notebooks", notebook.tables(TURNS))
    part("Mistakes", mistakes.tables(TURNS))
    if len(kinds) == 1:
        parts.append("Java or Maven is missing, so nothing was measured on Apache Kafka.\n")
    head = INTRODUCTION.format(turns=TURNS, machine=about)
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join([head, *parts]))
    say(f"docs/benchmarks.md is written, after {(time.monotonic() - began) / 60:.1f} minutes")


def notebooks(others):
    """Measures only the notebooks, and replaces their part of docs/benchmarks.md. If other checkouts are
    given, the measurements alternate between the checkouts."""
    file = ROOT / "docs" / "benchmarks.md"
    before, _, after = file.read_text().partition("## Notebooks\n")
    _, heading, rest = after.partition("\n## ")
    text = f"{machine()}\n\n{notebook.tables(TURNS, others)}"
    file.write_text(f"{before}## Notebooks\n\n{text}\n{heading}{rest}")
    say("the part Notebooks of docs/benchmarks.md is written")


if sys.argv[1:] == ["evcxr"]:
    notebook.measure_plain()
elif sys.argv[1:2] == ["soak"]:
    page_soak.soak(int(sys.argv[2]))
elif sys.argv[1:] == ["files"]:
    print(files.tables())
elif sys.argv[1:] == ["mistakes"]:
    print(mistakes.tables(TURNS))
elif sys.argv[1:2] == ["notebook"]:
    notebooks([Path(root).resolve() for root in sys.argv[2:]])
else:
    main(quick=sys.argv[1:] == ["quick"])
