"""Measures the time and the memory of a listener as the number of tweets grows."""

import time

from machine import EXAMPLES, Apache, Program, figure_address, reached, say, table, topic, until

MARKS = (100_000, 1_000_000, 10_000_000)


def tables(kind):
    # The embedded broker keeps all messages in memory and searches them from the start. This is too slow for ten million.
    marks = MARKS if kind is Apache else MARKS[:2]
    rows = []
    with kind() as broker:
        name = topic(broker)
        fill = [EXAMPLES / "streamer", "--bootstrap", broker.address, "--topic", name, "--rate", 0, "--count", marks[-1], "--json"]
        with Program(*fill, limit=600) as streamer:
            streamer.end()
        say("growth: the topic is filled")
        listen = [EXAMPLES / "listener", "--bootstrap", broker.address, "--topic", name, "--figure-port", 0, "--json"]
        with Program(*listen, stderr=True) as listener:
            address = figure_address(listener)
            last = (time.perf_counter(), 0)
            for mark in marks:
                size, update = until(lambda: reached(address, mark), f"{mark} counted", limit=600, pause=0.02)
                now = (time.perf_counter(), update["counted"])
                micros = (now[0] - last[0]) / (now[1] - last[1]) * 1e6
                rows.append([f"{mark:,}", f"{micros:.1f}", f"{listener.memory('VmRSS'):.0f}", f"{listener.memory():.0f}", f"{size / 1000:.0f}"])
                last = now
    head = ["tweets", "µs per tweet since the previous row", "listener memory, MB", "peak", "first update of a new page, kB"]
    note = f"One run on {kind.name}: a listener reads a full topic. The first row includes the start.\n\n"
    return note + table(head, rows)
