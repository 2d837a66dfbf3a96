"""Why a submission is refused, in the words of the form: by its fields, and without names of flags."""

from __future__ import annotations

import re

from slmeval.service.pages.form_fields import RARE, USUAL, WHOLE

#: the form's parts that are no single fields: what they are called, and where the first field of each is
_PARTS = {
    "tasks": ("Tasks", "more_tasks"),
    "models": ("Models", "model"),
    "backends": ("Engines", "backends"),
    "devices": ("Devices", "devices"),
}
_LABELS = {field.name: field.label for field in (*USUAL, *RARE)} | {
    name: label for name, (label, _) in _PARTS.items()
}
#: flags that are not called as their fields are
_CALLED = {
    "rule": "rules",
    "template_option": "template_options",
    "model": "models",
    "backend": "backends",
}
#: a file of rules is nothing that a form takes
_RULES = re.compile(r"--rules [A-Z]+, or (?=--rule\b)")
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?![\w-])")
#: how sentences begin that are about one field, and which
_BEGINNINGS = (
    (re.compile(r"unknown task |task "), "tasks"),
    (re.compile(r"unknown option |option "), "options"),
    (re.compile(r"unknown backend|no connected device |no device named |no backend "), "backends"),
    (re.compile(r"unknown device |device "), "devices"),
    (re.compile(r"the model |no model for "), "models"),
    (re.compile(r"rule "), "rules"),
    (re.compile(r"limit \d|without a limit "), "limit"),
)


def by_field(sentence: str) -> dict[str, str]:
    """What is wrong, by the field that it is about; by ``WHOLE`` where that is not to be told."""
    return {_field(sentence): in_the_form(sentence)}


def in_the_form(sentence: str) -> str:
    """``--top-p 2`` is ``“Top p” 2``; flags that are no field's stand as they are."""
    return _FLAG.sub(lambda found: _called(found[1]) or found[0], _RULES.sub("", sentence))


def label_of(name: str) -> str:
    """What a field is called."""
    return _LABELS.get(name, name.replace("_", " "))


def place_of(name: str) -> str:
    """The id of what is to be changed."""
    return _PARTS.get(name, ("", name))[1]


def _called(flag: str) -> str | None:
    name = _name(flag)
    return f"“{label_of(name)}”" if name in _LABELS else None


def _name(flag: str) -> str:
    name = flag.replace("-", "_")
    return _CALLED.get(name, name)


def _field(sentence: str) -> str:
    told = re.match(r"unknown option '(\w+)'", sentence)
    if told and told[1] in _LABELS:
        return told[1]
    for beginning, name in _BEGINNINGS:
        if beginning.match(sentence):
            return name
    named = (_name(flag) for flag in _FLAG.findall(_RULES.sub("", sentence)))
    return next((name for name in named if name in _LABELS), WHOLE)
