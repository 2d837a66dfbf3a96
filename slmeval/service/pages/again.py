"""The form filled in as a run was submitted, so that it can be altered and submitted once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmeval.service.ledger import Submission
from slmeval.service.pages.addresses import address
from slmeval.service.pages.form_fields import RARE, USUAL, Field
from slmeval.types import RunOptions

#: how the options of a run call what the form calls otherwise
_CALLED = {"options": "engine_options"}
#: an address of more characters is not taken by every proxy
_LONGEST = 4000


def again(submission: Submission) -> str | None:
    """Where the form is with all that was asked for; ``None`` where that is more than an address holds."""
    options = submission.options
    models = list(options.models)
    given: dict[str, Any] = {
        "more_tasks": ", ".join(options.tasks),
        "models": models[0] if models else None,
        "more_models": "\n".join(models[1:]),
        "backends": submission.backend,
        "devices": submission.wanted,
    }
    given |= {field.name: _text(field, options) for field in (*USUAL, *RARE)}
    found = address("/submit", **given)
    return found if len(found) <= _LONGEST else None


def _text(field: Field, options: RunOptions) -> str:
    """What is typed for it; empty where nothing was, or the default."""
    value = getattr(options, _CALLED.get(field.name, field.name))
    if value is None or value == getattr(RunOptions(), _CALLED.get(field.name, field.name)):
        return ""
    if field.kind == "yes":
        return "yes"
    if isinstance(value, Mapping):
        return "\n".join(f"{name}={told}" for name, told in value.items())
    if isinstance(value, tuple):
        return ("\n" if field.kind == "lines" else ", ").join(map(str, value))
    return str(value)
