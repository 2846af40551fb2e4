"""Set-up: a failing step is tried again, and reports why it failed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "kernel"))
import prepare  # noqa: E402


def run(action, monkeypatch):
    monkeypatch.setattr(prepare, "PAUSE", 0.01)
    prepare.run([prepare.Step("a step of the tests", action)])


def test_a_step_that_fails_once_is_tried_again(tmp_path, monkeypatch, capsys):
    tried = tmp_path / "tried"
    script = f"echo once >>{tried}; [ $(wc -l <{tried}) -ge 2 ] || {{ echo 'failed to download'; exit 1; }}"
    run(lambda step: step.call(["sh", "-c", script]), monkeypatch)
    assert tried.read_text().count("once") == 2
    assert "trying again" in capsys.readouterr().out


def test_a_step_that_fails_again_and_again_says_what_to_do(tmp_path, monkeypatch):
    tried = tmp_path / "tried"
    script = f"echo once >>{tried}; echo 'error: could not resolve host: registry'; exit 1"
    with pytest.raises(prepare.Failed, match="could not resolve host(.|\n)*hint: the network"):
        run(lambda step: step.call(["sh", "-c", script]), monkeypatch)
    assert tried.read_text().count("once") == prepare.TRIES


def test_a_full_disk_is_named_and_not_tried_again(tmp_path, monkeypatch):
    tried = tmp_path / "tried"
    # This device is always full.
    script = f"echo once >>{tried}; LC_ALL=C dd if=/dev/zero of=/dev/full bs=1 count=1"
    with pytest.raises(prepare.Failed, match="hint: the disk is full"):
        run(lambda step: step.call(["sh", "-c", script]), monkeypatch)
    assert tried.read_text().count("once") == 1


def test_the_other_steps_stop_when_one_fails(monkeypatch):
    monkeypatch.setattr(prepare, "PAUSE", 0.01)
    endless = prepare.Step("an endless step", lambda step: step.call(["sleep", "1000"]))
    failing = prepare.Step("a failing step", lambda step: step.call(["false"]))
    with pytest.raises(prepare.Failed, match="a failing step"):
        prepare.run([endless, failing])
    endless.thread.join(timeout=60)
    assert endless.ended and endless.process.poll() is not None


def test_a_program_uses_the_crates_that_set_up_has_compiled():
    command = ["cargo", "build", "--quiet", "--release", "--example", "hello", "--message-format", "json"]
    output = subprocess.check_output(command, cwd=prepare.ROOT, text=True)
    messages = [json.loads(line) for line in output.splitlines()]
    files = {message["target"]["name"]: Path(message["filenames"][0]) for message in messages if message["reason"] == "compiler-artifact"}
    for crate in ("jiff", "rdkafka_sys", "ring", "serde_json"):
        # The name contains a hash of everything that the file was compiled with.
        assert (prepare.WARM / "target" / "release" / "deps" / files[crate].name).exists(), files[crate]
