"""The line that a run can be repeated with in a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields

from slmeval.types import RunOptions

#: the flags of options that are one value, and of those that are written once with commas
_ONE = {
    "limit": "--limit",
    "data": "--data",
    "dtype": "--dtype",
    "seed": "--seed",
    "tokenizer": "--tokenizer",
    "compat": "--compat",
    "executor": "--executor",
    "timeout": "--timeout",
    "chat_template": "--chat-template",
    "chat_shots": "--chat-shots",
    "thinking": "--thinking",
    "max_tokens": "--max-tokens",
    "temperature": "--temperature",
    "top_p": "--top-p",
    "repeats": "--repeats",
    "baseline": "--baseline",
}
_JOINED = {"tasks": "--tasks", "backends": "--backend", "shots": "--shots", "target_ci": "--target-ci"}
#: those that are said or not, that are said once for each value, and that are NAME=VALUE
_SAID = {"sample": "--sample", "position_bias": "--position-bias", "until_decided": "--until-decided"}
_EACH = {"models": "--model", "rules": "--rule"}
_NAMED = {"pythons": "--python", "engine_options": "-o", "template_options": "--template-option"}


def command_line(options: RunOptions, backend: str = "") -> str:
    """``slmeval run ...`` with what is not the default; ``backend`` where the options leave it open."""
    plain = RunOptions()
    words = ["slmeval", "run"]
    if backend and not options.backends:
        words += ["--backend", backend]
    for field in fields(options):
        value = getattr(options, field.name)
        if value != getattr(plain, field.name):
            words += _words(field.name, value)
    return shlex.join(words)


def _words(name: str, value: object) -> Iterator[str]:
    if name in _SAID:
        yield _SAID[name]
    elif name in _ONE:
        yield from (_ONE[name], str(value))
    elif name in _JOINED and isinstance(value, tuple):
        yield from (_JOINED[name], ",".join(map(str, value)))
    elif name in _EACH and isinstance(value, tuple):
        for each in value:
            yield from (_EACH[name], str(each))
    elif name in _NAMED and isinstance(value, Mapping):
        for key, each in value.items():
            yield from (_NAMED[name], f"{key}={each}")
    elif name == "blocked_plugins" and isinstance(value, tuple):
        for each in value:
            yield from ("-p", f"no:{each}")
