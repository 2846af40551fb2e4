"""A live page like the original's: Dash redraws all points every second. A thread reads the topic, as the
notebook does.

    python dash_page.py BOOTSTRAP TOPIC PORT
"""

import json
import logging
import sys
import threading

import dash
import numpy as np
import plotly.graph_objects as go
from kafka import KafkaConsumer
from textblob import TextBlob

times, sentiments = [], []


def listen(bootstrap, topic):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest",
        value_deserializer=lambda message: json.loads(message.decode()),
    )
    total = 0.0
    for message in consumer:
        tweet = message.value
        total += TextBlob(tweet["text"]).sentiment.polarity * np.log(tweet["followers"] + 1)
        times.append(tweet["created_at"])
        sentiments.append(total)


def main(bootstrap, topic, port):
    threading.Thread(target=listen, args=(bootstrap, topic), daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = dash.Dash(__name__)
    app.layout = dash.html.Div([
        dash.dcc.Graph(id="live-graph"),
        dash.dcc.Interval(id="interval", interval=1_000),
    ])

    @app.callback(dash.Output("live-graph", "figure"), dash.Input("interval", "n_intervals"))
    def update(_):
        count = len(sentiments)
        return go.Figure(go.Scatter(x=times[:count], y=sentiments[:count], mode="lines+markers"))

    app.run(host="127.0.0.1", port=int(port))


main(*sys.argv[1:])
