"""A task of the user's own as a TOML file: what it asks, and every mistake in it as one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmeval.cli import run
from slmeval.datasets import open_sample
from slmeval.errors import DataError, UsageError
from slmeval.questions import Draft, draft
from slmeval.registry import load
from slmeval.task_files import Template, read_task_file
from slmeval.types import Generate, RunOptions, Score

CHOICE = {
    "q": "Is ice cold?",
    "a": ["no", "yes"],
    "right": 1,
    "letter": "b",
    "n": 2,
    "text": "yes",
    "yes": True,
}
CHOICES = """
rows = "rows.jsonl"
prompt = "Q: {q}\\nA:"
choices = "{a}"
answer = "{right}"
"""
TEXT = """
rows = "rows.jsonl"
prompt = "Q: {q}\\nA:"
target = "{text}"
"""


def write(folder: Path, text: str, *rows: dict[str, Any], name: str = "mine") -> Path:
    lines = "".join(
        f"{json.dumps(row)}\n" for row in rows or [CHOICE, {**CHOICE, "q": "Is fire cold?", "right": 0}]
    )
    (folder / "rows.jsonl").write_text(lines)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def drafted(path: Path, shots: int = 0) -> Draft:
    return draft(RunOptions(), read_task_file(path), shots, load().parts, open_sample())


def requests(path: Path, shots: int = 0) -> list[tuple[str, str]]:
    found = [part for sample in drafted(path, shots).samples for part in sample.requests]
    return [(part.context, part.continuation) for part in found if isinstance(part, Score)]


# ---- what is asked -----------------------------------------------------------------------------------


def test_choices_come_from_a_field_that_holds_a_list(tmp_path: Path) -> None:
    path = write(tmp_path, CHOICES)
    assert requests(path)[:2] == [("Q: Is ice cold?\nA:", " no"), ("Q: Is ice cold?\nA:", " yes")]
    made = drafted(path)
    assert [sample.target for sample in made.samples] == [1, 0]
    assert (made.task.name, made.task.kind, made.task.shots) == ("mine", "multiple_choice", 0)
    assert made.data.source == "file rows.jsonl"


@pytest.mark.parametrize(
    ("answer", "answer_is"), [("right", "index"), ("n", "number"), ("letter", "letter"), ("text", "text")]
)
def test_an_answer_may_be_told_in_four_ways(answer: str, answer_is: str, tmp_path: Path) -> None:
    text = CHOICES.replace("{right}", f"{{{answer}}}") + f'answer_is = "{answer_is}"\n'
    assert drafted(write(tmp_path, text, CHOICE)).samples[0].target == 1


def test_true_and_false_are_the_second_and_the_first_of_two_choices(tmp_path: Path) -> None:
    text = CHOICES.replace("{right}", "{yes}")
    rows = [CHOICE, {**CHOICE, "yes": False}]
    assert [sample.target for sample in drafted(write(tmp_path, text, *rows)).samples] == [1, 0]
    with pytest.raises(
        DataError, match=r"rows.jsonl, line 1: not a row of mine: answer must be a whole number"
    ):
        drafted(write(tmp_path, text, {**CHOICE, "a": ["a", "b", "c"]}))


def test_choices_may_be_templates_and_fields_may_be_nested(tmp_path: Path) -> None:
    text = CHOICES.replace('"{a}"', '["not {at.place}", "{at.place}{{}}"]').replace("{q}", "{at.q} {n}")
    row = {"at": {"place": "here", "q": "where?"}, "n": 3.5, "right": 0}
    assert requests(write(tmp_path, text, row)) == [
        ("Q: where? 3.5\nA:", " not here"),
        ("Q: where? 3.5\nA:", " here{}"),
    ]


def test_letters_and_shots_and_position_bias(tmp_path: Path) -> None:
    path = write(tmp_path, CHOICES + 'lettered = true\nshots_rows = "rows.jsonl"\nshots = 1\n')
    context, continuation = requests(path, 1)[0]
    assert context.startswith("Q: Is fire cold?\nA:\nA. no\nB. yes\nAnswer: A\n\nQ: Is ice cold?")
    assert continuation == " A"
    rotated = read_task_file(path).rotated()
    assert rotated is not None
    made = draft(RunOptions(), rotated, 0, load().parts, open_sample())
    assert [len(sample.requests) for sample in made.samples] == [4, 4]


def test_a_target_is_written_and_compared(tmp_path: Path) -> None:
    text = TEXT + 'stop = ["."]\nmax_tokens = 7\nanswer_regex = "(yes|no)"\nignore_case = true\n'
    made = drafted(write(tmp_path, text, CHOICE))
    assert made.samples[0].requests == (Generate("Q: Is ice cold?\nA:", 7, (".",)),)
    assert made.samples[0].target == "yes"
    assert made.scorer.filters[0][1].find("oh, yes no") == "yes"


def test_a_changed_file_is_another_version_and_a_moved_one_is_not(tmp_path: Path) -> None:
    first = read_task_file(write(tmp_path, CHOICES)).version
    moved = tmp_path / "moved"
    moved.mkdir()
    assert read_task_file(write(moved, CHOICES)).version == first
    assert read_task_file(write(moved, CHOICES + "# more\n")).version != first
    assert first.startswith("1+")


# ---- mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = ", "is not TOML"),
        (CHOICES + 'target = "x"', "both choices and target"),
        (CHOICES.replace("choices", "#"), "neither choices nor target"),
        (CHOICES + 'promt = "x"', "unknown key 'promt'"),
        (CHOICES + 'stop = ["x"]', "stop goes with target, and this task has choices"),
        (CHOICES.replace("rows = ", "#"), 'has no rows: add rows = "FILE.jsonl"'),
        (CHOICES.replace("rows.jsonl", "none.jsonl"), 'rows = "none.jsonl": there is no such file'),
        (CHOICES.replace("{q}", "{q[0]}"), "prompt, character 4: '{q[0]}' is no field"),
        (CHOICES.replace("{q}", "{q!r}"), "is no field"),
        (CHOICES.replace("{q}", "{q:>9}"), "is no field"),
        (CHOICES.replace("{q}", "{"), "is no field"),
        (CHOICES.replace('"{a}"', '"{a} or"'), "choices = "),
        (CHOICES.replace('"{a}"', '["one"]'), "there must be two or more"),
        (CHOICES.replace('"{a}"', "3"), "choices = 3: it must be a list of texts"),
        (CHOICES + 'answer_is = "guess"', "choose from index, number, letter, text"),
        (CHOICES + 'lettered = "yes"', "it must be true or false"),
        (CHOICES + "shots = 2", "there are no rows to show: add shots_rows"),
        (CHOICES + "shots = -1", "it must be a whole number, 0 or more"),
        (CHOICES + 'name = "a/b"', "use letters, digits"),
        (TEXT + 'answer_regex = "("', "it is no regular expression"),
        (TEXT + "max_tokens = 0", "it must be a whole number, 1 or more"),
        (TEXT + "max_tokens = true", "it must be a whole number, 1 or more"),
    ],
)
def test_a_mistake_is_told_with_the_file_and_the_key(text: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_task_file(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.toml cannot be read: No such file"):
        read_task_file(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_task_file(tmp_path)
    (tmp_path / "latin.toml").write_bytes("rows = 'ä'".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8, from byte 8 on"):
        read_task_file(tmp_path / "latin.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(UsageError, match="is larger than 1,048,576 bytes"):
        read_task_file(tmp_path / "large.toml")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"q": None}, "q must be a text or a number, not None"),
        ({"q": True}, "q must be a text or a number, not True"),
        ({"a": "no"}, "a must be a list of the choices, not 'no'"),
        ({"a": []}, "there are no choices"),
        ({"a": ["no", None]}, "choice 1 of a must be a text or a number, not None"),
        ({"a": ["no", "no"]}, "are the same"),
        ({"right": 2}, "the right choice is given as 2, but there are 2, from 0 on"),
        ({"right": "b"}, "answer must be a whole number, not 'b'"),
    ],
)
def test_a_row_that_does_not_fit_is_told_with_its_line(change: Any, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, CHOICES, CHOICE, {**CHOICE, **change})
    with pytest.raises(DataError) as caught:
        drafted(path)
    assert "rows.jsonl, line 2" in str(caught.value)
    assert told in str(caught.value)


def test_a_field_that_no_row_has_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, CHOICES.replace("{q}", "{question}"))
    with pytest.raises(DataError, match=r"rows.jsonl, line 1 has no question; it has q, a"):
        drafted(path)


# ---- templates ---------------------------------------------------------------------------------------


@given(st.text(), st.text(st.characters(exclude_characters="{}")))
def test_a_value_is_put_in_as_it_is(value: str, around: str) -> None:
    assert Template.parse(around + "{x}" + around).fill({"x": value}) == around + value + around


@given(st.text(alphabet="{}ab.[]!:_ 0"))
def test_any_text_is_a_template_or_is_refused_in_a_sentence(text: str) -> None:
    try:
        parsed = Template.parse(text)
    except ValueError as error:
        assert "is no field" in str(error)  # noqa: PT017
    else:
        plain = text.replace("{{", "").replace("}}", "")
        assert ("{" in plain) == bool(parsed.fields())


# ---- on the command line -----------------------------------------------------------------------------


def test_a_task_file_is_run_from_any_folder_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, CHOICES)
    monkeypatch.chdir(tmp_path)
    command = [
        "run",
        "--backend",
        "reference",
        "--tasks",
        "./mine.toml",
        "--store",
        "store.db",
        "--format",
        "json",
    ]
    assert run(command) == 0
    document = json.loads(capsys.readouterr().out)
    (cell,) = document["cells"]
    assert (cell["name"], cell["n"]) == ("mine", 2)
    assert document["run"]["options"]["tasks"] == [str(tmp_path / "mine.toml")]
