"""What grows with the number of tweets: a listener on one topic, looked at on its way."""

import time

from machine import EXAMPLES, Apache, Program, figure_address, reached, say, table, topic, until

MARKS = (100_000, 1_000_000, 10_000_000)


def tables(kind):
    # The embedded broker keeps all in memory and reads it from the start: ten million are not its work.
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
                size, seen = until(lambda: reached(address, mark), f"{mark} heard", limit=600, pause=0.02)
                now = (time.perf_counter(), seen["heard"])
                micros = (now[0] - last[0]) / (now[1] - last[1]) * 1e6
                rows.append([f"{mark:,}", f"{micros:.1f}", f"{listener.memory('VmRSS'):.0f}", f"{listener.memory():.0f}", f"{size / 1000:.0f}"])
                last = now
    head = ["tweets", "µs a tweet since the row above", "listener, MB now", "most so far", "a page that opens now gets, kB"]
    note = f"One run, on {kind.name}, while a listener goes through a topic that is full. The first row has the start in it.\n\n"
    return note + table(head, rows)
