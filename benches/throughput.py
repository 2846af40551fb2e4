"""Measures the tweets per second of streamer, listener and both, with CPU time and memory. This project and the
alternatives use the same tweets, one partition and the same broker, and must reach the same sum."""

import functools
import json
import math
import sys

from machine import EXAMPLES, HOME, PEERS, Apache, Embedded, Program, median, say, spread, table, thousands, topic

BASE = 20_000


class Ours:
    """This project. The numbers of tweets are so large that a run takes at least a second. Streaming alone is
    faster than listening, so it gets more tweets."""

    name, size, stream_size = "live_sentiment", 300_000, 600_000

    @staticmethod
    def stream(broker, name, count):
        return [EXAMPLES / "streamer", "--bootstrap", broker.address, "--topic", name, "--source", "replay",
                "--file", file_of(count), "--rate", 0, "--json"]

    @staticmethod
    def listen(broker, name, count):
        return [EXAMPLES / "listener", "--bootstrap", broker.address, "--topic", name, "--count", count, "--figure-port", 0, "--json"]


class Peer:
    def __init__(self, name, key, size, stream_size):
        self.name, self.key, self.size, self.stream_size = name, key, size, stream_size

    def stream(self, broker, name, count):
        return self.program("stream", broker, name, count, file_of(count))

    def listen(self, broker, name, count):
        return self.program("listen", broker, name, count)

    def program(self, what, broker, *more):
        return [sys.executable, PEERS / f"{self.key}.py", what, broker.address, *more]


ORIGINAL = Peer("kafka-python + TextBlob (the original)", "original", 6_000, 12_000)
PLAIN = Peer("confluent-kafka + vaderSentiment", "plain", 20_000, 150_000)
QUIX = Peer("Quix Streams + vaderSentiment", "quix", 12_000, 80_000)
WAX = Peer("Bytewax + vaderSentiment", "wax", 12_000, 50_000)
ALL = [Ours, ORIGINAL, PLAIN, QUIX, WAX]
# The frameworks are left out on the embedded broker, because joining a group takes longer there than the work.
PROGRAMS = {Apache: ALL, Embedded: [Ours, ORIGINAL, PLAIN]}
ABOUT = """Each program sends the same tweets from the same file as JSON through a topic of one partition. The
benchmark checks that each program reaches the expected sum. The rate is (tweets − 1) / (time for all − time
for one), so the start of a program does not count. Memory is the peak of the streamer and of the listener.

"""


def file_of(count):
    return HOME / f"tweets-{count}.jsonl"


@functools.cache
def demo_tweets():
    """Returns the 20,000 tweets that all files contain."""
    base = HOME / "base.jsonl"
    base.unlink(missing_ok=True)
    with Embedded() as broker:
        command = [EXAMPLES / "streamer", "--bootstrap", broker.address, "--rate", 0, "--count", BASE, "--save-to", base, "--json"]
        with Program(*command) as made:
            made.end()
    return [json.loads(line) for line in base.read_text().splitlines()]


def make_files(sizes):
    """Writes the files. A larger file repeats the same tweets with other ids."""
    tweets = demo_tweets()
    for size in sizes:
        with open(file_of(size), "w") as file:
            for number in range(size):
                file.write(json.dumps(tweets[number % BASE] | {"id": str(number)}, ensure_ascii=False) + "\n")


def sums(tweets):
    """Returns the expected sum after each tweet, computed without a broker."""
    from textblob import TextBlob
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    vader = SentimentIntensityAnalyzer()
    found = {"vader": [0.0], "textblob": [0.0]}
    for tweet in tweets:
        weight = math.log(tweet["followers"] + 1)
        found["vader"].append(found["vader"][-1] + vader.polarity_scores(tweet["text"])["compound"] * weight)
        found["textblob"].append(found["textblob"][-1] + TextBlob(tweet["text"]).sentiment.polarity * weight)
    return found


def expected(sums, program, count):
    prefix = sums["textblob" if program is ORIGINAL else "vader"]
    return prefix[-1] * (count // BASE) + prefix[count % BASE]


class Result:
    """The measurements of a program, by operation (stream, listen, both) and number of tweets."""

    def __init__(self):
        self.seconds, self.cpu, self.memory = {}, {}, {}

    def add(self, what, count, seconds, measured):
        self.seconds.setdefault((what, count), []).append(seconds)
        self.cpu.setdefault((what, count), []).append(sum(one.cpu for one in measured))
        self.memory.setdefault((what, count), []).append(max(one.memory for one in measured))

    def rates(self, what, size):
        start = median(self.seconds[what, 1])
        return [(size - 1) / (seconds - start) for seconds in self.seconds[what, size]]

    def cpu_per_million(self, what, size):
        return (median(self.cpu[what, size]) - median(self.cpu[what, 1])) / (size - 1) * 1e6


def stream(program, broker, count, result):
    with Program(*program.stream(broker, topic(broker), count)) as streamer:
        streamed = streamer.end()
    result.add("stream", count, streamed.seconds, [streamed])


def both(program, broker, count, result, sums):
    name = topic(broker)
    with Program(*program.listen(broker, name, count)) as listener, Program(*program.stream(broker, name, count)) as streamer:
        streamed, listened = streamer.end(), listener.end()
    check(program, count, listened, sums)
    result.add("both", count, max(streamed.seconds, listened.seconds), [streamed, listened])
    # The listener reads the same topic again, without a streamer.
    with Program(*program.listen(broker, name, count)) as listener:
        listened = listener.end()
    check(program, count, listened, sums)
    result.add("listen", count, listened.seconds, [listened])


def check(program, count, measured, sums):
    right, result = expected(sums, program, count), measured.result
    assert result["counted"] == count, f"{program.name}: {result}"
    assert abs(result["sum"] - right) < 1e-6 * max(1, abs(right)), f"{program.name}: {result['sum']} is not {right}"


def on(kind, programs, turns, sums):
    results = {program: Result() for program in programs}
    with kind() as broker:
        # This run warms up the Java broker, which is slow at first.
        both(Ours, broker, Ours.size, Result(), sums)
        for turn in range(turns):
            for program in programs:
                # For the start, three measurements are enough.
                ones = [1] if turn < 3 else []
                for count in (*ones, program.stream_size):
                    stream(program, broker, count, results[program])
                for count in (*ones, program.size):
                    both(program, broker, count, results[program], sums)
            say(f"throughput on {kind.name}: turn {turn + 1} of {turns}")
    return results


def tables(kinds, turns):
    programs = {program for kind in kinds for program in PROGRAMS[kind]}
    make_files({1} | {size for program in programs for size in (program.size, program.stream_size)})
    right = sums(demo_tweets())
    return "\n\n".join(one_table(kind, on(kind, PROGRAMS[kind], turns, right)) for kind in kinds)


def one_table(kind, results):
    def rates(program, what):
        return results[program].rates(what, program.stream_size if what == "stream" else program.size)

    def once(program):
        result = results[program]
        return [
            "1" if program is Ours else f"**{median(rates(Ours, 'both')) / median(rates(program, 'both')):.0f} times**",
            *(spread(rates(program, what)) for what in ("both", "stream", "listen")),
            thousands(result.cpu_per_million("stream", program.stream_size)),
            thousands(result.cpu_per_million("listen", program.size)),
            f"{median(result.memory['stream', program.stream_size]):.0f} / {median(result.memory['listen', program.size]):.0f}",
        ]

    head = ["", "we are faster by", "both, tweets/s", "streamer alone", "listener alone",
            "CPU s per million: streamer", "listener", "memory, MB: streamer / listener"]
    return f"**On {kind.name}**\n\n" + table(head, [[program.name, *once(program)] for program in results])
