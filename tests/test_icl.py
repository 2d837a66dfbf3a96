"""The generated in-context tasks: solvable from their examples alone, by nothing else; shots are nested."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from slmeval.datasets import open_folder, open_sample
from slmeval.questions import Draft, draft
from slmeval.registry import load
from slmeval.types import Row, RunOptions, Score
from slmeval_icl import TASKS

PARTS = load().parts
NAMES = [task.name for task in TASKS]
#: the hashes of the generated rows: they are the same for ever
ROWS = {
    "icl_copy": "ab72d27539ba00c7",
    "icl_recall": "b020c4b1e0b53ae4",
    "icl_classify": "99dcb89b59b68c88",
    "icl_labels": "d1cccd804b51add3",
    "icl_named": "f4200e31606a27d2",
    "icl_flipped": "376ba484aaaef635",
}


def generated(name: str, tmp_path: Path, shots: int) -> Draft:
    """A folder that holds no rows: they are generated."""
    return draft(RunOptions(data=str(tmp_path)), PARTS.tasks[name], shots, PARTS, open_folder(tmp_path))


def rows(name: str, tmp_path: Path, split: str) -> tuple[Row, ...]:
    return PARTS.tasks[name].load(open_folder(tmp_path), split).rows


def contexts(made: Draft) -> list[str]:
    return [
        request.context
        for sample in made.samples
        for request in sample.requests[:1]
        if isinstance(request, Score)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_generated_rows_are_the_same_for_ever(name: str, tmp_path: Path) -> None:
    made = generated(name, tmp_path, 1)
    assert made.data.source == f"generated {name} 1.0"
    assert made.data.sha256[:16] == ROWS[name]
    assert len(made.samples) == made.data.rows == PARTS.tasks[name].dataset.rows
    assert not made.sample


@pytest.mark.parametrize("name", NAMES)
def test_no_question_stands_among_its_examples_and_each_rule_has_enough(name: str, tmp_path: Path) -> None:
    examples = defaultdict(list)
    for row in rows(name, tmp_path, "train"):
        examples[row["rule"]].append(row["input"])
    for row in rows(name, tmp_path, "test"):
        assert row["input"] not in examples[row["rule"]]
        assert len(set(examples[row["rule"]])) == 24
        assert len(set(row["choices"])) == len(row["choices"])


@pytest.mark.parametrize("name", ["icl_copy", "icl_recall", "icl_classify", "icl_labels"])
def test_who_cannot_read_the_examples_is_right_as_often_as_by_chance(name: str, tmp_path: Path) -> None:
    """The same question is there under every answer, equally often."""
    golds: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row in rows(name, tmp_path, "test"):
        key = (row["input"], *sorted(row["choices"]))
        golds[key][row["choices"][row["label"]]] += 1
    for (_, *choices), found in golds.items():
        assert found == Counter(choices)


def test_what_is_known_before_helps_one_way_and_hurts_the_other(tmp_path: Path) -> None:
    named, flipped = (rows(name, tmp_path, "test") for name in ("icl_named", "icl_flipped"))
    for one, other in zip(named, flipped, strict=True):
        assert (one["input"], one["choices"]) == (other["input"], other["choices"])
        assert one["label"] == 1 - other["label"]
    assert Counter(row["label"] for row in named) == {0: 120, 1: 120}


def follows(name: str, context: str, choices: tuple[str, ...]) -> str | None:
    """The answer that the examples of a prompt tell, read by hand."""
    *shown, question = context.split("\n\n")
    pairs = [line.rsplit(" ", 1) for line in shown]
    if name == "icl_copy":
        # what came after the last word before: in an example's answer, or within its input
        after = [
            (line.split()[at], line.split()[at + 1])
            for line in shown
            for at in range(2, len(line.split()) - 1)
        ]
        last = question.split()[-1]
        return next((word for key, word in reversed(after) if key == last), None)
    if name in {"icl_recall", "icl_classify"}:
        last = question.split()[-1]
        return next((answer for asked, answer in reversed(pairs) if asked.split()[-1] == last), None)
    from slmeval_icl.words import CATEGORIES

    of = {word: category for category, words in CATEGORIES.items() for word in words}
    category = of[re.split(r", | and ", question)[0]]
    told = {of[re.split(r", | and ", asked)[0]]: answer for asked, answer in pairs}
    if category in told or not told:
        return told.get(category)
    # two categories, and the examples show the other one
    return next(choice for choice in choices if choice not in told.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_tell_the_answer(name: str, tmp_path: Path) -> None:
    made = generated(name, tmp_path, 5)
    right = [
        follows(name, context, sample.choices) == sample.choices[sample.target]
        for context, sample in zip(contexts(made), made.samples, strict=True)
        if isinstance(sample.target, int)
    ]
    assert all(right)
    assert len(right) == len(made.samples)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sample", [True, False])
def test_more_shots_begin_with_the_fewer(name: str, sample: bool, tmp_path: Path) -> None:
    source = open_sample() if sample else open_folder(tmp_path)
    task = PARTS.tasks[name]
    at = {shots: contexts(draft(RunOptions(), task, shots, PARTS, source)) for shots in (0, 1, 2, 5)}
    for question, one, two, five in zip(at[0], at[1], at[2], at[5], strict=True):
        blocks = [prompt.split("\n\n") for prompt in (question, one, two, five)]
        assert [len(each) for each in blocks] == [1, 2, 3, 6]
        assert all(each[-1] == question for each in blocks)
        assert blocks[1][:-1] == blocks[3][:1]
        assert blocks[2][:-1] == blocks[3][:2]
