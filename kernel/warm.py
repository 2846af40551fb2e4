"""Prepares the working directory of which every kernel gets a copy, see start.py.

It runs a real kernel in the directory and executes one cell, so that everything which the cell needs is
compiled. If nothing has changed since the last time, it does nothing.
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
# Cells compile faster without optimisation. The library is optimised, see CARGO_CONFIG.
opt_level = "0"
# rust-analyzer reads the standard library for the first variable of a kernel. It does so at the start
# of the kernel, and not in the first cell of the user.
prelude = "use live_sentiment::prelude::*; let prelude = Analyzer::new(); live_sentiment::interrupt::handle_interrupts();"

[dependencies]
live_sentiment = {{ path = "{ROOT}" }}
"""
# The crates that process every tweet are optimised. Optimising all crates would take two more minutes
# of set-up, most of them for macros.
HOT = "live_sentiment vader_sentiment unicase serde_core serde_json itoa memchr jiff rand rand_core tokio rdkafka".split()
# A cell is linked with the library's shared object, and not with copies of all its dependencies, which
# would take a third of the time of a cell.
CARGO_CONFIG = """# Made by `make setup`. Cargo reads it for the kernels' directories below this one.
[build]
rustflags = ["-Cprefer-dynamic"]
""" + "".join(
    f"[profile.dev.package.{crate}]\nopt-level = 2\ndebug-assertions = false\noverflow-checks = false\n"
    for crate in HOT
)
CELL = 'let warm = Analyzer::new().score("warm"); println!("warm");'


def fingerprint():
    """Returns a hash that changes with everything that a kernel compiles."""
    digest = hashlib.sha256(subprocess.check_output(["rustc", "-vV"]))
    digest.update((CONFIG + CARGO_CONFIG).encode())
    files = [ROOT / "Cargo.toml", ROOT / "Cargo.lock", *sorted((ROOT / "kernel").glob("*.py"))]
    for file in [*files, *sorted((ROOT / "kernel" / "locked").iterdir()), *sorted((ROOT / "src").rglob("*"))]:
        if file.is_file():
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def copy_standard_library():
    """Copies the sources from which rust-analyzer infers types of the standard library: the four crates
    that a cell can name. The rest, mostly the instructions of each processor, is three quarters of the
    sources, and would take five seconds at each start of a kernel."""
    sysroot = Path(subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip())
    library = sysroot / "lib" / "rustlib" / "src" / "rust" / "library"
    shutil.rmtree(STD, ignore_errors=True)
    for crate in ("core", "alloc", "std", "proc_macro"):
        shutil.copytree(library / crate / "src", STD / crate / "src")


def remove_incremental_state():
    """Removes what only a change of the library could use."""
    for folder in WARM.glob("target/*/debug/incremental/live_sentiment-*"):
        shutil.rmtree(folder)


def main():
    now = fingerprint()
    if WARM.exists() and STAMP.exists() and STAMP.read_text() == now:
        print("kernel: warm")
        return
    print("kernel: compiling the library for the notebooks (2 to 4 minutes the first time) …", flush=True)
    began = time.monotonic()
    STAMP.unlink(missing_ok=True)
    WARM.mkdir(parents=True, exist_ok=True)
    # Cargo resolves the versions again, to those of our lock file, see locked/cargo.
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
        output = []
        reply = client.execute_interactive(
            CELL, timeout=900, output_hook=lambda message: output.append(str(message["content"]))
        )
        if reply["content"]["status"] != "ok" or "warm" not in "".join(output):
            sys.exit("kernel: the first cell failed:\n" + "\n".join(output))
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    remove_incremental_state()
    STAMP.write_text(now)
    print(f"kernel: warm after {time.monotonic() - began:.0f} s", flush=True)


main()
