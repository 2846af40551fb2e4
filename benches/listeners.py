"""Measures the cost of a second listener: one and two listeners of the same topic in one process, with one
figure."""

from machine import EXAMPLES, HOME, Program, median, say, spread, table, thousands, topic
from throughput import file_of, make_files

COUNT = 600_000


def tables(kind, turns):
    make_files([COUNT])
    found = {"one listener": [], "two listeners": []}
    with kind() as broker:
        name = topic(broker)
        with Program(EXAMPLES / "streamer", "--bootstrap", broker.address, "--topic", name, "--source", "replay",
                     "--file", file_of(COUNT), "--rate", 0, "--json") as streamer:
            streamer.end()
        for _ in range(turns):
            for which, more in (("one listener", []), ("two listeners", ["--compare"])):
                with Program(EXAMPLES / "listener", "--bootstrap", broker.address, "--topic", name, "--count", COUNT,
                             "--figure-port", 0, "--json", *more) as listener:
                    found[which].append(listener.end())
        say("several listeners")
    rows = []
    for which, runs in found.items():
        rates = [COUNT / run.seconds for run in runs]
        rows.append([which, spread(rates, thousands), f"{median([run.cpu for run in runs]) / COUNT * 1e6:.1f}", f"{median([run.memory for run in runs]):.0f}"])
    return f"{turns} runs each, alternating, on {kind.name}; {COUNT:,} tweets, which each listener counts.\n\n" + table(
        ["", "tweets per second", "CPU µs per tweet", "memory, MB"], rows)
