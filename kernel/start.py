"""Starts the Rust kernel of one notebook, in a working directory of its own.

evcxr compiles each cell in a working directory, and two kernels must not share one. An empty one
would have to compile every dependency first, which takes minutes. So `make setup` prepares one
directory, and each kernel gets a copy of it: what no kernel changes (the compiled dependencies) as
links, the rest as files of its own.

A kernel may be killed at any time, so it cannot be trusted to clean up, and a program that starts
kernels may be killed too. A second process, in a session of its own, waits for the end of either,
stops what is left running, and removes the copy.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "target" / "kernel"
WARM = HOME / "warm"
STD = HOME / "std"
PROGRAM = ROOT / "target" / "tools" / "bin" / "evcxr_jupyter"
# What may be shared is all in these folders of cargo's, but for what is compiled anew, or changed,
# in a kernel's life.
UNCHANGING = ("deps", "build", ".fingerprint")
CHANGING = ("ctx", "libctx", "live_sentiment", "liblive_sentiment")


def cargo_home():
    """A CARGO_HOME that is the person's own, but for the `cargo` in it: see cargo.py."""
    real = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    ours = HOME / "cargo-home"
    (ours / "bin").mkdir(parents=True, exist_ok=True)
    for entry in real.iterdir():
        if entry.name != "bin":
            link(ours / entry.name, entry)
    link(ours / "bin" / "cargo", ROOT / "kernel" / "cargo.py")
    return real, ours


def cargo(home):
    """The real one; rustup's stand-in would decide anew at each call which that is."""
    try:
        return subprocess.check_output(["rustup", "which", "cargo"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return shutil.which("cargo") or str(home / "bin" / "cargo")


def link(path, target):
    """Like `ln -sfn`, also when two kernels start at once."""
    if not path.is_symlink() or Path(os.readlink(path)) != target:
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.symlink_to(target)
        fresh.replace(path)


def environment(tmpdir):
    """The variables that make evcxr use our settings and nobody else's."""
    real, ours = cargo_home()
    path = os.environ.get("PATH", "")
    return {
        **os.environ,
        "PATH": f"{ROOT / 'kernel' / 'locked'}{os.pathsep}{path}",
        "LIVE_SENTIMENT_PATH": path,
        "LIVE_SENTIMENT_LOCK": str(ROOT / "Cargo.lock"),
        "CARGO_HOME": str(ours),
        "LIVE_SENTIMENT_CARGO_HOME": str(real),
        "LIVE_SENTIMENT_CARGO": cargo(real),
        "EVCXR_TMPDIR": str(tmpdir),
        "RUST_SRC_PATH": str(STD),
        "EVCXR_CONFIG_DIR": str(HOME),
        # evcxr looks below this for its own kernelspec, to bring it up to date. Ours is not its
        # own, and a person's plain evcxr elsewhere is not ours to change.
        "JUPYTER_PATH": str(HOME),
    }


def copy(source, target):
    """Copies a directory, and shares what no kernel changes. Making a file costs a millisecond on
    some disks, and there are thousands: a link to one, or to a whole directory, costs a fiftieth."""
    target.mkdir()
    for entry in os.scandir(source):
        new = target / entry.name
        shared = source.name in UNCHANGING and not entry.name.startswith(CHANGING)
        if shared and entry.is_dir():
            new.symlink_to(entry.path)
        elif shared:
            os.link(entry.path, new)
        elif entry.is_dir():
            copy(Path(entry.path), new)
        else:
            shutil.copy2(entry.path, new, follow_symlinks=False)
    # Cargo compares times: with others it would compile everything anew.
    shutil.copystat(source, target)


def remove_what_was_left():
    """Removes copies whose kernel and keeper were both killed, by a power cut for example."""
    for left in HOME.glob("kernel-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            shutil.rmtree(left, ignore_errors=True)


def start(connection_file):
    if not PROGRAM.exists() or not WARM.exists():
        sys.exit("The Rust kernel is not set up. Run `make setup` in the repository first.")
    remove_what_was_left()
    own = HOME / f"kernel-{os.getpid()}"
    copy(WARM, own)
    subprocess.Popen(
        [sys.executable, __file__, "--keep", str(own), str(os.getpid()), os.environ.get("JPY_PARENT_PID", "")],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.execve(PROGRAM, [str(PROGRAM), "--control_file", connection_file], environment(own))


def keep(own, kernel, parent):
    """Waits for the end of the kernel, or of the program that started it, whose kernel must not
    outlive it; then stops whatever belongs to the kernel and removes its directory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched = []
    for process in filter(None, (kernel, parent)):
        try:
            watched.append(os.pidfd_open(int(process)))
        except ProcessLookupError:
            break
    else:
        select.select(watched, [], [])
    mark = f"EVCXR_TMPDIR={own}".encode()
    while left := [process for process in processes() if process_has(process, mark)]:
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    shutil.rmtree(own, ignore_errors=True)


def processes():
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def process_has(process, mark):
    try:
        return process != os.getpid() and mark in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


if __name__ == "__main__":
    if sys.argv[1] == "--keep":
        keep(*sys.argv[2:5])
    elif sys.argv[1] == "--spec":
        argv = [sys.executable, __file__, "{connection_file}"]
        spec = {"argv": argv, "display_name": "Rust", "language": "rust", "interrupt_mode": "message"}
        print(json.dumps(spec, indent=1))
    else:
        start(sys.argv[1])
