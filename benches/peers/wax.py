"""A streaming framework: Bytewax and vaderSentiment, as in its documentation.

    python wax.py stream|listen BOOTSTRAP TOPIC COUNT [FILE]
"""

import json
import math
import sys
from itertools import islice

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, operators as kop
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution
from bytewax.testing import TestingSink, TestingSource, run_main
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer


def stream(bootstrap, topic, count, file):
    def message(line):
        tweet = json.loads(line)
        value = {key: tweet[key] for key in ("text", "followers", "created_at")}
        return KafkaSinkMessage(tweet["user"].encode(), json.dumps(value).encode())

    with open(file) as lines:
        flow = Dataflow("stream")
        read = op.input("lines", flow, TestingSource(islice(lines, count), batch_size=1_000))
        kop.output("tweets", op.map("message", read, message), brokers=[bootstrap], topic=topic)
        run_main(flow)


def listen(bootstrap, topic, count):
    analyzer = SentimentIntensityAnalyzer()
    result = {"counted": 0, "sum": 0.0}

    def score(message):
        tweet = json.loads(message.value)
        result["sum"] += analyzer.polarity_scores(tweet["text"])["compound"] * math.log(tweet["followers"] + 1)
        result["counted"] += 1
        if result["counted"] == count:
            raise AbortExecution()

    flow = Dataflow("listen")
    tweets = kop.input("tweets", flow, brokers=[bootstrap], topics=[topic], tail=True, batch_size=1_000)
    op.output("out", op.map("score", tweets.oks, score), TestingSink([]))
    try:
        run_main(flow)
    except (AbortExecution, RuntimeError):
        if result["counted"] != count:
            raise
    return result


if __name__ == "__main__":
    what, bootstrap, topic, count, *file = sys.argv[1:]
    print(json.dumps({"stream": stream, "listen": listen}[what](bootstrap, topic, int(count), *file)))
