"""The fields of the form that submits runs: how each is written, and how what was typed becomes a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError
from starlette.datastructures import FormData

from slmeval.errors import UsageError
from slmeval.service.schemas import RunRequest
from slmeval.types import RunOptions

Kind = Literal["text", "whole", "number", "wholes", "names", "lines", "pairs", "choice", "yes"]

#: of what is wrong with the whole, not with one field
WHOLE = ""
_BREAKS = re.compile(r"[,\n\r]+")
_LINES = re.compile(r"[\n\r]+")


@dataclass(frozen=True)
class Field:
    """One field: ``name`` as in :class:`RunRequest`; what is written in it is of a ``kind``."""

    name: str
    label: str
    hint: str
    kind: Kind
    choices: tuple[str, ...] = ()

    @property
    def default(self) -> str:
        """What stands in the field where nothing was typed."""
        value = getattr(RunOptions(), self.name, "")
        return str(value) if self.kind in ("choice", "text", "whole", "number") and value is not None else ""


#: what most need, and what few do
USUAL = (
    Field(
        "shots",
        "Shots",
        "Examples before each question: 0, or 0,5 for both. Empty: as the task has it.",
        "wholes",
    ),
    Field("limit", "Limit", "Ask the first rows only. Empty: all of them.", "whole"),
    Field("sample", "Ask the bundled sample rows", "Small and offline: figures of a sample.", "yes"),
    Field("options", "Options", "Of engines and probes, one a line: threads=4, or hf.batch_size=8.", "pairs"),
)
RARE = (
    Field("dtype", "Number format", "Of the weights, where the engine has a choice.", "text"),
    Field("seed", "Seed", "Of the shots, and of what is drawn.", "whole"),
    Field(
        "chat_template",
        "Chat template",
        "Ask by the model's own, plainly, or both.",
        "choice",
        ("off", "on", "both"),
    ),
    Field("chat_shots", "Examples in a chat", "As turns, or in one message.", "choice", ("turns", "message")),
    Field("thinking", "Thinking", "auto, off, or the marks around a thought.", "text"),
    Field("max_tokens", "Most tokens", "Of one text, for every task.", "whole"),
    Field("temperature", "Temperature", "0 takes the likeliest token.", "number"),
    Field("top_p", "Top p", "Draw from the likeliest tokens that have so much together.", "number"),
    Field("repeats", "Repeats", "Texts for each question.", "whole"),
    Field(
        "compat",
        "Compatible with",
        "Draws the shots as lm-evaluation-harness does.",
        "choice",
        ("", "lm-eval"),
    ),
    Field("position_bias", "Ask lettered choices in every place", "Does it matter where they stand?", "yes"),
    Field("target_ci", "End at an interval of", "1.5pt, or acc=0.02; with commas.", "names"),
    Field("timeout", "Timeout", "Seconds in which an engine must give a sign of life.", "number"),
    Field(
        "template_options",
        "Template options",
        "What the chat template is told, one NAME=VALUE a line.",
        "pairs",
    ),
    Field("rules", "Rules", "One a line, such as arc_easy/acc >= 0.4.", "lines"),
    Field("until_decided", "End a task when its rules are decided", "", "yes"),
)
#: boxes to be ticked, with a field of text for others
_LISTS = (("tasks", "more_tasks", _BREAKS), ("models", "more_models", _LINES))


class Mistakes(Exception):
    """What is wrong, in a sentence, by the field; ``WHOLE``: with all of it."""

    def __init__(self, told: Mapping[str, str]) -> None:
        super().__init__("; ".join(told.values()))
        self.told = told


def request_of(form: FormData) -> RunRequest:
    """
    :raises Mistakes: a field does not say what it should.
    """
    given: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in (*USUAL, *RARE):
        try:
            value = _read(field, _typed(form, field.name))
        except UsageError as error:
            wrong[field.name] = str(error)
        else:
            if value is not None:
                given[field.name] = value
    for name, more, breaks in _LISTS:
        given[name] = _ticked(form, name) + _parts(_typed(form, more), breaks)
    given |= {name: _ticked(form, name) for name in ("backends", "devices")}
    if not given["tasks"]:
        wrong["tasks"] = "no task is chosen: tick one, or write a name"
    if wrong:
        raise Mistakes(wrong)
    try:
        return RunRequest.model_validate({name: value for name, value in given.items() if value != []})
    except ValidationError as error:
        raise Mistakes(dict(map(_told, error.errors()))) from None


def typed_in(form: FormData) -> dict[str, list[str]]:
    """What was typed and ticked, by field, to be shown again."""
    return {name: [value for value in form.getlist(name) if isinstance(value, str)] for name in form}


def _typed(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def _ticked(form: FormData, name: str) -> list[str]:
    found = (value.strip() for value in form.getlist(name) if isinstance(value, str))
    return list(dict.fromkeys(value for value in found if value))


def _parts(text: str, breaks: re.Pattern[str]) -> list[str]:
    return [part.strip() for part in breaks.split(text) if part.strip()]


def _read(field: Field, text: str) -> Any:
    """The value; ``None`` where nothing was typed.

    :raises UsageError: it is none.
    """
    if field.kind == "yes":
        return bool(text)
    if not text:
        return None
    return _READ[field.kind](text)


def _whole(text: str) -> int:
    try:
        return int(text.replace(",", "") if len(text) < 20 else "-")
    except ValueError:
        raise UsageError(f"{text[:40]!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is not a number") from None


def _pairs(text: str) -> dict[str, str]:
    found = {}
    for line in _parts(text, _LINES):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{line[:80]!r}: write it as NAME=VALUE, one a line")
        found[name.strip()] = value.strip()
    return found


#: from what was typed to what is meant, by kind
_READ: dict[Kind, Callable[[str], Any]] = {
    "text": str,
    "choice": str,
    "whole": _whole,
    "number": _number,
    "wholes": lambda text: [_whole(part) for part in _parts(text, _BREAKS)],
    "names": lambda text: _parts(text, _BREAKS),
    "lines": lambda text: _parts(text, _LINES),
    "pairs": _pairs,
}


def _told(error: Any) -> tuple[str, str]:
    """What pydantic says of one field, with the value that it says it of."""
    name = str(error["loc"][0]) if error["loc"] else WHOLE
    return name, f"{error['msg']} (it is {str(error['input'])[:60]!r})"
