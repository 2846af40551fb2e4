"""No secret in any place where a person or a program could read it: a notebook's output, a log, an
error, a panic, the topic, the page. The server does its worst and sends back what it was given."""

import base64
import json
import re
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import EXAMPLES, ROOT, figure_address, until

TOKEN = "AAAAAAAAAAAAAAAAAAAAAsEcReTbEaReR%2Btoken0123456789"
KEY = "tHeApIkEyOfTheApp0123456789"
SECRET = "tHeApIsEcReTOfTheApp0123456789abcdef"
FETCHED = "AAAAAAAAAAAAAAAAAAAAAfEtChEdBeArEr0123456789"
BASIC = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()


class Parrot(BaseHTTPRequestHandler):
    """Speaks enough of X's API to be streamed from, and says every secret that it was sent, or gave,
    back wherever it can."""

    protocol_version = "HTTP/1.1"
    statuses = []
    learnt = set()

    def learn(self):
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        Parrot.learnt.add(secret)
        if scheme == "Basic":
            Parrot.learnt.update(base64.b64decode(secret).decode().split(":"))
        return f"you sent {scheme} {secret}, that is {' '.join(sorted(Parrot.learnt))}"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        echo = self.learn()
        if self.path.endswith("/rules"):
            return self.answer(200, {"meta": {"result_count": 0}})
        if Parrot.statuses:
            return self.answer(Parrot.statuses.pop(0), {"title": echo, "detail": echo, "errors": [{"message": echo}]})
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        tweet = {"data": {"id": "1", "text": "I love bitcoin", "author_id": "7"}, "matching_rules": [{"tag": "live-sentiment: bitcoin"}]}
        for line in (tweet, {"errors": [{"title": echo, "detail": echo}]}):
            data = json.dumps(line).encode() + b"\r\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_POST(self):
        self.learn()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/oauth2/token":
            Parrot.learnt.add(FETCHED)
            return self.answer(200, {"token_type": "bearer", "access_token": FETCHED})
        return self.answer(201, {"meta": {"summary": {"created": 1}}})


@pytest.fixture
def parrot():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    Parrot.statuses, Parrot.learnt = [], set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def holds_none(said):
    # A part of a secret is one too: what is cut to size may be cut in its middle.
    for secret in (TOKEN, KEY, SECRET, FETCHED, BASIC):
        for begin in range(0, len(secret) - 10):
            assert secret[begin : begin + 11] not in said, said


def environment(parrot, **credentials):
    import os

    clean = {name: value for name, value in os.environ.items() if not name.startswith("X_")}
    return {**clean, "X_API_BASE_URL": parrot, "RUST_BACKTRACE": "1", **credentials}


@pytest.mark.parametrize("credentials", [{"X_BEARER_TOKEN": TOKEN}, {"X_API_KEY": KEY, "X_API_SECRET": SECRET}])
def test_the_program_its_log_the_topic_and_the_page_hold_no_secret(start, broker, parrot, tmp_path, credentials):
    saved = tmp_path / "tweets.jsonl"
    environ = environment(parrot, **credentials)
    streamer = start(
        EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin", "--bootstrap", broker, "--time-span", "4",
        "--save-to", saved, "--json", env=environ,
    )
    listener = start(EXAMPLES / "listener", "--bootstrap", broker, "--figure-port", "0", "--print", "1", env=environ)
    page = figure_address(listener) + "events"
    events = urllib.request.urlopen(page, timeout=60)
    told = ""
    # Until the page has shown why the connection broke, which the server's words are a part of.
    while "ended the stream" not in told:
        told = events.readline().decode()
        holds_none(told)
    said, log = streamer.communicate(timeout=60)
    assert json.loads(said.strip().splitlines()[-1])["sent"] == 1
    assert "ended the stream" in log, "the log was looked at"
    holds_none(said + log + saved.read_text())
    assert Parrot.learnt >= set(credentials.values()), "the server had the secrets to say"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_a_refusal_holds_no_secret(start, broker, parrot, status):
    Parrot.statuses = [status]
    streamer = start(
        EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin", "--bootstrap", broker,
        env=environment(parrot, X_BEARER_TOKEN=TOKEN),
    )
    said, trouble = streamer.communicate(timeout=60)
    assert streamer.returncode != 0 and str(status) in trouble
    holds_none(said + trouble)


def test_a_credentials_file_is_found_and_others_reading_it_is_warned_of(start, broker, parrot, tmp_path):
    file = tmp_path / "credentials.toml"
    file.write_text(f'bearer_token = "{TOKEN}"\n')
    (tmp_path / "notebooks").mkdir()
    for mode, warned in ((0o644, True), (0o600, False)):
        file.chmod(mode)
        Parrot.statuses = [401]
        streamer = start("env", "-C", tmp_path / "notebooks", EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin",
                         "--bootstrap", broker, env=environment(parrot))
        said, trouble = streamer.communicate(timeout=60)
        assert "401" in trouble
        assert ("chmod 600" in trouble) == warned, trouble
        holds_none(said + trouble)
    file.write_text(f'bearer_token = "{TOKEN}\n')
    streamer = start("env", "-C", tmp_path / "notebooks", EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin",
                     "--bootstrap", broker, env=environment(parrot))
    said, trouble = streamer.communicate(timeout=60)
    assert "credentials.example.toml" in trouble
    holds_none(said + trouble)


def test_without_credentials_it_says_where_it_looked_and_where_one_gets_them(start, broker, parrot, tmp_path):
    streamer = start("env", "-C", tmp_path, EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin",
                     "--bootstrap", broker, env=environment(parrot))
    _, trouble = streamer.communicate(timeout=60)
    for words in ("X_BEARER_TOKEN", "credentials.toml", str(tmp_path), "https://console.x.com", "Bluesky::new()"):
        assert words in trouble, trouble


def test_a_notebook_s_output_holds_no_secret(parrot, broker, monkeypatch):
    from jupyter_client import KernelManager

    for name, value in {"X_API_BASE_URL": parrot, "X_BEARER_TOKEN": TOKEN, "KAFKA_BOOTSTRAP_SERVERS": broker}.items():
        monkeypatch.setenv(name, value)
    manager = KernelManager(kernel_name="rust")
    manager.start_kernel(cwd=str(ROOT / "notebooks"))
    client = manager.client()
    client.start_channels()
    said = []

    def run(cell):
        before = len(said)
        client.execute_interactive(cell, timeout=300, output_hook=lambda message: said.append(json.dumps(message["content"])))
        return "\n".join(said[before:])

    try:
        client.wait_for_ready(timeout=300)
        run("use live_sentiment::prelude::*; show_log(); let kafka = Kafka::start()?; kafka.create_topic(\"tweets\", TopicConfig::default())?")
        run("let credentials = Credentials::from_env()?; println!(\"{credentials:?}\");")
        run('let streaming = Streamer::new(&kafka, "tweets").track(["bitcoin"]).start(X::new(credentials)?)?; streaming')
        until("the stream to have broken", lambda: "last reason" in run("streaming"))
        run("streaming.wait_for(Duration::from_millis(500)); println!(\"{:?}\", streaming.status());")
        run("streaming.stop()")
        # A panic shows its message and, with RUST_BACKTRACE, where it happened.
        run('let x = X::from_env()?; let nothing: Option<u8> = None; nothing.expect("a panic");')
        Parrot.statuses = [403]
        run('let streaming = Streamer::new(&kafka, "tweets").track(["bitcoin"]).start(X::from_env()?)?;')
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    everything = "\n".join(said)
    holds_none(everything)
    for words in ("a bearer token", "ended the stream", "a panic", "403"):
        assert re.search(words, everything), everything
