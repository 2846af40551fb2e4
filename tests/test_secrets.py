"""No secret may appear in any output: the output of a notebook, a log, an error, a panic, the topic, or the
page. The server of these tests repeats every secret that it receives."""

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


class EchoServer(BaseHTTPRequestHandler):
    """Implements the part of X's API that a stream needs, and repeats every secret in its responses."""

    protocol_version = "HTTP/1.1"
    statuses = []
    secrets = set()

    def record(self):
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        EchoServer.secrets.add(secret)
        if scheme == "Basic":
            EchoServer.secrets.update(base64.b64decode(secret).decode().split(":"))
        return f"you sent {scheme} {secret}, that is {' '.join(sorted(EchoServer.secrets))}"

    def log_message(self, *_):
        pass

    def respond(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        echo = self.record()
        if self.path.endswith("/rules"):
            return self.respond(200, {"meta": {"result_count": 0}})
        if EchoServer.statuses:
            return self.respond(EchoServer.statuses.pop(0), {"title": echo, "detail": echo, "errors": [{"message": echo}]})
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        tweet = {"data": {"id": "1", "text": "I love bitcoin", "author_id": "7"}, "matching_rules": [{"tag": "live-sentiment: bitcoin"}]}
        for line in (tweet, {"errors": [{"title": echo, "detail": echo}]}):
            data = json.dumps(line).encode() + b"\r\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_POST(self):
        self.record()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/oauth2/token":
            EchoServer.secrets.add(FETCHED)
            return self.respond(200, {"token_type": "bearer", "access_token": FETCHED})
        return self.respond(201, {"meta": {"summary": {"created": 1}}})


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), EchoServer)
    EchoServer.statuses, EchoServer.secrets = [], set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def assert_no_secret(text):
    # A part of a secret is also a secret, because a message may be shortened in its middle.
    for secret in (TOKEN, KEY, SECRET, FETCHED, BASIC):
        for begin in range(0, len(secret) - 10):
            assert secret[begin : begin + 11] not in text, text


def environment(server, **credentials):
    import os

    clean = {name: value for name, value in os.environ.items() if not name.startswith("X_")}
    return {**clean, "X_API_BASE_URL": server, "RUST_BACKTRACE": "1", **credentials}


@pytest.mark.parametrize("credentials", [{"X_BEARER_TOKEN": TOKEN}, {"X_API_KEY": KEY, "X_API_SECRET": SECRET}])
def test_program_log_topic_and_page_contain_no_secret(start, broker, server, tmp_path, credentials):
    saved = tmp_path / "tweets.jsonl"
    environ = environment(server, RUST_LOG="info", **credentials)
    streamer = start(
        EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin", "--bootstrap", broker, "--time-span", "4",
        "--save-to", saved, "--json", env=environ,
    )
    listener = start(EXAMPLES / "listener", "--bootstrap", broker, "--figure-port", "0", "--print", "1", env=environ)
    page = figure_address(listener) + "events"
    events = urllib.request.urlopen(page, timeout=60)
    update = ""
    # Wait until the page has shown the connection error, which contains text from the server.
    while "ended the stream" not in update:
        update = events.readline().decode()
        assert_no_secret(update)
    output, log = streamer.communicate(timeout=60)
    assert json.loads(output.strip().splitlines()[-1])["sent"] == 1
    assert "ended the stream" in log, "the log contains the text from the server"
    assert_no_secret(output + log + saved.read_text())
    assert EchoServer.secrets >= set(credentials.values()), "the server knew the secrets"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_a_rejection_contains_no_secret(start, broker, server, status):
    EchoServer.statuses = [status]
    streamer = start(
        EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin", "--bootstrap", broker,
        env=environment(server, X_BEARER_TOKEN=TOKEN),
    )
    output, errors = streamer.communicate(timeout=60)
    assert streamer.returncode != 0 and str(status) in errors
    assert_no_secret(output + errors)


def test_a_credentials_file_is_found_and_its_permissions_are_checked(start, broker, server, tmp_path):
    file = tmp_path / "credentials.toml"
    file.write_text(f'bearer_token = "{TOKEN}"\n')
    (tmp_path / "notebooks").mkdir()
    for mode, warned in ((0o644, True), (0o600, False)):
        file.chmod(mode)
        EchoServer.statuses = [401]
        streamer = start("env", "-C", tmp_path / "notebooks", EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin",
                         "--bootstrap", broker, env=environment(server))
        output, errors = streamer.communicate(timeout=60)
        assert "401" in errors
        assert ("chmod 600" in errors) == warned, errors
        assert_no_secret(output + errors)
    file.write_text(f'bearer_token = "{TOKEN}\n')
    streamer = start("env", "-C", tmp_path / "notebooks", EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin",
                     "--bootstrap", broker, env=environment(server))
    output, errors = streamer.communicate(timeout=60)
    assert "credentials.example.toml" in errors
    assert_no_secret(output + errors)


def test_missing_credentials_are_reported_with_where_to_get_them(start, broker, server, tmp_path):
    streamer = start("env", "-C", tmp_path, EXAMPLES / "streamer", "--source", "x", "--track", "bitcoin",
                     "--bootstrap", broker, env=environment(server))
    _, errors = streamer.communicate(timeout=60)
    for words in ("X_BEARER_TOKEN", "credentials.toml", str(tmp_path), "https://console.x.com", "Bluesky::new()"):
        assert words in errors, errors


def test_the_output_of_a_notebook_contains_no_secret(server, broker, monkeypatch):
    from jupyter_client import KernelManager

    for name, value in {"X_API_BASE_URL": server, "X_BEARER_TOKEN": TOKEN, "KAFKA_BOOTSTRAP_SERVERS": broker}.items():
        monkeypatch.setenv(name, value)
    manager = KernelManager(kernel_name="rust")
    manager.start_kernel(cwd=str(ROOT / "notebooks"))
    client = manager.client()
    client.start_channels()
    outputs = []

    def run(cell):
        before = len(outputs)
        client.execute_interactive(cell, timeout=300, output_hook=lambda message: outputs.append(json.dumps(message["content"])))
        return "\n".join(outputs[before:])

    try:
        client.wait_for_ready(timeout=300)
        run("use live_sentiment::prelude::*; show_log(); let kafka = Kafka::start()?; let topic = kafka.create_topic(\"tweets\", TopicConfig::default())?;")
        run("let credentials = Credentials::from_env()?; println!(\"{credentials:?}\");")
        run('let streaming = Streamer::new(&topic).track(["bitcoin"]).start(X::new(credentials)?)?; streaming')
        until("the stream to break", lambda: "last connection error" in run("streaming"))
        run("streaming.wait_for(Duration::from_millis(500)); println!(\"{:?}\", streaming.status());")
        run("streaming.stop()")
        # A panic shows its message and, with RUST_BACKTRACE, a backtrace.
        run('let x = X::from_env()?; let nothing: Option<u8> = None; nothing.expect("a panic");')
        EchoServer.statuses = [403]
        run('let streaming = Streamer::new(&topic).track(["bitcoin"]).start(X::from_env()?)?;')
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    everything = "\n".join(outputs)
    assert_no_secret(everything)
    for words in ("a bearer token", "ended the stream", "a panic", "403"):
        assert re.search(words, everything), everything
