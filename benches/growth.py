"""What grows with the number of tweets: a listener on one topic, looked at on its way."""

import json
import threading
import time
import urllib.request
from pathlib import Path

from machine import EXAMPLES, Apache, Program, say, table, thousands, topic, until

MARKS = (100_000, 1_000_000, 10_000_000)


def first_event(address):
    """What a page gets that opens now: one event, in bytes and as read."""
    with urllib.request.urlopen(address + "events", timeout=60) as events:
        for line in events:
            if line.startswith(b"data:"):
                return len(line), json.loads(line[5:])


def address_of(listener):
    for line in listener.process.stderr:
        if "the live figure is at " in line:
            return line.split("the live figure is at ")[1].strip()


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
            address = address_of(listener)
            threading.Thread(target=listener.process.stderr.read, daemon=True).start()
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


def reached(address, mark):
    size, seen = first_event(address)
    return (size, seen) if seen["heard"] >= mark else None
