"""Prepares the working directory that every kernel gets a copy of: see start.py.

It runs a real kernel on it and one cell of a notebook, so that all that cell needs is compiled.
Nothing is done when nothing has changed since.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec

from start import HOME, PROGRAM, ROOT, STD, WARM, environment

STAMP = HOME / "warm.stamp"
CONFIG = f"""# Made by `make setup`.
[evcxr]
# Cells compile faster so, and what is fast or slow is in the library: see CARGO_CONFIG.
opt_level = "0"
# The first variable of a kernel makes rust-analyzer read the standard library: better now than in
# the reader's first cell.
prelude = "use live_sentiment::prelude::*; let prelude = Analyzer::new();"

[dependencies]
live_sentiment = {{ path = "{ROOT}" }}
"""
# What every tweet goes through is compiled to be fast; to do that with all of it would take set-up
# two minutes more, most of them for macros.
HOT = "live_sentiment vader_sentiment unicase serde_core serde_json itoa memchr jiff rand rand_core tokio rdkafka".split()
# A cell is linked with the library's shared object, and not with a copy of all that is behind it:
# that is a third of what a cell takes.
CARGO_CONFIG = """# Made by `make setup`. Cargo reads it for the kernels' directories below this one.
[build]
rustflags = ["-Cprefer-dynamic"]
""" + "".join(
    f"[profile.dev.package.{crate}]\nopt-level = 2\ndebug-assertions = false\noverflow-checks = false\n"
    for crate in HOT
)
CELL = 'let warm = Analyzer::new().score("warm"); println!("warm");'


def fingerprint():
    """Changes with whatever a kernel compiles."""
    digest = hashlib.sha256(subprocess.check_output(["rustc", "-vV"]))
    digest.update((CONFIG + CARGO_CONFIG).encode())
    files = [ROOT / "Cargo.toml", ROOT / "Cargo.lock", *sorted((ROOT / "kernel").glob("*.py"))]
    for file in [*files, *sorted((ROOT / "kernel" / "locked").iterdir()), *sorted((ROOT / "src").rglob("*"))]:
        if file.is_file():
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def copy_standard_library():
    """The sources from which rust-analyzer learns the standard library's types: the four crates
    that a cell can name. The rest, above all each processor's own instructions, is three quarters
    of it, and costs every kernel five seconds."""
    sysroot = Path(subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip())
    library = sysroot / "lib" / "rustlib" / "src" / "rust" / "library"
    shutil.rmtree(STD, ignore_errors=True)
    for crate in ("core", "alloc", "std", "proc_macro"):
        shutil.copytree(library / crate / "src", STD / crate / "src")


def forget_the_unneeded():
    """What an earlier state of the library left, and what only a change of the library could use."""
    for folder in WARM.glob("target/*/debug/incremental/live_sentiment-*"):
        shutil.rmtree(folder)


def main():
    now = fingerprint()
    if WARM.exists() and STAMP.exists() and STAMP.read_text() == now:
        print("kernel: warm")
        return
    print("kernel: compiling what the notebooks use, so that they need not (2 to 4 minutes the first time) …", flush=True)
    began = time.monotonic()
    STAMP.unlink(missing_ok=True)
    WARM.mkdir(parents=True, exist_ok=True)
    # Resolved anew, to the versions of the tests: see locked/cargo.
    (WARM / "Cargo.lock").unlink(missing_ok=True)
    copy_standard_library()
    (HOME / "evcxr.toml").write_text(CONFIG)
    (HOME / ".cargo").mkdir(exist_ok=True)
    (HOME / ".cargo" / "config.toml").write_text(CARGO_CONFIG)
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[str(PROGRAM), "--control_file", "{connection_file}"], display_name="Rust", language="rust",
        interrupt_mode="message",
    )
    manager.start_kernel(env=environment(WARM), cwd=str(ROOT / "notebooks"))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=1500)
        said = []
        reply = client.execute_interactive(
            CELL, timeout=900, output_hook=lambda message: said.append(str(message["content"]))
        )
        if reply["content"]["status"] != "ok" or "warm" not in "".join(said):
            sys.exit("kernel: the first cell failed:\n" + "\n".join(said))
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    forget_the_unneeded()
    STAMP.write_text(now)
    print(f"kernel: warm after {time.monotonic() - began:.0f} s", flush=True)


main()
