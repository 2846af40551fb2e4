"""Both notebooks at once, each in a real Rust kernel, and the state after a kernel has ended."""

import json
import os
import re
import signal
import subprocess
import sys

import nbformat
import pytest
from jupyter_client import KernelManager, write_connection_file
from jupyter_client.kernelspec import KernelSpec
from conftest import DEFAULT, KERNELS, LIMIT, ROOT, listens, no_kernel_is_left, processes_with, until


def demo(**variables):
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(
        [sys.executable, ROOT / "notebooks" / "tools" / "demo.py"], env=environment, cwd=ROOT, text=True, capture_output=True, timeout=900
    )
    return done.returncode, done.stdout, done.stderr


def nothing_is_left():
    assert processes_with("EVCXR_TMPDIR=" + str(KERNELS / "kernel-")) == []
    assert no_kernel_is_left()


@pytest.fixture(autouse=True)
def clean():
    assert not listens(DEFAULT), f"a program uses {DEFAULT}, which the notebooks need: run `make stop`"
    yield
    until("all processes and folders to be removed", no_kernel_is_left)
    nothing_is_left()


def last_line(output):
    line = output.strip().splitlines()[-1]
    match = re.fullmatch(r"demo: sent (\d+), counted (\d+), lost (-?\d+), skipped (\d+), sentiment [+-]\d+\.\d\d", line)
    assert match, output
    return [int(number) for number in match.groups()]


def test_both_notebooks_in_parallel_lose_nothing():
    code, output, errors = demo(TIME_SPAN=8, RATE=100)
    assert code == 0, output + errors
    sent, counted, lost, skipped = last_line(output)
    assert sent == counted > 200 and lost == skipped == 0
    assert re.search(r"the live figure is at http://127\.0\.0\.1:80\d\d/", output)
    for name in ("Streamer", "Listener"):
        executed = nbformat.read(ROOT / "target" / "demo" / f"{name}.ipynb", as_version=4)
        committed = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        ours = [cell.source for cell in executed.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
        assert ours == [cell.source for cell in committed.cells]
        kinds = {kind for cell in executed.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
        assert "text/html" in kinds
    assert "application/vnd.plotly.v1+json" in kinds


def test_both_notebooks_on_an_apache_kafka_that_the_streamer_starts(apache):
    code, output, errors = demo(TIME_SPAN=5, RATE=100, KAFKA="apache")
    assert code == 0, output + errors
    sent, counted, lost, skipped = last_line(output)
    assert sent == counted > 100 and lost == skipped == 0
    assert "Kafka Server started" in (ROOT / "target" / "kafka" / "server.log").read_text()


def test_a_replay_of_a_file(tmp_path):
    file = tmp_path / "tweets.jsonl"
    file.write_text("".join(f'{{"id":{n},"user":"u{n}","followers":{n},"text":"I love bitcoin"}}\n' for n in range(400)))
    code, output, errors = demo(SOURCE=f"replay:{file}", RATE=0, TIME_SPAN=60)
    assert code == 0, output + errors
    assert last_line(output) == [400, 400, 0, 0]


def test_a_failing_cell_fails_the_demo(tmp_path):
    file = tmp_path / "gone.jsonl"
    file.write_text("")
    code, output, errors = demo(SOURCE=f"replay:{file}/x", RATE=0)
    assert code != 0 and "replay file" in errors, output + errors
    code, output, errors = demo(KAFKA="nonsense")
    assert code != 0 and "KAFKA='nonsense'" in errors, output + errors
    code, output, errors = demo(KAFKA="127.0.0.1:1", TIME_SPAN=5)
    assert code != 0, output
    assert "failed to connect to Kafka at 127.0.0.1:1" in errors and "hint: start a broker" in errors, errors


def start_kafka(run):
    status, output = run('let kafka = Kafka::start()?; println!("{}", kafka.address());')
    assert status == "ok" and DEFAULT in output, output
    assert listens(DEFAULT)


@pytest.mark.parametrize("kill", [True, False])
def test_a_kernel_that_ends_leaves_nothing_and_the_next_one_works(start_kernel, kill):
    kernel = start_kernel()
    start_kafka(kernel.run)
    if kill:
        os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    kernel.manager.shutdown_kernel(now=kill)
    until("everything to be removed", no_kernel_is_left)


def test_a_kernel_that_is_killed_while_it_starts_leaves_nothing(tmp_path):
    connection, _ = write_connection_file(str(tmp_path / "connection.json"))
    for _ in range(10):
        start = subprocess.Popen([sys.executable, ROOT / "kernel" / "start.py", connection])
        until("the directory of the kernel", lambda: (KERNELS / f"kernel-{start.pid}").exists())
        start.kill()
        start.wait()
    until("everything to be removed", no_kernel_is_left)


def test_a_kernel_uses_the_versions_of_the_lock_file(kernel):
    def packages(lock):
        return set(re.findall(r'name = "(.+)"\nversion = "(.+)"', lock.read_text()))

    different = packages(kernel.directory / "Cargo.lock") - packages(ROOT / "Cargo.lock")
    assert different == {("ctx", "1.0.0")}, "only the crate that evcxr makes of the cells is not in our lock file"


def interrupted(kernel, cell, after, interrupts=1):
    """Runs a cell, and interrupts it when it has printed a text that contains `after`. Returns the
    status of the reply, and everything that the cell printed."""
    manager, client = kernel.manager, kernel.client
    output = []

    def hook(message):
        content = message["content"]
        output.append(content.get("text") or content.get("evalue") or "")
        nonlocal interrupts, after
        if interrupts and after in "".join(output):
            # Send the next interrupt only after the answer to this one.
            interrupts, after = interrupts - 1, "A second interrupt"
            manager.interrupt_kernel()

    reply = client.execute_interactive(cell, timeout=LIMIT, output_hook=hook)
    assert interrupts == 0, output
    return reply["content"]["status"], "".join(output)


def sent(run):
    status, output = run('println!("sent={}", streaming.status().counts.sent);')
    assert status == "ok", output
    return int(re.search(r"sent=(\d+)", output)[1])


START_STREAM = """
let topic = kafka.create_topic("tweets", TopicConfig::default())?;
let streaming = Streamer::new(&topic).start(Demo::default())?;
let listener = Listener::new(&kafka, "tweets").start()?;
"""


def test_an_interrupt_ends_each_wait_and_nothing_else(kernel):
    manager, run = kernel.manager, kernel.run
    start_kafka(run)
    assert run(START_STREAM)[0] == "ok"
    waits = [
        ("let so_far = streaming.wait();", "1 s: sent", "the stream is still running: `streaming.stop()` ends it"),
        ("let counted = listener.wait();", "counted", "the listener is still running: `listener.stop()` ends it"),
        ("listener.wait_until_quiet(Duration::from_secs(60));", "counted", "the listener is still running"),
        ("listener.print_tweets(1_000_000)?;", "followers", "the listener is still running"),
    ]
    for cell, printed, message in waits:
        status, output = interrupted(kernel, cell, printed)
        assert status == "ok" and output.count("interrupted; " + message) == 1, output
    before = sent(run)
    until("the stream to go on", lambda: sent(run) > before)
    status, output = run("assert!(so_far.counts.sent > 0 && counted.total.counted > 0 && so_far.ended.is_none());")
    assert status == "ok", "the waits have returned the numbers so far: " + output

    for _ in range(3):
        # While no cell is running, an interrupt has no effect.
        manager.interrupt_kernel()
    before = sent(run)
    until("the stream to go on", lambda: sent(run) > before)
    status, output = run("let last = streaming.stop(); listener.stop(); assert!(last.ended.is_some());")
    assert status == "ok", output


def test_an_interrupt_ends_a_wait_for_a_broker(kernel):
    run = kernel.run
    _, output = interrupted(kernel, "show_log(); let kafka = Kafka::connect()?;", "waiting for Kafka")
    # evcxr forwards standard error in a separate thread, so the last line may arrive after the end of the cell.
    while "hint: run the cell again" not in output:
        output += kernel.client.get_iopub_msg(timeout=LIMIT)["content"].get("text", "")
    assert "interrupted: failed to connect to Kafka" in output and "hint: run the cell again" in output, output
    start_kafka(run)


def test_two_interrupts_end_a_cell_that_does_not_wait_and_the_kernel_works_again(kernel):
    run = kernel.run
    for _ in range(2):
        start_kafka(run)
        endless = 'loop { println!("still here"); std::thread::sleep(Duration::from_millis(50)); }'
        status, output = interrupted(kernel, endless, "still here", interrupts=2)
        assert status == "error", output
        assert "it continues" in output and "All variables are lost" in output, output
        until("the broker to end with the cell's process", lambda: not listens(DEFAULT))
    # The next process of the cells handles interrupts too.
    start_kafka(run)
    assert run(START_STREAM)[0] == "ok"
    status, output = interrupted(kernel, "streaming.wait();", "1 s: sent")
    assert status == "ok" and sent(run) > 0, output


def test_the_committed_notebooks_contain_a_real_run_without_errors():
    for name in ("Streamer", "Listener"):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert outputs and not any(output.output_type == "error" for output in outputs)
        text = str(outputs)
        assert str(ROOT) not in text, "a path of this machine"
        if name == "Streamer":
            (seconds,) = re.findall(r"from_secs\((\d+)\);", "".join(cell.source for cell in notebook.cells))
            lines = "".join(output.text for output in outputs if output.output_type == "stream")
            (last,) = re.findall(r"(?m)^ *(\d+) s: .* the time span is over$", lines)
            assert last == seconds, "the outputs belong to the cells"
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"application/vnd.plotly.v1+json", "image/png"} <= kinds


def test_the_kernel_is_installed_for_another_jupyter_and_removed_again(tmp_path):
    data = tmp_path / "data"
    # This is the name of an unmodified evcxr kernel.
    plain = data / "kernels" / "rust" / "kernel.json"
    plain.parent.mkdir(parents=True)
    plain.write_text('{"argv": ["evcxr_jupyter"], "display_name": "Rust", "language": "rust"}')

    def install(*arguments):
        environment = {**os.environ, "JUPYTER_DATA_DIR": str(data)}
        done = subprocess.run([ROOT / "kernel" / "install", *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "installed" in install()
    spec = json.loads((data / "kernels" / "live_sentiment" / "kernel.json").read_text())
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(**spec)
    # The kernel works in any folder, not only in that of the notebooks.
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=LIMIT)
        output = []
        cell = 'Analyzer::new().score("I love bitcoin").compound > 0.5'
        client.execute_interactive(cell, timeout=LIMIT, output_hook=lambda message: output.append(str(message["content"])))
        assert "true" in "".join(output), output
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    assert "removed" in install("remove")
    assert "not installed" in install("remove")
    assert [folder.name for folder in (data / "kernels").iterdir()] == ["rust"]
    assert "evcxr_jupyter" in plain.read_text()
