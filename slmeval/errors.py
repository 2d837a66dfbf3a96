"""The errors that slmeval raises on purpose, each one clear sentence for the person who caused it.

* SlmevalError
    * UsageError: the command cannot be carried out as given (exit code 2)
        * UnknownName: a name that no plugin brought, with the nearest right one
        * MissingExtra: an engine or a library that is not installed, with the command that adds it
        * DataError: rows that are missing, damaged, or not what the task needs
        * ModelError: a model that is missing, damaged, or not what the backend can open
            * ModelMissing: there is no model where the user says
    * StoreError: the store cannot be read or written (exit code 2)
    * JobFailed: one job could not be finished; the others' results stand (exit code 3)

Everything else that escapes is a defect of slmeval or of a plugin, and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import IntEnum

#: names that are listed where none is near
_READ = 40


class ExitCode(IntEnum):
    """What the shell is told."""

    #: everything that was asked for was measured
    DONE = 0
    #: a gate failed
    GATE_FAILED = 1
    #: the command, a file or an option was wrong; nothing was measured
    USAGE = 2
    #: a job failed, or the report could not be written; what was measured stands
    JOB_FAILED = 3
    #: a gate could not decide
    INCONCLUSIVE = 4
    #: interrupted, and resumable
    INTERRUPTED = 130


class SlmevalError(Exception):
    """Base of all errors that are shown to the user as one sentence."""

    exit_code = ExitCode.JOB_FAILED


class UsageError(SlmevalError):
    """The command cannot be carried out as given."""

    exit_code = ExitCode.USAGE


class UnknownName(UsageError):
    """A name that no plugin brought."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {_listed(names)}."
        super().__init__(f"unknown {kind} {name!r}: {hint}")


def _listed(names: Sequence[str]) -> str:
    """All of them, unless they are too many to be read."""
    more = len(names) - _READ
    return ", ".join(names[:_READ]) + (f" and {more} more" if more > 0 else "") if names else "none"


class MissingExtra(UsageError):
    """An engine or a library that is not installed here."""

    def __init__(self, what: str, extra: str, trouble: str = "is not installed") -> None:
        # the quotes keep zsh from reading the brackets as a pattern
        super().__init__(f"{what} {trouble}: pip install 'slmeval[{extra}]'")


class DataError(UsageError):
    """Rows that are missing, damaged, or not what the task needs."""


class ModelError(UsageError):
    """A model that is missing, damaged, or not what the backend can open."""


class ModelMissing(ModelError):
    """There is no model where the user says."""


class StoreError(SlmevalError):
    """The store cannot be read or written."""

    exit_code = ExitCode.USAGE


class JobFailed(SlmevalError):
    """One job could not be finished; the others' results stand."""


class Unanswerable(JobFailed):
    """A request that this model will not answer (too long for its server, say); others it may."""
