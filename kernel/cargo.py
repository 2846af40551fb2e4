#!/usr/bin/env python3
"""Cargo, as the Rust kernel's rust-analyzer sees it.

Before the first cell, evcxr has rust-analyzer read the sources of every crate behind the notebook,
to learn the types of variables. For ours that are a hundred crates and 17 seconds, of which a
notebook needs two: this library, and the standard library. So `cargo metadata`, which is where
rust-analyzer learns what there is, leaves out what stands behind this library. The compiler sees
everything, and a crate that a notebook adds by `:dep` is read as ever.

rust-analyzer looks for cargo in CARGO_HOME/bin first, and start.py puts this file there. Whatever
is asked of it but metadata goes to the real cargo.
"""

import json
import os
import subprocess
import sys

LIBRARY = "live_sentiment"


def without_what_is_behind_the_library(metadata):
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
            metadata = without_what_is_behind_the_library(metadata)
        json.dump(metadata, sys.stdout)
    sys.exit(answer.returncode)


if __name__ == "__main__":
    main()
