"""Scores each line of standard input with a Python library. A line is a text as a JSON string. Prints the
scores and the microseconds per text.

    python scoring.py vader|textblob
"""

import json
import sys
import time

texts = [json.loads(line) for line in sys.stdin]
if sys.argv[1] == "vader":
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    score = lambda text: analyzer.polarity_scores(text)["compound"]
else:
    from textblob import TextBlob

    score = lambda text: TextBlob(text).sentiment.polarity
score("warm")
began = time.perf_counter()
scores = [score(text) for text in texts]
took = time.perf_counter() - began
print(json.dumps({"micros": took / len(texts) * 1e6, "scores": scores}))
