"""The runs of a store as the page of runs lists them: submitted here, or made elsewhere, in one order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from slmeval.document import from_plain
from slmeval.store import Store
from slmeval.types import RunOptions

#: every state that a run may be in, in the order of its life
STATES = ("queued", "running", "done", "failed", "interrupted", "cancelled")
#: lines of one page
PAGE = 50

# one side: what was submitted; other side: what was run by hand, or brought
_BOTH = """
    SELECT run, submitted AS at, state, options, backend, batch, submitter, coalesce(device, wanted, '')
      AS device, reason, 1 AS submitted, place FROM submissions
    UNION ALL
    SELECT id, started, status, options, '', '', '', '', '', 0, rowid FROM runs
      WHERE NOT EXISTS (SELECT 1 FROM submissions WHERE submissions.run = runs.id)"""


@dataclass(frozen=True)
class Line:
    """One run. ``at`` is when it was submitted, or began; ISO 8601, UTC. ``batch`` is "" for none."""

    run: str
    at: str
    state: str
    options: RunOptions
    backend: str
    batch: str
    submitter: str
    device: str
    reason: str
    submitted: bool

    @property
    def engine(self) -> str:
        """What it runs on, as far as it was said."""
        return self.backend or ", ".join(self.options.backends) or "best that is there"

    @property
    def models(self) -> tuple[str, ...]:
        """What it was asked of."""
        return self.options.models or ("demo",)


def lines(store: Store, state: str = "", before: str = "", limit: int = PAGE) -> list[Line]:
    """The newest first, ``limit`` of them; those in a state, and those after a line's :func:`mark`."""
    clauses, values = [], list[Any]()
    if state:
        clauses.append("state = ?")
        values.append(state)
    if before:
        at, _, run = before.partition("~")
        clauses.append("(at, run) < (?, ?)")
        values += (at, run)
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    columns = "run, at, state, options, backend, batch, submitter, device, reason, submitted"
    found = store.select(
        f"SELECT {columns} FROM ({_BOTH}) {where} ORDER BY at DESC, run DESC LIMIT ?", *values, limit
    )
    return [_true(_line(row), store) for row in found]


def mark(line: Line) -> str:
    """What :func:`lines` goes on after."""
    return f"{line.at}~{line.run}"


def _line(row: Sequence[Any]) -> Line:
    run, at, state, options, backend, batch, submitter, device, reason, submitted = row
    plain = from_plain(RunOptions, json.loads(options), "options")
    return Line(run, at, state, plain, backend, batch, submitter, device, reason, bool(submitted))


def _true(line: Line, store: Store) -> Line:
    """One that was killed still stands in the store as running."""
    killed = line.state == "running" and not line.submitted and not store.is_alive(line.run)
    return replace(line, state="interrupted") if killed else line
