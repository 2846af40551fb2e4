"""Opens JupyterLab with both notebooks side by side. `make lab` calls it, with options for JupyterLab."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir
from jupyterlab_server.workspaces_handler import WorkspacesManager

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ("notebooks/Streamer.ipynb", "notebooks/Listener.ipynb")
WORKSPACES = ROOT / "target" / "lab" / "workspaces"
WORKSPACE = "side-by-side"
# How long JupyterLab may take to start, in seconds.
START_LIMIT = 60


def workspace():
    """Returns the layout of JupyterLab's window."""
    areas = [{"type": "tab-area", "currentIndex": 0, "widgets": [f"notebook:{path}"]} for path in NOTEBOOKS]
    dock = {"type": "split-area", "orientation": "horizontal", "sizes": [0.5, 0.5], "children": areas}
    sidebar = {"collapsed": True, "visible": True, "current": None, "widgets": []}
    layout = {
        "main": {"dock": dock, "current": f"notebook:{NOTEBOOKS[0]}"},
        "down": {"size": 0, "widgets": []}, "left": sidebar, "right": sidebar,
        "relativeSizes": [0, 1, 0],
    }  # fmt: skip
    data = {"layout-restorer:data": layout}
    for path in NOTEBOOKS:
        data[f"notebook:{path}"] = {"data": {"path": path, "factory": "Notebook"}}
    return {"data": data, "metadata": {"id": WORKSPACE}}


def announce(lab):
    """Says what to do next, once JupyterLab listens."""
    file = Path(jupyter_runtime_dir()) / f"jpserver-{lab}.json"
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and os.getppid() == int(lab):
        try:
            server = json.loads(file.read_text())
        except (OSError, ValueError):
            time.sleep(0.1)
            continue
        print(f"lab: JupyterLab is at {server['url']}lab/workspaces/{WORKSPACE}?token={server['token']}")
        print("lab: run the cells of both notebooks (in each: Run > Run All Cells); Ctrl-C ends JupyterLab", flush=True)
        return


def main(options):
    # The layout of the last time may have been changed beyond use.
    WORKSPACES.mkdir(parents=True, exist_ok=True)
    WorkspacesManager(str(WORKSPACES)).save(WORKSPACE, json.dumps(workspace()))
    subprocess.Popen([sys.executable, __file__, "--announce", str(os.getpid())])
    jupyter = Path(sys.executable).with_name("jupyter")
    settings = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.workspaces_dir={WORKSPACES}",
        f"--LabApp.default_url=/lab/workspaces/{WORKSPACE}",
    ]
    # What a reader needs is printed by `announce`.
    if not any(option.startswith("--log-level") for option in options):
        settings.append("--log-level=ERROR")
    # JupyterLab refuses to run as root, the user in most containers, without this flag.
    root = ["--allow-root"] if os.getuid() == 0 else []
    os.execv(jupyter, [str(jupyter), "lab", *root, *settings, *options])


if sys.argv[1:2] == ["--announce"]:
    announce(sys.argv[2])
else:
    main(sys.argv[1:])
