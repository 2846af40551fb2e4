"""The original notebooks as a program: kafka-python, TextBlob and numpy, one tweet at a time. A file
replaces Tweepy's stream.

    python original.py stream|listen BOOTSTRAP TOPIC COUNT [FILE]
"""

import json
import sys
from itertools import islice

import numpy as np
from kafka import KafkaConsumer, KafkaProducer
from textblob import TextBlob


def stream(bootstrap, topic, count, file):
    producer = KafkaProducer(bootstrap_servers=bootstrap, value_serializer=lambda tweet: json.dumps(tweet).encode())
    with open(file) as lines:
        for line in islice(lines, count):
            tweet = json.loads(line)
            producer.send(topic, {key: tweet[key] for key in ("text", "followers", "created_at")})
    producer.flush()


def listen(bootstrap, topic, count):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest",
        value_deserializer=lambda message: json.loads(message.decode()),
    )
    total, sentiments = 0.0, []
    for message in consumer:
        tweet = message.value
        polarity = TextBlob(tweet["text"]).sentiment.polarity
        total += polarity * np.log(tweet["followers"] + 1)
        sentiments.append(total)
        if len(sentiments) == count:
            break
    return {"counted": len(sentiments), "sum": float(total)}


if __name__ == "__main__":
    what, bootstrap, topic, count, *file = sys.argv[1:]
    print(json.dumps({"stream": stream, "listen": listen}[what](bootstrap, topic, int(count), *file)))
