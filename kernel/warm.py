"""Compiles the cells of the notebooks in the directory that each kernel gets a copy of. The cells are not
executed. Our cargo stores the results, see kernel/cargo.
"""

import subprocess
import sys

from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec

from prepare import CELLS, cells
from start import PROGRAM, ROOT, WARM, environment


def run(cells):
    manager = KernelManager()
    argv = [str(PROGRAM), "--control_file", "{connection_file}"]
    manager._kernel_spec = KernelSpec(argv=argv, display_name="Rust", language="rust")
    variables = {**environment(WARM), "LIVE_SENTIMENT_SETUP": "1"}
    manager.start_kernel(env=variables, cwd=str(ROOT / "notebooks"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=600)
        for cell in cells:
            output = []
            reply = client.execute_interactive(cell, timeout=300, output_hook=lambda message: output.append(str(message["content"])))
            if reply["content"]["status"] != "ok":
                sys.exit("setup: a cell of the notebooks fails:\n" + cell + "\n" + "\n".join(output))
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


# The first kernel changes the lock file to the state in which all later kernels find it.
run([])
for notebook, part in CELLS:
    print(f"setup: compiling the cells of {notebook.name}", flush=True)
    run(cells(notebook)[part])
for cell in WARM.glob("target/release/libcode_*"):
    cell.unlink()
