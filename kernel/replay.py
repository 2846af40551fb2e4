"""The file of a replay, for `make demo` and `make lesson`."""

import sys
from pathlib import Path


def whole_path(file, program):
    """Returns the whole path of a file: a kernel has a working directory of its own."""
    path = Path(file).resolve()
    if not path.is_file():
        sys.exit(f"{program}: failed to open the replay file {path}: it does not exist\nhint: give SOURCE=replay:FILE")
    return path
