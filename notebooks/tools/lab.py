"""Opens JupyterLab with both notebooks side by side, or with the Lesson if the first argument is `lesson`.
`make lab` and `make lesson` call it, with options for JupyterLab.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir
from jupyterlab_server.workspaces_handler import WorkspacesManager

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ("notebooks/Streamer.ipynb", "notebooks/Listener.ipynb")
LESSON = ("notebooks/Lesson.ipynb",)
WORKSPACES = ROOT / "target" / "lab" / "workspaces"
ADVICE = {
    "side-by-side": "run the cells of both notebooks (in each: Run > Run All Cells)",
    "lesson": "docs/lesson.md is the teacher's sheet",
}
# The time limit for the start of JupyterLab, in seconds.
START_LIMIT = 60


def workspace(name, notebooks):
    """Returns the layout of JupyterLab's window."""
    areas = [{"type": "tab-area", "currentIndex": 0, "widgets": [f"notebook:{path}"]} for path in notebooks]
    dock = {"type": "split-area", "orientation": "horizontal", "sizes": [1 / len(areas)] * len(areas), "children": areas}
    sidebar = {"collapsed": True, "visible": True, "current": None, "widgets": []}
    layout = {
        "main": {"dock": dock, "current": f"notebook:{notebooks[0]}"},
        "down": {"size": 0, "widgets": []}, "left": sidebar, "right": sidebar,
        "relativeSizes": [0, 1, 0],
    }  # fmt: skip
    data = {"layout-restorer:data": layout}
    for path in notebooks:
        data[f"notebook:{path}"] = {"data": {"path": path, "factory": "Notebook"}}
    return {"data": data, "metadata": {"id": name}}


def announce(lab, name):
    """Waits until JupyterLab listens, and then prints its address and what to do next."""
    file = Path(jupyter_runtime_dir()) / f"jpserver-{lab}.json"
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and os.getppid() == int(lab):
        try:
            server = json.loads(file.read_text())
        except (OSError, ValueError):
            time.sleep(0.1)
            continue
        print(f"lab: JupyterLab is at {server['url']}lab/workspaces/{name}?token={server['token']}")
        print(f"lab: {ADVICE[name]}; Ctrl-C ends JupyterLab", flush=True)
        return


def main(options):
    name, notebooks = ("lesson", LESSON) if options[:1] == ["lesson"] else ("side-by-side", NOTEBOOKS)
    if name == "lesson":
        options = options[1:]
        kind, _, file = os.environ.get("SOURCE", "").partition(":")
        if kind == "replay":
            # This import takes half a second, and only a replay needs it.
            from demo import whole_path

            os.environ["SOURCE"] = f"replay:{whole_path(file, 'lab')}"
    # The user may have changed the layout, so write it again at each start.
    WORKSPACES.mkdir(parents=True, exist_ok=True)
    WorkspacesManager(str(WORKSPACES)).save(name, json.dumps(workspace(name, notebooks)))
    subprocess.Popen([sys.executable, __file__, "--announce", str(os.getpid()), name])
    jupyter = Path(sys.executable).with_name("jupyter")
    settings = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.workspaces_dir={WORKSPACES}",
        f"--LabApp.default_url=/lab/workspaces/{name}",
    ]
    # `announce` prints the address, so JupyterLab's own log only distracts.
    if not any(option.startswith("--log-level") for option in options):
        settings.append("--log-level=ERROR")
    # JupyterLab refuses to run as root, the user in most containers, without this flag.
    root = ["--allow-root"] if os.getuid() == 0 else []
    os.execv(jupyter, [str(jupyter), "lab", *root, *settings, *options])


if sys.argv[1:2] == ["--announce"]:
    announce(sys.argv[2], sys.argv[3])
else:
    main(sys.argv[1:])
