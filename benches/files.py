"""Compares the time to read a file of a million tweets with pandas and with Python's json. Each program has
the texts, the authors, the followers and the times at the end of a tweet, and keeps none of them, apart from
pandas, which returns a table."""

import csv
import gzip
import json
import random
import shutil
import subprocess
import sys

from machine import HOME, PEERS, ROOT, Program, median, say, spread, table
from throughput import demo_tweets

ROWS = 1_000_000
TURNS = 3
FOLDER = HOME / "files"
TABLE, LINES = FOLDER / "bitcoin.csv", FOLDER / "v1.jsonl"
COLUMNS = "user_name,user_location,user_description,user_created,user_followers,user_friends,user_favourites,user_verified,date,text,hashtags,source,is_retweet".split(",")
# The size of a line, in bytes. Fields that no reader needs fill it.
LINE_BYTES = 3_000


def write_files():
    """Writes the table, the lines of X's API v1.1, and both compressed with gzip, once per machine."""
    if all(path.exists() for path in (TABLE, LINES, zipped(TABLE), zipped(LINES))):
        return
    say(f"files: writing {ROWS:,} tweets as a table and as lines (2 minutes, 6 GB)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    tweets = demo_tweets()
    choose = random.Random(1)
    with open(TABLE, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for number in range(ROWS):
            tweet = tweets[number % len(tweets)]
            about = f"I write about coins,\nand about \"{choose.choice(['art', 'sport', 'food'])}\""
            date = f"2021-02-{1 + number * 28 // ROWS:02d} {number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
            rows.writerow([tweet["user"], "somewhere", about, "2018-01-01 00:00:00", float(tweet["followers"]), 10.0, 20.0, False, date, tweet["text"], "['bitcoin']", "Twitter Web App", False])
    with open(LINES, "w") as file:
        for number in range(ROWS):
            tweet = tweets[number % len(tweets)]
            line = {
                "created_at": f"Mon Feb {1 + number * 28 // ROWS:02d} {number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d} +0000 2021",
                "id": 10**18 + number, "id_str": str(10**18 + number), "text": tweet["text"], "truncated": False,
                "entities": {"hashtags": [{"text": "bitcoin", "indices": [3, 11]}], "urls": [], "user_mentions": []},
                "user": {"id": number, "id_str": str(number), "screen_name": tweet["user"], "followers_count": tweet["followers"], "verified": False, "friends_count": 10},
                "geo": None, "coordinates": None, "retweet_count": 0, "favorite_count": 0, "lang": tweet["lang"],
            }  # fmt: skip
            line["user"]["description"] = "about " * ((LINE_BYTES - len(json.dumps(line))) // 6)
            file.write(json.dumps(line) + "\n")
    for path in (TABLE, LINES):
        with open(path, "rb") as plain, gzip.open(zipped(path), "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)


def zipped(path):
    return path.with_name(path.name + ".gz")


def program():
    """Compiles the benchmark, and returns its path."""
    command = ["cargo", "bench", "--quiet", "--workspace", "--no-run", "--bench", "files", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    artifacts = (json.loads(line) for line in built.splitlines())
    return next(artifact["executable"] for artifact in artifacts if artifact["reason"] == "compiler-artifact" and artifact.get("executable"))


def measure(*command):
    with Program(*command, limit=600) as run:
        measured = run.end()
    if measured.result["tweets"] != ROWS:
        raise RuntimeError(f"{command} has read {measured.result}")
    return measured.result["seconds"], measured.cpu, measured.memory


def tables():
    write_files()
    ours = program()
    rows = []
    for path, peer in ((TABLE, "pandas"), (zipped(TABLE), "pandas"), (LINES, "json"), (zipped(LINES), "json")):
        found = {"ours": [], peer: []}
        for turn in range(TURNS):
            found["ours"].append(measure(ours, path))
            found[peer].append(measure(sys.executable, PEERS / "files.py", peer, path))
            say(f"files: {path.name}, turn {turn + 1} of {TURNS}")
        (seconds, cpu, memory), (other, other_cpu, other_memory) = (list(zip(*found[name])) for name in ("ours", peer))
        name = {"pandas": "pandas' read_csv", "json": "Python's json"}[peer]
        rows.append([
            f"{path.name}, {path.stat().st_size / 1e6:,.0f} MB", f"**{median(other) / median(seconds):.1f} times** {name}", spread(seconds),
            spread(other), f"{median(cpu):.1f} / {median(other_cpu):.1f}", f"{median(memory):.0f} / {median(other_memory):.0f}",
        ])  # fmt: skip
    about = f"{ROWS:,} tweets: a table with the 13 columns of the Bitcoin tweets on Kaggle, and lines of {LINE_BYTES / 1000:.0f} kB as X's API v1.1 writes them; {TURNS} runs each, alternating, from memory.\n\n"
    return about + table(["file", "we are faster by", "seconds", "theirs", "CPU s: ours / theirs", "peak memory, MB: ours / theirs"], rows)
