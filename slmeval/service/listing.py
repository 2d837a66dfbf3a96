"""All runs of a store, those that were submitted and those made otherwise, in one list."""

from __future__ import annotations

import json
from typing import Any

from slmeval.service.schemas import RunDetail, RunLine, RunList, RunProgress, RunState
from slmeval.store import Store

_SUBMITTED = (
    "SELECT run, submitted, ended, state, options, batch, submitter, wanted, device, reason, backend,"
    " 'service' FROM submissions"
)
_OTHERS = (
    "SELECT id, started, finished, status, options, NULL,"
    " (SELECT submitter FROM uploads WHERE uploads.run = runs.id), NULL, NULL, '', NULL,"
    " CASE WHEN EXISTS (SELECT 1 FROM uploads WHERE uploads.run = runs.id) THEN 'upload' ELSE 'here' END"
    " FROM runs WHERE NOT EXISTS (SELECT 1 FROM submissions WHERE submissions.run = runs.id)"
)


def list_runs(
    store: Store, state: str | None = None, limit: int = 100, before: str | None = None
) -> RunList | None:
    """The newest runs, or those older than the run ``before``; ``None``: there is no such run."""
    place: tuple[str, ...] = ()
    if before is not None:
        last = find_run(store, before)
        if last is None:
            return None
        place = (last.began, last.id)
    submitted = (" AND state = ?", (state,)) if state is not None else ("", ())
    lines = sorted(
        (
            *_lines(store, f"{_SUBMITTED} WHERE 1", ("submitted", "run"), submitted, limit, place),
            *_lines(store, _OTHERS, ("started", "id"), _others_in(store, state), limit, place),
        ),
        key=lambda line: (line.began, line.id),
        reverse=True,
    )
    return RunList(runs=lines[:limit], next=lines[limit - 1].id if len(lines) > limit else None)


#: a clause of SQL, and the values of its marks
_Clause = tuple[str, tuple[str, ...]]


def _others_in(store: Store, state: str | None) -> _Clause:
    """Which of the runs that were made otherwise are in a state."""
    if state is None:
        return "", ()
    if state not in ("running", "interrupted"):
        return " AND status = ?", (state,)
    running = [str(run) for (run,) in store.select("SELECT id FROM runs WHERE status = 'running'")]
    killed = tuple(run for run in running if state_of(store, run, "running") != "running")
    marks = ",".join("?" * len(killed))
    if state == "running":
        return f" AND status = 'running' AND id NOT IN ({marks})", killed
    return f" AND (status = 'interrupted' OR id IN ({marks}))", killed


def _lines(
    store: Store, select: str, columns: tuple[str, str], which: _Clause, limit: int, place: tuple[str, ...]
) -> list[RunLine]:
    began, run = columns
    clause, values = which
    older = f" AND ({began}, {run}) < (?, ?)" if place else ""
    statement = f"{select}{older}{clause} ORDER BY {began} DESC, {run} DESC LIMIT ?"
    return [_line(store, row) for row in store.select(statement, *place, *values, limit + 1)]


def find_run(store: Store, run: str) -> RunLine | None:
    """The run of that whole id, if there is one."""
    found = store.select(f"{_SUBMITTED} WHERE run = ?", run) or store.select(f"{_OTHERS} AND id = ?", run)
    return _line(store, found[0]) if found else None


def state_of(store: Store, run: str, status: RunState) -> RunState:
    """That of a run that was made otherwise: one that was killed still stands in the store as running."""
    return "interrupted" if status == "running" and not store.is_alive(run) else status


def describe_run(store: Store, run: str) -> RunDetail | None:
    """All that is told of a run; ``None``: there is no such run."""
    line = find_run(store, run)
    if line is None:
        return None
    told = store.select("SELECT options, pinned, attempts FROM submissions WHERE run = ?", run)
    made = store.select("SELECT options, document IS NOT NULL FROM runs WHERE id = ?", run)
    options, pinned, attempts = told[0] if told else (made[0][0], 0, 0)
    return RunDetail(
        **dict(line),
        options=_asked(options),
        has_result=bool(made and made[0][1]),
        pinned=bool(pinned),
        attempts=attempts,
        progress=_progress(store, run) if line.state == "running" else None,
    )


def _progress(store: Store, run: str) -> RunProgress | None:
    newest = "SELECT data FROM events WHERE run = ? AND kind = 'progress' ORDER BY id DESC LIMIT 1"
    found = store.select(newest, run)
    return RunProgress.model_validate_json(found[0][0]) if found else None


def _asked(options: str) -> dict[str, Any]:
    """A run's options; "?" stands for half a character, which a file's name can hold and no answer can."""
    asked: dict[str, Any] = json.loads(options)
    if "\\ud" in options:
        asked = json.loads(json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace"))
    return asked


def _line(store: Store, row: tuple[Any, ...]) -> RunLine:
    run, began, ended, state, options, batch, submitter, wanted, device, reason, backend, origin = row
    asked = _asked(options)
    return RunLine(
        id=run,
        state=state if origin == "service" else state_of(store, run, state),
        origin=origin,
        began=began,
        ended=ended,
        batch=batch,
        submitter=submitter,
        backends=[backend] if backend else asked.get("backends", []),
        models=asked.get("models", []),
        tasks=asked.get("tasks", []),
        wanted=wanted,
        device=device,
        reason=reason,
    )
