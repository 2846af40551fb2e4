"""Measures how long the cell of an ordinary mistake takes to show its error, and how long the next good cell
takes. The kernel runs the cells one after the other, and each text is new, so the compiler runs each time."""

import uuid

from machine import ROOT, median, spread, table
from notebook import Kernel, of

BEFORE = [
    ':dep live_sentiment = {path = ".."}\nuse live_sentiment::prelude::*;',
    "let text = String::from(\"a\"); let list = vec![1, 2, 3]; fn unused() { let q = 1; }",
    "let taken = String::from(\"b\"); let other = taken;",
]
# `{}` is a new name, so no cell has been compiled before.
MISTAKES = [
    ("a typo in a name", "let {} = lisst.len();"),
    ("a typo in a method", "let {} = 1; list.lenn()"),
    ("a missing semicolon", "let {} = 1\nlet b = 2;"),
    ("a wrong type", "let {}: i32 = \"x\";"),
    ("an unknown function", "let {} = 1; mean(1)"),
    ("a missing `?`", "let {} = \"5\".parse::<i32>(); let m: i32 = {} + 1;"),
    ("a value that was moved in the cell", "let {} = text;\nprintln!(\"{{text}}\");"),
    ("a value that was moved in an earlier cell", "let {} = &taken;"),
    ("an assignment to such a value", "let {} = 1; taken = String::new();"),
    ("a closure that cannot be kept", "let {} = |x: i32| x + 1;"),
    ("a borrow that cannot be kept", "let {} = &list[0];"),
    ("a variable that is not mutable", "let {} = 1; list.push(4);"),
    ("an unknown crate", "use serde_jsn::{};"),
    ("an unknown type", "let {} = Streamr::new();"),
    ("a missing field", "struct S{} {{ x: i32, y: i32 }}\nlet p = S{} {{ x: 1 }};"),
    ("a wrong number of arguments", "let {} = \"a\".replace(\"b\");"),
    ("a bracket that is not closed", "let {} = (1 + 2;"),
    ("a type that is unknown", "let {} = Vec::new();"),
    ("a variable that is used before its cell", "{} + 1"),
    ("Python", "let {} = 1; print(\"hi\")"),
    ("an error that leaves the cell through `?`", "let {} = \"x\".parse::<i32>()?;"),
    ("a panic", "let {}: Vec<i32> = vec![];\n{}[5]"),
]


def measure(kernel, cell, expected):
    name = "v" + uuid.uuid4().hex[:12]
    began_at = len(kernel.output)
    seconds, status = kernel.time(cell.format(name, name))
    if status != expected:
        raise RuntimeError(f"{cell}: {status}\n{kernel.output[began_at:][:2000]}")
    return seconds


def tables(turns):
    found = {mistake: ([], []) for mistake, _ in MISTAKES}
    for _ in range(turns):
        with Kernel(of(ROOT)) as kernel:
            for cell in BEFORE:
                kernel.run(cell)
            for mistake, cell in MISTAKES:
                found[mistake][0].append(measure(kernel, cell, "error"))
                found[mistake][1].append(measure(kernel, "let {} = 1;", "ok"))
    seconds = "{:.2f}".format
    rows = [[mistake, spread(error, seconds), spread(good, seconds)] for mistake, (error, good) in found.items()]
    worst = [max(median(times[part]) for times in found.values()) for part in (0, 1)]
    rows.append(["**the slowest**", f"**{worst[0]:.2f}**", f"**{worst[1]:.2f}**"])
    about = f"Seconds until the cell has shown its error, and seconds that the next good cell takes; {turns} kernels, one after the other. No cell was compiled before.\n\n"
    return about + table(["mistake", "its error", "the next cell"], rows)
