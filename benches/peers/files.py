"""Reads a file of tweets with pandas or with Python's json, and prints the number of tweets and the seconds."""

import gzip
import json
import sys
import time

reader, path = sys.argv[1:]
if reader == "pandas":
    import pandas

    began = time.perf_counter()
    tweets = len(pandas.read_csv(path))
else:
    began = time.perf_counter()
    tweets = 0
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as lines:
        for line in lines:
            status = json.loads(line)
            tweets += bool(status["text"] and status["user"]["screen_name"] and status["created_at"] and status["user"]["followers_count"] >= 0)
print(json.dumps({"tweets": tweets, "seconds": time.perf_counter() - began}))
