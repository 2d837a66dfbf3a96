"""All runs of a store, those that were submitted and those made otherwise, in one list."""

from __future__ import annotations

import json
from typing import Any

from slmeval.service.schemas import RunDetail, RunLine, RunList, RunProgress
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
    lines = sorted(
        (
            *_lines(store, _SUBMITTED, " WHERE 1", ("submitted", "run", "state"), state, limit, place),
            *_lines(store, _OTHERS, "", ("started", "id", "status"), state, limit, place),
        ),
        key=lambda line: (line.began, line.id),
        reverse=True,
    )
    return RunList(runs=lines[:limit], next=lines[limit - 1].id if len(lines) > limit else None)


def _lines(
    store: Store,
    select: str,
    where: str,
    columns: tuple[str, str, str],
    state: str | None,
    limit: int,
    place: tuple[str, ...],
) -> list[RunLine]:
    began, run, status = columns
    clause = f" AND ({began}, {run}) < (?, ?)" if place else ""
    clause += f" AND {status} = ?" if state is not None else ""
    values = (*place, *((state,) if state is not None else ()), limit + 1)
    rows = store.select(f"{select}{where}{clause} ORDER BY {began} DESC, {run} DESC LIMIT ?", *values)
    return [_line(row) for row in rows]


def find_run(store: Store, run: str) -> RunLine | None:
    """The run of that whole id, if there is one."""
    found = store.select(f"{_SUBMITTED} WHERE run = ?", run) or store.select(f"{_OTHERS} AND id = ?", run)
    return _line(found[0]) if found else None


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


def _line(row: tuple[Any, ...]) -> RunLine:
    run, began, ended, state, options, batch, submitter, wanted, device, reason, backend, origin = row
    asked = _asked(options)
    return RunLine(
        id=run,
        state=state,
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
