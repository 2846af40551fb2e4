"""Starts the Rust kernel of one notebook, in its own working directory. This process then speaks Jupyter's
protocol for it, see front.py.

evcxr compiles each cell in a working directory. Two kernels must not share a directory. In an empty
directory, evcxr would first compile every dependency, which takes minutes. So `make setup` prepares one
directory, and each kernel gets a copy of it. Files that no kernel changes (the compiled dependencies) are
links, and the others are copies.

The kernel, or the program that starts it, may be killed at any time, so neither can clean up reliably. A
second process, the keeper, waits in its own session until one of them ends. It then kills every remaining
process of the kernel, and removes the copy.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "target" / "kernel"
WARM = HOME / "warm"
STD = HOME / "std"
TOOLS = ROOT / "target" / "tools" / "release"
PROGRAM = TOOLS / "rust-kernel"
# The file with the connection of evcxr, in the directory of a kernel.
CONNECTION = "connection.json"
CARGO = TOOLS / "cargo"
# Kernels share the files in these folders of cargo, except files whose names start as in CHANGING, which
# a kernel compiles or changes.
UNCHANGING = ("deps", "build", ".fingerprint")
CHANGING = ("ctx", "libctx", "live_sentiment", "liblive_sentiment")


def cargo_home():
    """Returns the user's CARGO_HOME, and our CARGO_HOME, which links to the user's files and contains our `cargo`."""
    real = Path(os.environ.get("LIVE_SENTIMENT_CARGO_HOME") or os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    ours = HOME / "cargo-home"
    (ours / "bin").mkdir(parents=True, exist_ok=True)
    for entry in real.iterdir():
        if entry.name != "bin":
            link(ours / entry.name, entry)
    link(ours / "bin" / "cargo", CARGO)
    return real, ours


def toolchain():
    """Returns the real cargo and rustc. rustup's proxies would look them up at each call."""
    known = os.environ.get("LIVE_SENTIMENT_CARGO"), os.environ.get("LIVE_SENTIMENT_RUSTC")
    if all(path and Path(path).exists() for path in known):
        return known
    try:
        cargo = subprocess.check_output(["rustup", "which", "cargo"], text=True).strip()
        rustc = str(Path(cargo).with_name("rustc"))
        if Path(rustc).exists():
            return cargo, rustc
    except (OSError, subprocess.CalledProcessError):
        pass
    return shutil.which("cargo"), shutil.which("rustc")


def tools():
    """Returns where cargo and rustc are. The kernelspec has these variables, because a server, such as
    JupyterHub, may start kernels without the user's variables and home folder."""
    cargo, rustc = toolchain()
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    return {"LIVE_SENTIMENT_CARGO": cargo, "LIVE_SENTIMENT_RUSTC": rustc, "LIVE_SENTIMENT_CARGO_HOME": str(home)}


def link(path, target):
    """Creates or replaces a symbolic link, even when two kernels start at once."""
    if not path.is_symlink() or Path(os.readlink(path)) != target:
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.symlink_to(target)
        fresh.replace(path)


def environment(tmpdir):
    """Returns the environment in which evcxr uses our settings, and our cargo (see kernel/cargo)."""
    real, ours = cargo_home()
    cargo, rustc = toolchain()
    path = os.environ.get("PATH", "")
    (HOME / "bin").mkdir(exist_ok=True)
    for name in ("cargo", "rustup"):
        link(HOME / "bin" / name, CARGO)
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(HOME / "bin"), str(Path(rustc).parent), path]),
        "LIVE_SENTIMENT_BIN": str(HOME / "bin"),
        "LIVE_SENTIMENT_PATH": path,
        "LIVE_SENTIMENT_ROOT": str(ROOT),
        "LIVE_SENTIMENT_STORE": str(HOME / "store"),
        "CARGO_HOME": str(ours),
        "LIVE_SENTIMENT_CARGO_HOME": str(real),
        "LIVE_SENTIMENT_CARGO": cargo,
        "LIVE_SENTIMENT_RUSTC": rustc,
        "RUSTC_WRAPPER": str(ROOT / "kernel" / "rustc"),
        "EVCXR_TMPDIR": str(tmpdir),
        "RUST_SRC_PATH": str(STD),
        "EVCXR_CONFIG_DIR": str(HOME),
        # evcxr updates its own kernelspec in this path. It must not change a kernelspec that the user
        # has installed elsewhere.
        "JUPYTER_PATH": str(HOME),
    }


def base_url():
    """Returns the base URL of the Jupyter server that has started this kernel, if other
    machines can reach the server or if it has a prefix. The figure then uses this URL, see
    src/figure/address.rs."""
    from jupyter_core.paths import jupyter_runtime_dir

    try:
        file = Path(jupyter_runtime_dir()) / f"jpserver-{os.environ['JPY_PARENT_PID']}.json"
        server = json.loads(file.read_text())
        local = server["hostname"] in ("localhost", "127.0.0.1", "::1") and server["base_url"] == "/"
        return "" if local else server["base_url"]
    except (OSError, KeyError, ValueError):
        # Another program has started the kernel: VS Code, or the tests.
        return ""


def copy(source, target):
    """Copies a directory, with links to the files that no kernel changes. There are thousands of files, and
    creating one takes a millisecond on some disks. Creating a link to a file or a folder takes a fiftieth
    of that."""
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
    # Cargo compiles everything again if modification times change.
    shutil.copystat(source, target)


def remove(own):
    """Removes the directory of a kernel, and the folder of its sockets."""
    with suppress(OSError, ValueError, KeyError):
        shutil.rmtree(Path(json.loads((own / CONNECTION).read_text())["ip"]).parent)
    shutil.rmtree(own, ignore_errors=True)


def remove_leftovers():
    """Removes copies whose kernel and keeper were both killed, for example by a power failure."""
    for left in HOME.glob("kernel-*"):
        import psutil

        process = int(left.name.split("-")[1])
        # In a container, the process that left the copy may have had the id of this one.
        if process == os.getpid() or not psutil.pid_exists(process):
            remove(left)


def start_evcxr(own, connection, mark):
    """Starts evcxr in a new directory. Returns its process, and the connection to it."""
    if not PROGRAM.exists() or not WARM.exists():
        raise OSError("it is not set up; hint: run `make setup` in the repository")
    remove_leftovers()
    # Start the keeper before the copy, because this process may be killed while it copies.
    subprocess.Popen(
        [sys.executable, __file__, "--keep", str(own), str(os.getpid()), os.environ.get("JPY_PARENT_PID", "")],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    copy(WARM, own)
    # A Unix socket has no port that another program could take. The path of one may have only 100 characters,
    # and that of the repository may be longer.
    sockets = Path(tempfile.gettempdir()) / f"live-sentiment-{secrets.token_hex(8)}"
    ports = {f"{name}_port": number for number, name in enumerate(("shell", "control", "stdin", "iopub", "hb"), 1)}
    inner = {**connection, **ports, "transport": "ipc", "ip": f"{sockets}/evcxr"}
    file = own / CONNECTION
    file.touch(mode=0o600)
    # The file comes first: the keeper reads in it which folder it must remove.
    file.write_text(json.dumps(inner))
    sockets.mkdir(mode=0o700)
    variables = {**environment(own), "LIVE_SENTIMENT_BASE_URL": base_url(), "LIVE_SENTIMENT_FRONT": mark}
    with open(own / "evcxr.log", "w") as log:
        return subprocess.Popen([str(PROGRAM), "--control_file", str(file)], env=variables, stderr=log), inner


def start(connection_file):
    # By default, evcxr ends the process of the cells at an interrupt. With SIGINT ignored, it does not, and
    # the handler of our library ends a wait instead, see src/task/interrupt.rs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = json.loads(Path(connection_file).read_text())
    own = HOME / f"kernel-{os.getpid()}"
    evcxr, why, mark = None, None, secrets.token_hex(8)
    try:
        evcxr, inner = start_evcxr(own, connection, mark)
    except OSError as error:
        why = str(error)
    # Importing the protocol takes 0.2 s. Meanwhile, evcxr starts.
    from front import Front

    front = Front(connection, own / "src" / "lib.rs", mark)
    if evcxr:
        front.connect(inner)
        if not front.run(lambda: evcxr.poll() is None):
            lines = (own / "evcxr.log").read_text(errors="replace").splitlines()[-3:]
            why = "\n".join([f"evcxr has ended with the status {evcxr.poll()}", *lines])
    if why:
        front.fail(f"the Rust kernel cannot start: {why}")
        front.run(lambda: True)
    front.close()
    sys.exit(evcxr.wait() if evcxr else 1)


def keep(own, kernel, parent):
    """Waits until the kernel, or the program that started it, has ended. Then kills every process of the
    kernel, and removes its directory."""
    import psutil

    def is_of_kernel(process):
        try:
            return process.pid != os.getpid() and process.environ().get("EVCXR_TMPDIR") == own
        except psutil.Error:
            return False

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(psutil.NoSuchProcess):
        # psutil also compares the start time, because another process can get the same id later.
        watched = [psutil.Process(int(process)) for process in (kernel, parent) if process]
        while all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in watched):
            time.sleep(0.2)
    # While the kernel runs, it is the parent of this process. It may still be copying.
    while os.getppid() == int(kernel):
        os.kill(int(kernel), signal.SIGKILL)
        time.sleep(0.05)
    while left := [process for process in psutil.process_iter() if is_of_kernel(process)]:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.05)
    remove(Path(own))


if __name__ == "__main__":
    if sys.argv[1] == "--keep":
        keep(*sys.argv[2:5])
    elif sys.argv[1] == "--spec":
        argv = [sys.executable, __file__, "{connection_file}"]
        spec = {"argv": argv, "env": tools(), "display_name": sys.argv[2], "language": "rust", "interrupt_mode": "signal"}
        print(json.dumps(spec, indent=1))
    else:
        start(sys.argv[1])
