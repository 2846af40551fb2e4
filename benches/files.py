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


def moment(number):
    """Returns the day of the month and the time of day of a tweet."""
    return f"{1 + number * 28 // ROWS:02d}", f"{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}"


def status(number, tweet):
    """Returns a tweet with a photo, a link and a mention, with the fields that X's API v1.1 gave it."""
    tweet_id, image = 10**18 + number, f"https://pbs.twimg.com/media/E{number:014d}.jpg"
    url = {"url": "https://t.co/abcdefghij", "expanded_url": f"https://example.com/{number}", "display_url": "example.com", "indices": [40, 63]}
    size = {name: {"w": width, "h": width * 2 // 3, "resize": resize} for name, width, resize in (("thumb", 150, "crop"), ("small", 680, "fit"), ("medium", 1200, "fit"), ("large", 2048, "fit"))}
    media = {"id": tweet_id, "id_str": str(tweet_id), "media_url": image, "media_url_https": image, "type": "photo", "sizes": size} | url
    colors = {f"profile_{part}_color": "1DA1F2" for part in ("background", "link", "sidebar_border", "sidebar_fill", "text")}
    images = {f"profile_{part}": image for part in ("background_image_url", "background_image_url_https", "image_url", "image_url_https", "banner_url")}
    user = {
        "id": number, "id_str": str(number), "name": tweet["user"], "screen_name": tweet["user"], "location": "somewhere", "url": url["url"],
        "description": "I write about coins, and about art", "translator_type": "none", "protected": False, "verified": False,
        "followers_count": tweet["followers"], "friends_count": 10, "listed_count": 1, "favourites_count": 20, "statuses_count": 300,
        "created_at": "Mon Jan 01 00:00:00 +0000 2018", "utc_offset": None, "time_zone": None, "geo_enabled": True, "lang": None,
        "contributors_enabled": False, "is_translator": False, "profile_background_tile": False, "profile_use_background_image": True,
        "default_profile": True, "default_profile_image": False, "following": None, "follow_request_sent": None, "notifications": None,
    } | colors | images  # fmt: skip
    return {
        "created_at": "Mon Feb {} {} +0000 2021".format(*moment(number)),
        "id": tweet_id, "id_str": str(tweet_id), "text": tweet["text"], "source": "<a href=\"https://mobile.twitter.com\">Twitter Web App</a>",
        "truncated": False, "in_reply_to_status_id": None, "in_reply_to_status_id_str": None, "in_reply_to_user_id": None,
        "in_reply_to_user_id_str": None, "in_reply_to_screen_name": None, "user": user, "geo": None, "coordinates": None, "place": None,
        "contributors": None, "is_quote_status": False, "quote_count": 0, "reply_count": 0, "retweet_count": 0, "favorite_count": 0,
        "entities": {"hashtags": [{"text": "bitcoin", "indices": [3, 11]}], "urls": [url], "symbols": [], "media": [media],
                     "user_mentions": [{"screen_name": "ada", "name": "Ada", "id": 1, "id_str": "1", "indices": [0, 4]}]},
        "extended_entities": {"media": [media]}, "favorited": False, "retweeted": False, "possibly_sensitive": False,
        "filter_level": "low", "lang": tweet["lang"], "timestamp_ms": str(1612137600000 + number),
    }  # fmt: skip


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
            date = "2021-02-{} {}".format(*moment(number))
            rows.writerow([tweet["user"], "somewhere", about, "2018-01-01 00:00:00", float(tweet["followers"]), 10.0, 20.0, False, date, tweet["text"], "['bitcoin']", "Twitter Web App", False])
    with open(LINES, "w") as file:
        for number in range(ROWS):
            tweet = tweets[number % len(tweets)]
            file.write(json.dumps(status(number, tweet)) + "\n")
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
    about = f"{ROWS:,} tweets: a table with the 13 columns of the Bitcoin tweets on Kaggle, and lines of {LINES.stat().st_size / ROWS / 1000:.1f} kB as X's API v1.1 writes them; {TURNS} runs each, alternating, from memory.\n\n"
    return about + table(["file", "we are faster by", "seconds", "theirs", "CPU s: ours / theirs", "peak memory, MB: ours / theirs"], rows)
