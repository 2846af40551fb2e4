"""The whole Lesson in a real kernel: the statements of each step, the exercises, and the answers in docs/lesson.md."""

import json
import os
import re

import pytest
from conftest import ROOT, no_kernel_is_left, until

SHEET = (ROOT / "docs" / "lesson.md").read_text()
NUMBER = r"[+-]?[\d,]+(?:\.\d+)?"


@pytest.fixture(autouse=True)
def clean():
    until("earlier kernels to end", no_kernel_is_left)
    yield


def steps():
    """Returns the code cells of each step."""
    notebook = json.loads((ROOT / "notebooks" / "Lesson.ipynb").read_text())
    found = [[]]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("## "):
            found.append([])
        elif cell["cell_type"] == "code":
            found[-1].append(cell)
    return found


def answers():
    """Returns the answers of the teacher's sheet, one for each exercise."""
    return re.findall(r"```rust\n(lesson::check_.*?)```", SHEET, re.S)


def number(pattern, output):
    found = re.search(pattern, output)
    assert found, f"{pattern!r} is not in:\n{output}"
    return float(found[1].replace(",", ""))


class Lesson:
    """The notebook, executed step by step."""

    def __init__(self, kernel):
        self.run_cell = kernel.run_apart
        self.steps = steps()

    def run(self, code):
        output, errors = self.run_cell(code)
        assert not errors, code + "\n" + output + errors
        return output

    def step(self, index):
        """Runs a step. The exercise must first give a hint, and then a tick for the answer of the sheet.
        Returns the outputs of the other cells."""
        outputs = []
        for cell in self.steps[index]:
            output = self.run("".join(cell["source"]))
            if "exercise" in cell["metadata"].get("tags", []):
                assert "hint:" in output and "✔" not in output, output
            else:
                outputs.append(output)
        if index > 0:
            output = self.run(answers()[index - 1])
            assert "✔" in output and "hint:" not in output, output
        return outputs

    def counted(self, name="listener"):
        return int(number(r"counted=(\d+)", self.run(f'println!("counted={{}}", {name}.status().total.counted);')))

    def sum(self, name):
        """Returns the sum, rounded as on the cards. Two listeners may merge the partitions in different
        orders, which changes the last digits of a floating-point sum."""
        return number(rf"sum=({NUMBER})", self.run(f'println!("sum={{:.2}}", {name}.status().total.sum);'))


def check_first_steps(lesson):
    lesson.step(0)
    both_ends = lesson.step(1)
    assert "state: stopped" in both_ends[3]
    before = lesson.counted()
    until("the line to go on", lambda: lesson.counted() > before)

    shown, explained, by_hand = lesson.step(2)
    metric = number(rf"followers: ({NUMBER})", shown)
    assert metric > 3 and round(float(by_hand), 2) == metric, shown + by_hand
    assert number(rf"compound: ({NUMBER})", explained) > 0

    log, keys, ends = lesson.step(3)
    places = re.findall(r"newest: partition (\d), offset +([\d,]+)", log)
    assert len(places) == 5
    for partition in {partition for partition, _ in places}:
        offsets = [int(offset.replace(",", "")) for of, offset in places if of == partition]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), log
    authors = re.findall(r"^\S+ +\[(.*)\]$", keys, re.M)
    assert authors and all(len(set(partitions.split(", "))) == 1 for partitions in authors), keys
    assert len(re.findall(r"0 messages behind, at (\d+) of \1,", ends)) == 3, ends

    (late,) = lesson.step(4)
    assert number(rf"tweets: ({NUMBER})", late) == lesson.counted() == number(rf"tweets: ({NUMBER})", ends)
    assert lesson.sum("late") == lesson.sum("listener")

    lesson.step(5)
    counted = lesson.counted()
    until("the second metric to have caught up", lambda: lesson.counted("equal") >= counted)
    assert abs(lesson.sum("equal")) < abs(lesson.sum("listener"))
    return both_ends[0]


def test_the_lesson_on_apache_kafka(apache, start_kernel):
    lesson = Lesson(start_kernel())
    check_first_steps(lesson)

    moon, sarcasm, _ = lesson.step(6)
    assert number(rf"compound: ({NUMBER})", moon) == 0 < number(rf"compound: ({NUMBER})", sarcasm)
    until("the words to make a difference", lambda: lesson.sum("words") != lesson.sum("listener"))

    _, away, back, end = lesson.step(7)
    counts = {name: number(rf"{name}: ({NUMBER})", away) for name in ("read", "filtered out", "sent")}
    assert "was killed" in away and counts["read"] - counts["filtered out"] > counts["sent"] + 20, away
    assert "state: listening" in back, back
    assert "again: counted" in end
    assert lesson.sum("again") == lesson.sum("listener")
    sent = int(number(r"sent=(\d+)", lesson.run('println!("sent={}", streaming.status().counts.sent);')))
    assert lesson.counted() == lesson.counted("again") == sent > counts["read"] - counts["filtered out"]
    lag = lesson.run('println!("{:?}", listener.status().lag.iter().map(|lag| lag.lag).collect::<Vec<_>>());')
    assert "[0, 0, 0]" in lag

    _, shared, taken, sums = lesson.step(8)
    partitions = [int(count) for count in re.findall(r"(\d) partition", shared + taken)]
    assert {1, 2} & set(partitions), shared + taken
    # On a slow machine, the cell that watches for the takeover may end before the group notices the killed scorer.
    own = 'println!("has {} partitions", mine.as_ref().map_or(0, |mine| mine.status().partitions));'
    until("the first scorer to have all partitions", lambda: "has 3 partitions" in lesson.run(own))
    one, both = re.findall(r"^(?:one listener|the scorers): +(counted .*?), tweets of earlier", sums, re.M)
    assert one.split(", ")[:2] == both.split(", ")[:2], sums
    lesson.step(9)


def test_the_lesson_without_java_and_with_tweets_of_ones_own(start_kernel, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    file = tmp_path / "tweets.jsonl"
    lines = (
        {"id": n, "user": f"u{n % 17}", "followers": 10 ** (n % 7), "text": f"I love bitcoin, number {n}" if n % 3 else "bitcoin is bad"}
        for n in range(50)
    )
    file.write_text("".join(json.dumps({**line, "lang": "en"}) + "\n" for line in lines))
    lesson = Lesson(start_kernel(SOURCE=f"replay:{file}", PATH=f"{java.parent}:{os.environ['PATH']}"))
    started = check_first_steps(lesson)
    assert "Apache Kafka needs Java 17" in started and "The lesson continues with the embedded broker" in started
    lesson.step(6)
    faults = lesson.step(7)
    assert "does not run here: the embedded broker keeps its topics in memory" in faults[0]
    scale = lesson.step(8)
    assert "does not run here: the embedded broker has no transactions" in scale[0]
    lesson.step(9)


def test_the_sheet_has_an_answer_to_each_exercise():
    exercises = [cell for step in steps() for cell in step if "exercise" in cell["metadata"].get("tags", [])]
    names = [re.match(r"lesson::\w+", "".join(cell["source"]))[0] for cell in exercises]
    assert [re.match(r"lesson::\w+", answer)[0] for answer in answers()] == names and len(names) == 9
