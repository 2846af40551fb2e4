"""The store of compiled cells: a known cell is not compiled again, and never has a wrong result."""

import json
import re
import shutil
import threading
import tomllib
import uuid

from conftest import KERNELS, ROOT

STORE = KERNELS / "store"
DEP = ':dep live_sentiment = {path = ".."}\nuse live_sentiment::prelude::*;'


def compilations(kernel):
    """Identifies the last cell that the compiler has linked in this kernel."""
    return [(file.stat().st_ino, file.stat().st_mtime_ns) for file in kernel.directory.glob("target/release/deps/libctx.*")]


def is_compiled(kernel, cell, expected):
    """Runs a cell. Returns whether the compiler was called."""
    before = compilations(kernel)
    status, output = kernel.run(cell)
    assert status == "ok" and expected in output, output
    return compilations(kernel) != before


def committed(name, last):
    """Returns the code cells of a notebook, up to the cell that contains `last`."""
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (end,) = (number for number, cell in enumerate(cells) if last in cell)
    return cells[: end + 1]


def test_evcxr_writes_what_the_store_relies_on(kernel):
    page = (ROOT / "kernel" / "cargo" / "README.md").read_text()
    version = tomllib.loads((ROOT / "kernel" / "Cargo.toml").read_text())["dependencies"]["evcxr_jupyter"].lstrip("=")
    assert f"evcxr {version}." in page, f"check each point of kernel/cargo/README.md with evcxr {version}"

    def changed(number):
        return f"evcxr differs from point {number} of kernel/cargo/README.md:\n{source}"

    # No other kernel has run cells with these texts, so this kernel compiles them.
    text = str(uuid.uuid4())
    assert kernel.run("use std::fmt::{Debug, Display};")[0] == "ok"
    assert kernel.run(f'let one = "{text}"; let mut two = "{text}".len();')[0] == "ok"
    status, output = kernel.run(f'two += 1; let three = two; println!("{text}{{one}}{{two}}");')
    assert status == "ok", output
    source = (kernel.directory / "src" / "lib.rs").read_text().partition("mod evcxr_aliases")[0]
    assert text in source and tomllib.loads((kernel.directory / "Cargo.toml").read_text())["package"]["name"] == "ctx", changed(1)
    assert len(re.findall(r'^pub extern "C" fn run_user_code_\d+\($', source, re.M)) == 1, changed(2)
    variables = [
        (r"vars_ok &= evcxr_variable_store\.check_variable::<.+>\(stringify!\((\w+)\)\);", {"one", "two"}),
        (r"let (?:mut )?(\w+) = evcxr_variable_store\.take_variable::<.+>\(stringify!\(\1\)\);", {"one", "two"}),
        (r"evcxr_variable_store\.put_variable::<.+>\(stringify!\((\w+)\), \1\);", {"one", "two", "three"}),
    ]
    for form, names in variables:
        assert names <= set(re.findall(f"^{form}$", source, re.M)), changed(3)
    header, *imports = source.partition("\nuse live_sentiment::prelude::*;")[0].splitlines()
    assert header.startswith("#![allow(") and set(imports) == {"use std::fmt::Debug;", "use std::fmt::Display;"}, changed(3)
    (made,) = kernel.directory.glob("target/release/deps/libctx.*")
    assert not (made.parent.parent / made.name).exists(), changed(5)
    status, output = kernel.run(f'let wrong: u8 = "{text}";')
    assert status == "error" and "mismatched types" in output, changed(4)


def test_ordinary_mistakes_are_explained_without_cargo(kernel):
    """A plain typo once made evcxr call `cargo check`, which compiled 170 crates, and the store was off after it."""
    cells = [
        ("let s = String::from(\"a\"); let t = s; fn g() { let q = 1; }", "ok", ""),
        ("let s2 = &s;", "error", "cannot find value `s` in this scope: an earlier cell has moved it"),
        ("let n = \"x\".parse::<i32>()?;", "error", "invalid digit"),
        ("n + 1", "error", "the cell that defines it has failed or was interrupted"),
        ("let c = |x: i32| x + 1;", "error", "`c` is a closure"),
        ("let w = Vec::new();", "error", "type annotations needed"),
    ]
    for cell, expected, text in cells:
        status, output = kernel.run(cell)
        assert (status, text in output) == (expected, True), output
        assert "unused" not in output, "a warning is not an error: " + output
    assert kernel.run('println!("x")') == ("ok", "x\n"), "the value () is not displayed"
    assert not list(kernel.directory.glob("target/debug/**/*.rmeta")) and not list(kernel.directory.glob("target/release/deps/libctx-*"))
    assert not (kernel.directory / "store-disabled").exists()


def test_cells_stay_fast_with_another_crate(kernel):
    assert kernel.run(':dep itoa = "1"')[0] == "ok"
    cell = f"let a = {uuid.uuid4().int % 1000};"
    assert is_compiled(kernel, cell, "")
    assert list((kernel.directory / "calls").iterdir()), "the call of rustc is recorded"
    assert kernel.run("let b = aa;")[0] == "error" and kernel.run("a + 1")[0] == "ok"


def test_the_committed_cells_are_not_compiled(start_kernel, broker):
    for name, last in (("Lesson", "show_log()"), ("Streamer", ".start(source)"), ("Listener", 'figure.show("audience"')):
        kernel = start_kernel(KAFKA_BOOTSTRAP_SERVERS=broker)
        for cell in committed(name, last):
            assert not is_compiled(kernel, cell, ""), cell
        if name == "Listener":
            status, output = kernel.run("listener.print_tweets(3)?;")
            assert status == "ok" and output.count("followers") == 3, "what was not compiled works: " + output


def test_a_cell_is_compiled_once_in_all_kernels(start_kernel):
    text = str(uuid.uuid4())
    define, show = f'let text = "{text}".to_owned();', 'println!("{text}");'
    for turn in range(2):
        kernel = start_kernel()
        assert is_compiled(kernel, define, "") == (turn == 0)
        kernel.run(show)
        assert not is_compiled(kernel, show, text), "again, under another number"
    assert is_compiled(kernel, f'println!("{{text}} {text}");', f"{text} {text}"), "a changed cell"


def test_a_cell_with_other_types_or_another_text_is_another_cell(kernel):
    assert kernel.run("let value = 200_u8;")[0] == "ok"
    assert kernel.run("value") == ("ok", "200")
    assert kernel.run('let value = "text";')[0] == "ok"
    assert kernel.run("value") == ("ok", '"text"')
    assert kernel.run("let value = 201_u8;")[0] == "ok"
    assert kernel.run("value") == ("ok", "201")


def test_an_error_is_reported_from_the_store_too(start_kernel):
    answers = []
    for _ in range(2):
        kernel = start_kernel()
        assert kernel.run("let one = 1; let two = String::from(\"2\"); let three = 3.0;")[0] == "ok"
        status, output = kernel.run("let wrong: u8 = two + one;")
        assert status == "error" and "mismatched types" in output
        answers.append(output)
        # Only the moved variable is lost.
        assert kernel.run("drop(two); println!(\"{one}\");") == ("ok", "1\n")
        status, output = kernel.run("two.len()")
        assert status == "error" and "cannot find value `two`" in output
        assert kernel.run("three + 1.0") == ("ok", "4.0")
    assert answers[0] == answers[1]


def test_a_cell_that_reads_a_file_is_compiled_again(start_kernel, tmp_path):
    file = tmp_path / "data.txt"
    cell = f'include_str!("{file}").len()'
    kernel = start_kernel()
    status, output = kernel.run(cell)
    assert status == "error" and "data.txt" in output
    for length in (3, 5):
        file.write_text("x" * length)
        assert start_kernel().run(cell) == ("ok", str(length))


def test_types_of_cells_keep_their_identity(start_kernel):
    for _ in range(2):
        kernel = start_kernel()
        assert kernel.run("#[derive(Debug)] struct Point { x: i32 }")[0] == "ok"
        assert kernel.run("let point = Point { x: 5 };")[0] == "ok"
        assert kernel.run("point.x + 1") == ("ok", "6")
    # This cell needs another crate, so from here on cargo compiles the cells.
    status, output = kernel.run(':dep itoa = "1"')
    assert status == "ok", output
    status, output = kernel.run("println!(\"{}\", itoa::Buffer::new().format(point.x));")
    assert (status, output.splitlines()[-1]) == ("ok", "5"), output
    assert kernel.run("point.x + 2") == ("ok", "7")


def test_a_damaged_store_is_not_used(start_kernel, tmp_path):
    shutil.copytree(STORE, tmp_path / "store")
    files = [file for file in STORE.iterdir() if not file.name.startswith(".")]
    assert len(files) > 20
    try:
        for number, file in enumerate(files):
            content = bytearray(file.read_bytes())
            at = (number * 997) % len(content)
            content[at] ^= 0xFF
            file.write_bytes(content if number % 2 else content[:at])
        kernel = start_kernel()
        assert kernel.run(DEP)[0] == "ok"
        status, output = kernel.run('Analyzer::new().score("I love bitcoin").compound > 0.5')
        assert (status, output) == ("ok", "true")
    finally:
        shutil.rmtree(STORE)
        shutil.copytree(tmp_path / "store", STORE)


def test_two_kernels_at_once(start_kernel):
    kernels = [start_kernel(), start_kernel()]
    text = str(uuid.uuid4())
    answers = [[], []]

    def work(kernel, answers):
        for number in range(5):
            answers.append(kernel.run(f'let value_{number} = "{text}".len() + {number}; value_{number}'))

    threads = [threading.Thread(target=work, args=arguments) for arguments in zip(kernels, answers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[0] == answers[1] == [("ok", str(36 + number)) for number in range(5)]
