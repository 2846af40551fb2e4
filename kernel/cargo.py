#!/usr/bin/env python3
"""The `cargo` of the rust-analyzer in the Rust kernel.

Before the first cell, rust-analyzer reads the sources of every crate that the notebook depends on, to
infer the types of variables. For this library these are a hundred crates and 17 seconds; a notebook
needs only this library and the standard library. rust-analyzer gets the list of crates from `cargo
metadata`, so this script removes the dependencies of this library from that list. The compiler still
uses all crates, and a crate that a notebook adds with `:dep` stays in the list.

rust-analyzer looks for cargo in CARGO_HOME/bin first, where start.py puts a link to this file. Every
command other than `metadata` is passed to the real cargo.
"""

import json
import os
import subprocess
import sys

LIBRARY = "live_sentiment"


def without_dependencies_of_the_library(metadata):
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    for package in metadata["packages"]:
        if package["name"] == LIBRARY and package["source"] is None:
            package["dependencies"] = []
            nodes[package["id"]].update(deps=[], dependencies=[])
    reached, ahead = set(), list(metadata["workspace_members"])
    while ahead:
        package = ahead.pop()
        if package not in reached:
            reached.add(package)
            ahead += [dependency["pkg"] for dependency in nodes[package]["deps"]]
    metadata["packages"] = [package for package in metadata["packages"] if package["id"] in reached]
    metadata["resolve"]["nodes"] = [node for node in nodes.values() if node["id"] in reached]
    return metadata


def main():
    cargo = os.environ["LIVE_SENTIMENT_CARGO"]
    if home := os.environ.get("LIVE_SENTIMENT_CARGO_HOME"):
        os.environ["CARGO_HOME"] = home
    arguments = sys.argv[1:]
    if arguments[:1] != ["metadata"] or "--no-deps" in arguments:
        os.execv(cargo, [cargo, *arguments])
    answer = subprocess.run([cargo, *arguments], stdout=subprocess.PIPE)
    if answer.returncode == 0:
        metadata = json.loads(answer.stdout)
        if metadata.get("resolve"):
            metadata = without_dependencies_of_the_library(metadata)
        json.dump(metadata, sys.stdout)
    sys.exit(answer.returncode)


if __name__ == "__main__":
    main()
