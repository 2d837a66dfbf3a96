"""A task of the user's own without Python: a TOML file that names rows, a prompt, and choices or a target.

A text with fields of the row in it is a template: ``{question}`` is the field's value, ``{choices.text}``
that of a nested one, ``{{`` and ``}}`` are braces. There is nothing else in it, and nothing is evaluated.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from reprlib import repr as short
from typing import Any

from slmeval.api import Task
from slmeval.datasets import DataSource, Rows, read_file
from slmeval.errors import UnknownName, UsageError
from slmeval.tasks import LETTERS, FreeText, LetteredChoice, MultipleChoice, whole_number
from slmeval.toml_file import parsed, read_bytes
from slmeval.types import DatasetSpec, Row, Sample, Use

#: how the name of such a file ends
SUFFIX = ".toml"

COMMON_KEYS = (
    *("name", "version", "rows", "shots_rows", "shots", "description", "prompt", "delimiter", "separator"),
    *("licence", "source", "cluster"),
)
CHOICES_KEYS = ("choices", "answer", "answer_is", "lettered")
TARGET_KEYS = ("target", "stop", "max_tokens", "answer_regex", "ignore_case", "ignore_punctuation")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: all that a model wrote, unless it is blank; the filter takes the white space from its ends
_WHOLE_TEXT = Use("regex", {"pattern": r"(?s)\S.*"}, label="whole_text")


def read_task_file(path: Path) -> Task:
    """The task that a file describes.

    Its version ends in the beginning of the file's SHA-256, so that a changed file is another task.

    :raises UsageError: the file cannot be read, or something in it is wrong.
    """
    data = read_bytes(path, "task file")
    table = _Table(path, parsed(path, data))
    table.check_keys()
    table.need("rows", '"FILE.jsonl"')
    rows, shown = table.file("rows"), table.file("shots_rows") if "shots_rows" in table.values else None
    if table.whole("shots", 0, 0) and shown is None:
        raise table.wrong("shots", "there are no rows to show: add shots_rows (it may be the file of rows)")
    task, fields = _choice_task(table) if "choices" in table.values else _text_task(table)
    dataset = DatasetSpec(
        name=task.name,
        evaluation="rows",
        fields=tuple(dict.fromkeys((*fields, *([task.cluster] if task.cluster else [])))),
        shots=None if shown is None else "rows" if shown == rows else "shots",
        licence=table.text("licence"),
        source=table.text("source"),
    )
    version = f"{task.version}+{hashlib.sha256(data).hexdigest()[:8]}"
    same = dataset.shots == dataset.evaluation
    whole = replace(task, version=version, dataset=dataset, lm_eval_same_split=same)
    return FileTask(whole, rows, shown, cache(lambda file: read_file(file, dataset.fields)))


@dataclass(frozen=True)
class FileTask(Task):
    """``task`` with rows from files of its own: equal to another that asks the same of the same files."""

    task: Task = field(compare=False)
    rows: Path
    shots_rows: Path | None
    read: Callable[[Path], Rows] = field(compare=False, repr=False)
    name: str = field(init=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        for name in Task.__annotations__:
            object.__setattr__(self, name, getattr(self.task, name))

    def load(self, source: DataSource, split: str) -> Rows:  # noqa: ARG002
        """The rows of its own file, wherever those of other tasks come from.

        :raises slmeval.errors.DataError: they are missing or damaged, or lack a field.
        """
        return self.read(self.shots_rows if split == "shots" and self.shots_rows else self.rows)

    def rotated(self) -> Task | None:
        """As the task, with the rows from the same files."""
        turned = self.task.rotated()
        return turned and replace(self, task=turned)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """As the task.

        :raises ValueError, KeyError: the row is not what the task needs.
        """
        return self.task.sample(row, shots)


# ---- templates ---------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\{\{|\}\}|\{(\w+(?:\.\w+)*)\}|[^{}]+|([{}][^{}]{,20}\}?)")


@dataclass(frozen=True)
class RowField:
    """A field of a row, by its name; dots lead into objects."""

    name: str

    def value(self, row: Row) -> Any:
        """What the row holds there.

        :raises KeyError: there is no such field.
        :raises ValueError: what should hold it is no object.
        """
        found: Any = row
        above = ""
        for part in self.name.split("."):
            if not isinstance(found, Mapping):
                raise ValueError(f"{above[:-1]} must be an object with a field {part}, not {short(found)}")
            if part not in found:
                raise KeyError(above + part)
            found, above = found[part], f"{above}{part}."
        return found

    def text(self, row: Row) -> str:
        """The value as it stands in a prompt.

        :raises KeyError, ValueError: there is none, or it is no text and no number.
        """
        return _written(self.name, self.value(row))


def _written(name: str, value: object) -> str:
    """A text as it is, a number as JSON has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a text or a number, not {short(value)}")
    return json.dumps(value)


@dataclass(frozen=True)
class Template:
    """A text with fields of a row in it."""

    parts: tuple[str | RowField, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """
        :raises ValueError: a brace that is neither doubled nor around the name of a field, and where.
        """
        parts: list[str | RowField] = []
        for token in _TOKEN.finditer(text):
            if token[2]:
                raise ValueError(
                    f"character {token.start() + 1}: {token[2]!r} is no field: write {{name}} with letters, "
                    "digits, _, and a dot before what is nested, or {{ and }} for braces"
                )
            parts.append(
                RowField(token[1]) if token[1] else token[0][:1] if token[0][0] in "{}" else token[0]
            )
        return cls(tuple(parts))

    @property
    def sole(self) -> RowField | None:
        """The field that is the whole template, if it is one."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, RowField) else None

    def fields(self) -> list[str]:
        """The names of the row's own fields."""
        return [part.name.partition(".")[0] for part in self.parts if isinstance(part, RowField)]

    def fill(self, row: Row) -> str:
        """The text for one row; what a field holds is put in as it is.

        :raises KeyError, ValueError: a field is not there, or is no text and no number.
        """
        return "".join(part if isinstance(part, str) else part.text(row) for part in self.parts)


# ---- choices -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Choices:
    """The choices of a row, from the field of a list or from templates, and the place of the right one."""

    made_from: RowField | tuple[Template, ...]
    answer: Template
    answer_is: str

    def texts(self, row: Row) -> tuple[str, ...]:
        """
        :raises KeyError, ValueError: they are not there, or one is no text and no number.
        """
        if isinstance(self.made_from, tuple):
            return tuple(template.fill(row) for template in self.made_from)
        name, found = self.made_from.name, self.made_from.value(row)
        if not isinstance(found, list):
            raise ValueError(f"{name} must be a list of the choices, not {short(found)}")
        return tuple(_written(f"choice {place} of {name}", each) for place, each in enumerate(found))

    def gold(self, row: Row) -> int:
        """
        :raises KeyError, ValueError: the answer is not there, or does not say which choice is right.
        """
        return ANSWERS[self.answer_is](self.answer, row, self.texts(row))

    def fields(self) -> list[str]:
        """The names of the row's own fields."""
        made_from = self.made_from if isinstance(self.made_from, tuple) else (Template((self.made_from,)),)
        return [name for template in (*made_from, self.answer) for name in template.fields()]


def _by_index(answer: Template, row: Row, choices: Sequence[str]) -> int:
    value = answer.sole.value(row) if answer.sole else answer.fill(row)
    if isinstance(value, bool) and len(choices) == 2:
        return int(value)
    return whole_number({"answer": value}, "answer")


def _by_number(answer: Template, row: Row, choices: Sequence[str]) -> int:
    number = whole_number({"answer": answer.fill(row)}, "answer")
    if not 1 <= number <= len(choices):
        raise ValueError(f"answer is number {number}, but the choices have the numbers 1 to {len(choices)}")
    return number - 1


def _by_letter(answer: Template, row: Row, choices: Sequence[str]) -> int:
    letter = answer.fill(row)
    letters = LETTERS[: len(choices)]
    if not letter.isascii() or len(letter) != 1 or letter.upper() not in letters:
        raise ValueError(f"answer must be a letter from {letters[:1]} to {letters[-1:]}, not {short(letter)}")
    return letters.index(letter.upper())


def _by_text(answer: Template, row: Row, choices: Sequence[str]) -> int:
    text = answer.fill(row)
    if text not in choices:
        raise ValueError(f"the answer {short(text)} is none of the choices")
    return choices.index(text)


#: what an answer can be, and how it leads to the place of the right choice
ANSWERS: dict[str, Callable[[Template, Row, Sequence[str]], int]] = {
    "index": _by_index,
    "number": _by_number,
    "letter": _by_letter,
    "text": _by_text,
}


# ---- what the file says ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """The keys of a file and their values; everything wrong with them is told with the file's path."""

    path: Path
    values: Mapping[str, Any]

    def wrong(self, key: str, reason: str) -> UsageError:
        shown = json.dumps(self.values[key], ensure_ascii=False, default=str)
        cut = shown if len(shown) <= 60 else f"{shown[:60]}..."
        return UsageError(f"{self.path}: {key} = {cut}: {reason}")

    def check_keys(self) -> None:
        """
        :raises UsageError: a key is unknown, missing, or does not go with another.
        """
        known = (*COMMON_KEYS, *CHOICES_KEYS, *TARGET_KEYS)
        for key in self.values:
            if key not in known:
                raise UsageError(f"{self.path}: {UnknownName('key', key, known)}")
        if ("choices" in self.values) == ("target" in self.values):
            told = (
                "both choices and target: leave one"
                if "target" in self.values
                else "neither choices nor target: add one"
            )
            raise UsageError(f"{self.path} has {told} of them{' out' if 'target' in self.values else ''}")
        has, lacks = ("choices", "target") if "choices" in self.values else ("target", "choices")
        for key in TARGET_KEYS if lacks == "target" else CHOICES_KEYS:
            if key in self.values:
                raise UsageError(
                    f"{self.path}: {key} goes with {lacks}, and this task has {has}: leave it out"
                )

    def need(self, key: str, example: str) -> None:
        """
        :raises UsageError: there is no such key.
        """
        if key not in self.values:
            raise UsageError(f"{self.path} has no {key}: add {key} = {example}")

    def text(self, key: str, default: str = "") -> str:
        """A text; empty where it may be left out and was."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "it must be a text in quotes")
        return value

    def word(self, key: str, default: str) -> str:
        """A text that can be part of a report's line: a name or a version."""
        value = self.text(key, default)
        if _NAME.fullmatch(value):
            return value
        reason = "use letters, digits, _ - and . only, the first a letter, a digit or _"
        if key in self.values:
            raise self.wrong(key, reason)
        raise UsageError(f"{self.path}: {value!r} is no name for a task: add {key} = ..., and {reason}")

    def whole(self, key: str, default: int, least: int) -> int:
        """A whole number, at least ``least``."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"it must be a whole number, {least} or more")
        return value

    def flag(self, key: str) -> bool:
        """True or false; false where it is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "it must be true or false")
        return value

    def texts(self, key: str, default: Sequence[str]) -> tuple[str, ...]:
        """A list of texts that are not empty."""
        value = self.values.get(key, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) and each for each in value):
            raise self.wrong(key, 'it must be a list of texts that are not empty, such as ["\\n"]')
        return tuple(value)

    def file(self, key: str) -> Path:
        """A file that is there; its path is relative to that of the task.

        :raises UsageError: there is none.
        """
        path = self.path.parent / self.text(key)
        if not path.is_file():
            raise self.wrong(key, "there is no such file; the path starts at the folder of the TOML file")
        return path.resolve()

    def template(self, key: str, example: str) -> Template:
        """A text with fields."""
        self.need(key, example)
        return self.parsed(key, self.text(key))

    def parsed(self, place: str, text: str) -> Template:
        """
        :raises UsageError: ``text`` is no template; ``place`` says where it stands.
        """
        try:
            return Template.parse(text)
        except ValueError as error:
            raise UsageError(f"{self.path}: {place}, {error}") from None


def _common(table: _Table) -> dict[str, Any]:
    """What all kinds of task have; the version's hash and the data set follow."""
    return {
        "name": table.word("name", table.path.stem),
        "version": table.word("version", "1"),
        "dataset": DatasetSpec("", "rows", ()),
        "shots": table.whole("shots", 0, 0),
        "description": table.text("description"),
        "delimiter": table.text("delimiter", " "),
        "separator": table.text("separator", "\n\n"),
        "cluster": table.text("cluster"),
    }


def _choice_task(table: _Table) -> tuple[MultipleChoice | LetteredChoice, tuple[str, ...]]:
    prompt = table.template("prompt", '"{question}"')
    choices = _Choices(_made_from(table), table.template("answer", '"{label}"'), _answer_is(table))
    fields = tuple(dict.fromkeys((*prompt.fields(), *choices.fields())))
    # as many as there are texts; a field's list may be longer in one row than in another
    chance = 1 / len(choices.made_from) if isinstance(choices.made_from, tuple) else None
    common = {**_common(table), "choices": choices.texts, "gold": choices.gold, "chance": chance}
    if table.flag("lettered"):
        return LetteredChoice(question=prompt.fill, **common), fields
    return MultipleChoice(prompt=prompt.fill, **common), fields


def _made_from(table: _Table) -> RowField | tuple[Template, ...]:
    if isinstance(table.values["choices"], str):
        field = table.template("choices", "").sole
        if field is None:
            raise table.wrong(
                "choices", 'it must be one field that holds a list, "{options}", or a list of texts'
            )
        return field
    given = table.texts("choices", ())
    if len(given) < 2:
        raise table.wrong("choices", "there must be two or more")
    return tuple(table.parsed(f"choice {place}", text) for place, text in enumerate(given))


def _answer_is(table: _Table) -> str:
    value = table.text("answer_is", "index")
    if value not in ANSWERS:
        raise table.wrong("answer_is", f"choose from {', '.join(ANSWERS)}")
    return value


def _text_task(table: _Table) -> tuple[FreeText, tuple[str, ...]]:
    prompt, target = table.template("prompt", '"{question}"'), table.template("target", '"{answer}"')
    ignored = {key: table.flag(key) for key in ("ignore_case", "ignore_punctuation")}
    task = FreeText(
        prompt=prompt.fill,
        target=target.fill,
        stop=table.texts("stop", ("\n",)),
        filters=(_found_by(table),),
        metrics=(Use("exact_match", ignored),),
        max_tokens=table.whole("max_tokens", 64, 1),
        **_common(table),
    )
    return task, tuple(dict.fromkeys((*prompt.fields(), *target.fields())))


def _found_by(table: _Table) -> Use:
    if "answer_regex" not in table.values:
        return _WHOLE_TEXT
    pattern = table.text("answer_regex")
    try:
        re.compile(pattern)
    except re.error as error:
        raise table.wrong("answer_regex", f"it is no regular expression: {error}") from None
    return Use("regex", {"pattern": pattern}, label="answer_regex")
