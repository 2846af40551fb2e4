"""The scripts in the folder kafka/."""

import subprocess

from conftest import ROOT

FOLDER = ROOT / "target" / "kafka"


def test_the_archive_of_classes_fits_the_jars_and_is_written_again_for_another_java(apache):
    def is_used():
        # With this option, Java ends with an error if it cannot use the archive.
        java = [ROOT / "kafka" / "java", "-Xshare:on", "-version"]
        return subprocess.run(java, cwd=ROOT, capture_output=True).returncode == 0

    archive, made_for = FOLDER / "classes.jsa", FOLDER / "classes.java"
    assert archive.is_file() and is_used()
    java = made_for.read_text()
    made_for.write_text("another Java")
    next(FOLDER.glob("libs/*.jar")).touch()
    assert not is_used()
    subprocess.run([ROOT / "kafka" / "prepare"], check=True, capture_output=True)
    assert made_for.read_text() == java and is_used()
