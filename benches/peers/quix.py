"""A streaming framework: Quix Streams and vaderSentiment, as in its tutorials.

    python quix.py stream|listen BOOTSTRAP TOPIC COUNT [FILE]
"""

import json
import math
import sys
import tempfile
from itertools import islice

from quixstreams import Application
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer


def application(bootstrap, folder):
    return Application(
        broker_address=bootstrap, consumer_group="quix-" + folder.rsplit("/", 1)[-1], auto_offset_reset="earliest",
        auto_create_topics=False, state_dir=folder, loglevel="ERROR",
        # A member joins the group at a heartbeat. With the default interval of three seconds, joining takes half a minute.
        consumer_extra_config={"heartbeat.interval.ms": 500},
    )


def stream(bootstrap, topic, count, file):
    with tempfile.TemporaryDirectory() as folder, open(file) as lines:
        app = application(bootstrap, folder)
        tweets = app.topic(topic, value_serializer="json")
        with app.get_producer() as producer:
            for line in islice(lines, count):
                tweet = json.loads(line)
                value = {key: tweet[key] for key in ("text", "followers", "created_at")}
                message = tweets.serialize(key=tweet["user"], value=value)
                producer.produce(topic=tweets.name, key=message.key, value=message.value)


def listen(bootstrap, topic, count):
    analyzer = SentimentIntensityAnalyzer()
    result = {"counted": 0, "sum": 0.0}

    def score(tweet):
        result["sum"] += analyzer.polarity_scores(tweet["text"])["compound"] * math.log(tweet["followers"] + 1)
        result["counted"] += 1

    with tempfile.TemporaryDirectory() as folder:
        app = application(bootstrap, folder)
        app.dataframe(app.topic(topic, value_deserializer="json")).update(score)
        app.run(count=count)
    return result


if __name__ == "__main__":
    what, bootstrap, topic, count, *file = sys.argv[1:]
    print(json.dumps({"stream": stream, "listen": listen}[what](bootstrap, topic, int(count), *file)))
