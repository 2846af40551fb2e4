"""The fastest plain Python: confluent-kafka (librdkafka), in batches, and vaderSentiment.

    python plain.py stream|listen BOOTSTRAP TOPIC COUNT [FILE]
"""

import json
import math
import sys
from itertools import islice

from confluent_kafka import Consumer, Producer, TopicPartition
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer


def stream(bootstrap, topic, count, file):
    producer = Producer({
        "bootstrap.servers": bootstrap, "linger.ms": 5, "compression.type": "lz4", "enable.idempotence": True,
    })
    with open(file) as lines:
        for line in islice(lines, count):
            tweet = json.loads(line)
            message = json.dumps({key: tweet[key] for key in ("text", "followers", "created_at")})
            while True:
                try:
                    producer.produce(topic, message)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
    producer.flush()


def listen(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "plain", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    analyzer = SentimentIntensityAnalyzer()
    total, counted = 0.0, 0
    while counted < count:
        for message in consumer.consume(min(1_000, count - counted), 0.1):
            if message.error():
                continue
            tweet = json.loads(message.value())
            total += analyzer.polarity_scores(tweet["text"])["compound"] * math.log(tweet["followers"] + 1)
            counted += 1
    consumer.close()
    return {"counted": counted, "sum": total}


if __name__ == "__main__":
    what, bootstrap, topic, count, *file = sys.argv[1:]
    print(json.dumps({"stream": stream, "listen": listen}[what](bootstrap, topic, int(count), *file)))
