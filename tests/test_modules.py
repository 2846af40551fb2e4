"""The order of the modules: imports go in one direction, as docs/architecture.md lists them."""

import re
from graphlib import CycleError, TopologicalSorter

from conftest import ROOT

SRC = ROOT / "src"


def module(file):
    parts = file.relative_to(SRC).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


FILES = {module(file): file for file in SRC.rglob("*.rs")}


def expand(path):
    """Returns the paths of a `use` with braces."""
    head, brace, tail = path.partition("{")
    if not brace:
        return [path.split(" as ")[0].strip()]
    parts, depth, start = [], 0, 0
    tail = tail.rsplit("}", 1)[0] + ","
    for at, character in enumerate(tail):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(tail[start:at].strip())
            start = at + 1
    return [path for part in parts if part for path in expand(head.strip() + part)]


def absolute(here, path):
    """Returns a path of this crate from its root, or None for the path of another crate."""
    parts = tuple(path.split("::"))
    while parts and parts[0] in ("self", "super"):
        here = here[:-1] if parts[0] == "super" else here
        parts = parts[1:]
        if not parts or parts[0] != "super":
            return here + parts
    if parts[0] == "crate":
        return parts[1:]
    return here + parts if here + parts[:1] in FILES else None


def imports():
    """Returns the imports and the re-exports of each module. Imports of unit tests do not count."""
    private, public = {}, {}
    for here, file in FILES.items():
        code = re.sub(r"//.*", "", file.read_text()).split("#[cfg(test)]\nmod tests")[0]
        private[here], public[here] = [], []
        for export, path in re.findall(r"^\s*(pub(?:\([a-z]+\))? )?use ([^;]+);", code, re.M):
            paths = [absolute(here, one) for one in expand(path)]
            (public if export else private)[here] += [one for one in paths if one is not None]
        # Paths that are used without an import.
        inline = re.sub(r"^\s*(pub(\([a-z]+\))? )?use [^;]+;", "", code, flags=re.M)
        private[here] += [tuple(path.split("::")) for path in re.findall(r"\bcrate::([\w:]+\w)", inline)]
    return private, public


PRIVATE, PUBLIC = imports()


def home(path):
    """Returns the module that defines this item. A re-exported item belongs to the module that defines it."""
    owner = max((path[:length] for length in range(len(path) + 1) if path[:length] in FILES), key=len)
    name = path[len(owner):len(owner) + 1]
    again = [export for export in PUBLIC[owner] if name and export[-1:] == name and export != path]
    return home(again[0]) if again else owner


def test_a_module_imports_only_modules_above_it_in_the_table():
    table = re.search(r"\| module of .*?\n\n", (ROOT / "docs/architecture.md").read_text() + "\n\n", re.S)[0]
    order = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert sorted(order) == sorted({here[0] for here in FILES if here}), "the table lists each module of src once"
    upwards = [
        f"{'::'.join(here)} imports {'::'.join(path)}"
        for here in FILES
        if here
        for path in PRIVATE[here] + PUBLIC[here]
        if path[:1] not in FILES or order.index(path[0]) > order.index(here[0])
    ]
    assert not upwards, "these import from lib.rs, or a module below them in the table"


def test_no_two_files_import_each_other():
    # A file may use the items of its parent modules.
    graph = {here: {home(path) for path in PRIVATE[here]} - {here[:length] for length in range(len(here) + 1)} for here in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join("::".join(part) for part in reversed(error.args[1]))) from None
