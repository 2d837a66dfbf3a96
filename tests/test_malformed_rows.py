"""Rows that are not what a task needs: file, line and reason are told, and nothing is scored as right.

The good row of each schema is the one that the task's page shows; it stands in line 1, the bad one in line 2.
"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slmeval.api import Task
from slmeval.datasets import open_folder
from slmeval.errors import DataError, MissingExtra
from slmeval.questions import Draft, draft
from slmeval.registry import load
from slmeval.types import RunOptions

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("tasks/*/*.py"))
PARTS = load().parts
Row = dict[str, Any]


def sample_row(page: Path) -> Row | None:
    """The row in a page's docstring."""
    docstring = ast.get_docstring(ast.parse(page.read_text(encoding="utf-8"))) or ""
    found = re.search(r"^One row.*?::\n\n(.*?)\n\n(?=\S)", docstring, re.DOTALL | re.MULTILINE)
    return json.loads(found[1]) if found else None


def tasks_of(page: Path) -> Iterator[Task]:
    module = importlib.import_module(".".join(page.relative_to(ROOT / "tasks").with_suffix("").parts))
    for value in vars(module).values():
        for each in value if isinstance(value, tuple) else (value,):
            # tasks over tasks have no rows of their own
            if isinstance(each, Task) and not each.name.startswith("contamination"):
                yield each


def schemas() -> Iterator[tuple[Task, Row]]:
    for page in PAGES:
        row = sample_row(page)
        for task in tasks_of(page) if row else ():
            where = task.dataset.where
            if row and (where is None or row[where[0]] == where[1]):
                yield task, row


SCHEMAS = {task.name: (task, row) for task, row in schemas()}
CHOICES = [name for name, (task, _) in SCHEMAS.items() if task.kind == "multiple_choice"]


def asked(name: str, folder: Path, *rows: Row | bytes) -> Draft:
    task = SCHEMAS[name][0]
    (folder / task.dataset.name).mkdir()
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path = folder / task.dataset.name / f"{task.dataset.evaluation}.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    try:
        return draft(RunOptions(), task, 0, PARTS, open_folder(folder))
    except MissingExtra as error:
        pytest.skip(str(error))


def refused(name: str, folder: Path, bad: Row | bytes) -> str:
    with pytest.raises(DataError) as caught:
        asked(name, folder, SCHEMAS[name][1], bad)
    told = str(caught.value)
    dataset = SCHEMAS[name][0].dataset
    assert f"{dataset.name}/{dataset.evaluation}.jsonl, line 2" in told
    assert "\n" not in told
    return told


def fields(name: str) -> list[str]:
    dataset = SCHEMAS[name][0].dataset
    # rows that have another value there are rows of other tasks
    return [field for field in dataset.fields if dataset.where is None or field != dataset.where[0]]


def test_every_task_with_rows_shows_one() -> None:
    shown = {"mmlu" if name.startswith("mmlu_") else name for name in SCHEMAS}
    known = {
        "mmlu" if name.startswith("mmlu_") else name
        for name, task in PARTS.tasks.items()
        # those without a data set are documented together; test_bbh has its own rows
        if not name.startswith(("contamination", "icl_", "bbh_"))
    }
    assert known <= shown


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_row_that_a_page_shows_is_one(name: str, tmp_path: Path) -> None:
    made = asked(name, tmp_path, SCHEMAS[name][1])
    assert len(made.samples) == 1
    assert not made.counts


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_missing_field_is_told(name: str, tmp_path: Path) -> None:
    for place, field in enumerate(SCHEMAS[name][0].dataset.fields):
        folder = tmp_path / str(place)
        folder.mkdir()
        row = {key: value for key, value in SCHEMAS[name][1].items() if key != field}
        if field in fields(name):
            assert f"has no {field}" in refused(name, folder, row)


@pytest.mark.parametrize("wrong", [None, {}, [None], [[]]], ids=repr)
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_field_of_another_type_is_told(name: str, wrong: object, tmp_path: Path) -> None:
    for place, field in enumerate(fields(name)):
        if field == "rule":  # says which examples belong to a question, and may be anything
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        assert "not a row of" in refused(name, folder, {**SCHEMAS[name][1], field: wrong})


def _right(row: Row, field: str) -> Iterator[Row]:
    """The row with a right answer that is not there."""
    value = row[field]
    if field == "answerKey":
        yield from ({**row, field: wrong} for wrong in ("Z", "", "AB"))
    elif field in {"label", "answer"}:
        wrongs: list[object] = (
            [99, -1, 1.5, "x", ""] if isinstance(value, (int, bool)) else ["99", "-1", "x", ""]
        )
        yield from ({**row, field: wrong} for wrong in wrongs)
    elif field.endswith("_targets"):
        for labels in ([0] * len(value["labels"]), value["labels"][1:], ["1"] * len(value["labels"])):
            yield {**row, field: {**value, "labels": labels}}


@pytest.mark.parametrize("name", CHOICES)
def test_a_right_choice_that_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    rows = [bad for field in fields(name) for bad in _right(SCHEMAS[name][1], field)]
    # sciq tells the right choice by the name of its field
    assert rows or name == "sciq"
    for place, bad in enumerate(rows):
        folder = tmp_path / str(place)
        folder.mkdir()
        assert "not a row of" in refused(name, folder, bad)


def _changed(row: Row, change: Callable[[list[Any]], list[Any]]) -> Row | None:
    """The row with its list of choices changed; ``None`` where it has none."""
    row = copy.deepcopy(row)
    for key in ("choices", "endings", "mc1_targets", "mc2_targets"):
        value = row.get(key)
        if isinstance(value, list):
            row[key] = change(value)
        elif isinstance(value, dict):
            texts = "text" if "text" in value else "choices"
            value[texts] = change(value[texts])
    return row if any(key in row for key in ("choices", "endings", "mc1_targets")) else None


#: those whose choices stand in their rows, and not always yes and no
LISTED = [name for name in CHOICES if name not in {"boolq", "strategyqa"}]
#: fields that hold one choice each
SINGLE = ("sol1", "answerA", "choice1", "distractor1", "option1")


@pytest.mark.parametrize("name", LISTED)
def test_a_row_without_choices_is_told(name: str, tmp_path: Path) -> None:
    row = _changed(SCHEMAS[name][1], lambda _: [])
    if row is None:
        (row,) = ({**SCHEMAS[name][1], key: ""} for key in SINGLE if key in SCHEMAS[name][1])
    assert "not a row of" in refused(name, tmp_path, row)


@pytest.mark.parametrize("name", LISTED)
def test_choices_that_repeat_are_told(name: str, tmp_path: Path) -> None:
    row = _changed(SCHEMAS[name][1], lambda choices: [choices[0], choices[0], *choices[2:]])
    if row is None:
        pairs = {"sol1": "sol2", "answerA": "answerB", "choice1": "choice2", "distractor1": "distractor2"}
        pairs["option1"] = "option2"
        row = dict(SCHEMAS[name][1])
        row.update({other: row[one] for one, other in pairs.items() if one in row})
    if SCHEMAS[name][0].repeats_allowed:
        # each stands behind a letter of its own
        made = asked(name, tmp_path, SCHEMAS[name][1], row)
        assert made.counts == {"flawed": 1}
        assert "line 2: choice 0 and choice 1 are the same" in made.notes[0]
    else:
        assert "choice 0 and choice 1 are the same" in refused(name, tmp_path, row)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"a": "ä"}'.encode("latin-1"), "is not UTF-8"),
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"", "is not JSON"),
    ],
)
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_line_that_is_no_row_is_told(name: str, line: bytes, told: str, tmp_path: Path) -> None:
    if line:
        assert told in refused(name, tmp_path, line)
    else:
        with pytest.raises(DataError, match=r"\.jsonl.* (is empty|holds no rows|has no rows)"):
            asked(name, tmp_path, b"")


@pytest.mark.parametrize("name", SCHEMAS)
def test_half_a_surrogate_pair_is_told(name: str, tmp_path: Path) -> None:
    texts = [key for key in fields(name) if isinstance(SCHEMAS[name][1][key], str)]
    # labels and rules are not shown
    shown = [key for key in texts if key not in {"label", "answer", "answerKey", "rule"} or name == "gsm8k"]
    row = {**SCHEMAS[name][1], shown[0]: SCHEMAS[name][1][shown[0]] + " \ud800 more"}
    if name == "copa":  # its first field is read to its end
        row["premise"] = "\ud800 premise."
    assert "surrogates not allowed" in refused(name, tmp_path, row)


def test_a_task_page_stays_a_page() -> None:
    lengths = {page.stem: len(page.read_text(encoding="utf-8").splitlines()) for page in PAGES}
    pages = [length for name, length in lengths.items() if name != "__init__"]
    mean, longest = sum(pages) / len(pages), max(lengths, key=lengths.__getitem__)
    print(f"{len(pages)} task modules, mean {mean:.0f} lines, the longest {longest} with {lengths[longest]}")
    # nanochat's have 47 to 116
    assert mean < 100
    assert lengths[longest] < 180
