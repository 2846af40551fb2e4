"""The protocol between Jupyter and a kernel: a cell that fails ends with an error, after all of its output."""

import json
import os
import subprocess
import sys
import time

import nbformat
import pytest
from conftest import ROOT, text_of


def replies(kernel, cells, **options):
    """Sends all cells at once. Returns the content of their replies."""
    requests = [kernel.client.execute(cell, **options) for cell in cells]
    found = {}
    while len(found) < len(cells):
        reply = kernel.client.get_shell_msg(timeout=60)
        if (request := reply["parent_header"]["msg_id"]) in requests:
            found[request] = reply["content"]
    while True:
        message = kernel.client.get_iopub_msg(timeout=60)
        is_idle = message["content"].get("execution_state") == "idle"
        if is_idle and message["parent_header"]["msg_id"] == requests[-1]:
            return [found[request] for request in requests]


FAILURES = [
    ('let n = "x".parse::<i32>()?;', "Error", "invalid digit found in string", None),
    ("let empty: Vec<i32> = vec![];\nlet k = 1;\nempty[k]", "Panic", "index out of bounds: the len is 0 but the index is 1", "line 3: empty[k]"),
    ('panic!("two\\nlines")', "Panic", "two\nlines", 'line 1: panic!("two\\nlines")'),
    ("let n = nn;", "Error", "cannot find value `nn` in this scope", None),
]


def test_a_failed_cell_ends_with_an_error_and_the_cells_after_it_are_aborted(kernel):
    for cell, name, message, place in FAILURES:
        failed, *others = replies(kernel, [cell, "let after = 1;", "let later = 2;"])
        assert (failed["status"], failed["ename"], failed["evalue"]) == ("error", name, message)
        assert [other["status"] for other in others] == ["aborted", "aborted"], cell
        if place:
            assert failed["traceback"][-1] == place, "the line of the cell, and no frames"
        failed, after = replies(kernel, [cell, "1 + 1"], stop_on_error=False)
        assert (failed["status"], after["status"]) == ("error", "ok")
    _, output = kernel.run("let caught = std::panic::catch_unwind(|| panic!()).is_err(); caught")
    assert output == "true", "a panic that the cell catches is no error"


def test_no_text_of_a_cell_counts_as_its_failure(kernel):
    for mark in ("", "1", "live_sentiment"):
        for text in ("failed:", "panicked:a", "error:no"):
            line = f"\x01{mark}:{text}"
            assert kernel.run(f'let error = "own"; eprintln!("{{}}", error);\nprintln!("{{}}", {json.dumps(line)});'.replace("\\u0001", "\\u{1}")) in (
                ("ok", f"own\n{line}\n"), ("ok", f"{line}\nown\n"),
            )  # fmt: skip


def test_all_output_comes_before_the_end_of_a_cell(kernel):
    # A long line once came after the end, where nbclient drops it.
    status, output = kernel.run('eprintln!("first"); println!("{}", "x".repeat(5_000_000));')
    assert (status, len(output)) == ("ok", 5_000_000 + len("first\n") + 1)
    status, output = kernel.run('for number in 0..20_000 { println!("{number}"); }')
    assert (status, output) == ("ok", "".join(f"{number}\n" for number in range(20_000)))


@pytest.mark.parametrize(
    "cell, reason",
    [
        ("std::process::exit(0)", "exit status: 0"),
        ("fn deep(n: u64) -> u64 { if n == 0 { 0 } else { deep(n + 1) + 1 } }\ndeep(1)", "a stack overflow (endless recursion?)"),
    ],
)
def test_a_process_that_has_ended_says_what_is_lost(kernel, cell, reason):
    assert kernel.run("let lost = 1;")[0] == "ok"
    (ended,) = replies(kernel, [cell])
    assert ended["status"] == "error" and reason in ended["evalue"] and "All variables are lost" in ended["evalue"], ended
    assert kernel.run("1 + 1") == ("ok", "2")
    status, output = kernel.run("lost + 1")
    assert status == "error" and "cannot find value `lost`" in output, output
    # Two interrupts end a loop in this process too, although no cell has called the library.
    request = kernel.client.execute("loop { println!(\"on\"); std::thread::sleep(std::time::Duration::from_millis(20)); }")
    while kernel.client.get_iopub_msg(timeout=60)["content"].get("text") is None:
        pass
    for _ in range(2):
        kernel.manager.interrupt_kernel()
        time.sleep(0.5)
    reply = kernel.client.get_shell_msg(timeout=20)
    assert reply["parent_header"]["msg_id"] == request and reply["content"]["status"] == "error"


def test_a_cell_that_reads_standard_input_says_that_it_cannot(kernel):
    status, output = kernel.run("let mut line = String::new();\nstd::io::stdin().read_line(&mut line)?;")
    assert status == "error" and "cannot read standard input" in output, output
    assert kernel.run("1 + 1") == ("ok", "2")


def test_a_kernel_that_cannot_start_says_why_in_the_cell(tmp_path):
    from jupyter_client import KernelManager

    manager = KernelManager(kernel_name="rust")
    variables = {"LIVE_SENTIMENT_CARGO_HOME": str(tmp_path / "gone")}
    manager.kernel_spec.env.update(variables)
    manager.start_kernel(cwd=str(ROOT / "notebooks"), env=dict(os.environ))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        output = []
        reply = client.execute_interactive("1 + 1", timeout=60, output_hook=lambda message: output.append(text_of(message["content"])))
        assert reply["content"]["status"] == "error"
        assert "the Rust kernel cannot start" in "".join(output) and "gone" in "".join(output)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    assert not manager.has_kernel


def test_nbconvert_ends_with_an_error(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in ('"x".parse::<i32>()?;', 'println!("went on");')])
    notebook.metadata.kernelspec = {"name": "rust", "display_name": "Rust", "language": "rust"}
    nbformat.write(notebook, tmp_path / "fails.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "fails.ipynb"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0 and "invalid digit found in string" in ended.stderr, ended.stderr
