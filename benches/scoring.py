"""Compares the time of a score, and its agreement with the ratings of people, with other implementations."""

import json
import statistics
import subprocess
import sys

from machine import EXAMPLES, PEERS, ROOT, median, say, spread, table
from throughput import demo_tweets

TEXTS = 2_000
RATED = ROOT.parent / "shared" / "data" / "tweets_icwsm2014.tsv"
OURS, CRATE = "ours", "vader_sentiment 0.1.1"


def lines(texts):
    return "".join(json.dumps(text) + "\n" for text in texts)


def in_rust(name):
    """Returns microseconds per tweet, measured by criterion: cargo bench --workspace --bench scoring."""
    subprocess.run(
        ["cargo", "bench", "--quiet", "--workspace", "--bench", "scoring", "--", "--warm-up-time", "0.5", "--measurement-time", "2", name],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    estimates = ROOT / "target" / "criterion" / "score 2,000 tweets" / name / "new" / "estimates.json"
    return json.loads(estimates.read_text())["median"]["point_estimate"] / TEXTS / 1e3


def in_python(name, texts):
    done = subprocess.run([sys.executable, PEERS / "scoring.py", name], input=lines(texts), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def rust_scores(name, texts):
    done = subprocess.run([EXAMPLES / "score", "--by", name], input=lines(texts), capture_output=True, text=True, check=True)
    return [json.loads(line)["compound"] for line in done.stdout.splitlines()]


def agreements():
    if not RATED.exists():
        say("the 4,200 rated tweets are missing (../shared/data): the agreement with people is not measured")
        return ["not measured"] * 4
    rows = [line.split("\t", 2) for line in RATED.read_text(encoding="utf-8").splitlines()]
    ratings, texts = [float(row[1]) for row in rows], [row[2] for row in rows]
    found = [
        rust_scores("ours", texts), rust_scores("vader-sentiment", texts),
        in_python("vader", texts)["scores"], in_python("textblob", texts)["scores"],
    ]
    return [f"{statistics.correlation(scores, ratings):.3f}" for scores in found]


def tables(turns):
    texts = [tweet["text"] for tweet in demo_tweets()[:TEXTS]]
    measures = [
        ("live_sentiment", lambda: in_rust(OURS)),
        (f"the crate {CRATE}", lambda: in_rust(CRATE)),
        ("Python vaderSentiment 3.3.2", lambda: in_python("vader", texts)["micros"]),
        ("TextBlob", lambda: in_python("textblob", texts)["micros"]),
    ]
    micros = {name: [] for name, _ in measures}
    for turn in range(turns):
        for name, measure in measures:
            micros[name].append(measure())
        say(f"scoring: turn {turn + 1} of {turns}")
    ours = median(micros["live_sentiment"])
    rows = [
        [name, "1" if name == "live_sentiment" else f"**{median(took) / ours:.0f} times**", spread(took), agreement]
        for (name, took), agreement in zip(micros.items(), agreements())
    ]
    note = f"{TEXTS:,} demo tweets, one core. Agreement: Pearson's correlation with the mean rating of 20 people for each of 4,200 real tweets.\n\n"
    return note + table(["", "we are faster by", "µs per tweet", "agreement with people"], rows)
