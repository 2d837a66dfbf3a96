"""The service's own tables in the store: what was submitted, what happened, and which devices work."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from slmeval.document import from_plain, to_plain
from slmeval.store import Store
from slmeval.types import RunOptions

State = Literal["queued", "running", "done", "failed", "cancelled"]
#: states that nothing follows
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True)
class Submission:
    """One run that was asked for. ``wanted``: the device that was asked for; ``device``: that which has it.

    ``bytes``: of the largest model's files. A ``pinned`` one goes on on its own device alone. ``attempts``
    count the losses in a row that brought no answer. ``place``: in the queue, which the ledger gives.
    """

    run: str
    batch: str
    submitted: str
    submitter: str
    state: State
    options: RunOptions
    backend: str
    bytes: int = 0
    wanted: str | None = None
    device: str | None = None
    pinned: bool = False
    attempts: int = 0
    reason: str = ""
    ended: str | None = None
    place: int = 0


@dataclass(frozen=True)
class Event:
    """Something that happened to ``run``, or ("") to none; ids grow in the order in which things happen."""

    id: int
    run: str
    at: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class DeviceRecord:
    """A device that ever worked, as it last told of itself. Times are ISO 8601, UTC."""

    name: str
    told: Mapping[str, Any]
    first: str
    last: str


#: characters of a reason
_LONGEST_REASON = 4000
_COLUMNS = (
    "run, batch, submitted, submitter, state, options, backend, bytes, wanted, device, pinned, attempts,"
    " reason, ended, place"
)


class Ledger:
    """The tables through an open store. Errors are the store's.

    What changes a submission also returns the event that tells of it, both saved in one transaction.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    # ---- submissions -------------------------------------------------------------------------------

    def submit(self, submissions: Sequence[Submission]) -> list[Event]:
        """Queue them all, or none."""
        events = []
        with self._store.writing() as db:
            for each in submissions:
                row = (
                    each.run,
                    each.batch,
                    each.submitted,
                    each.submitter,
                    each.state,
                    json.dumps(to_plain(each.options)),
                    each.backend,
                    each.bytes,
                    each.wanted,
                )
                db.execute(
                    "INSERT INTO submissions (run, batch, submitted, submitter, state, options, backend,"
                    " bytes, wanted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
                events.append(_tell(db, each.run, "queued", {"batch": each.batch, "backend": each.backend}))
        return events

    def submission(self, run: str) -> Submission | None:
        """That of a run; ``None`` where the run was made otherwise."""
        found = self._select("WHERE run = ?", run)
        return found[0] if found else None

    def submissions(self, states: Iterable[State] = (), *, batch: str | None = None) -> list[Submission]:
        """Those in these states (all, where none is named), in the order of the queue."""
        wanted = tuple(states)
        marks = ",".join("?" * len(wanted))
        clauses = [f"state IN ({marks})"] if wanted else []
        clauses += ["batch = ?"] if batch is not None else []
        where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
        values = (*wanted, *([batch] if batch is not None else []))
        return self._select(f"{where} ORDER BY place", *values)

    def count(self, state: State) -> int:
        """How many are in a state."""
        ((count,),) = self._store.select("SELECT count(*) FROM submissions WHERE state = ?", state)
        return int(count)

    def start(self, run: str, device: str) -> Event | None:
        """A device takes it; ``None`` where it is no longer in the queue."""
        return self._change(
            run,
            ("queued",),
            "started",
            {"device": device},
            "state = 'running', device = ?, reason = ''",
            device,
        )

    def requeue(self, run: str, reason: str, *, progressed: bool) -> Event | None:
        """It was lost (its device, the server): it goes on in its old place in the queue."""
        attempts = "0" if progressed else "attempts + 1"
        change, told = f"state = 'queued', reason = ?, attempts = {attempts}", _keepable(reason)
        return self._change(run, ("running",), "requeued", {"reason": told}, change, told)

    def pin(self, run: str) -> None:
        """Something was timed for it: it goes on where it began."""
        with self._store.writing() as db:
            db.execute("UPDATE submissions SET pinned = 1 WHERE run = ?", (run,))

    def finish(self, run: str, state: State, reason: str = "") -> Event | None:
        """It has ended; ``None`` where it had before."""
        change = "state = ?, reason = ?, ended = ?"
        before: tuple[State, ...] = ("queued", "running")
        told = _keepable(reason)
        return self._change(run, before, state, {"reason": told}, change, state, told, now())

    def _change(
        self,
        run: str,
        before: tuple[State, ...],
        kind: str,
        data: Mapping[str, Any],
        change: str,
        *values: Any,
    ) -> Event | None:
        marks = ",".join("?" * len(before))
        with self._store.writing() as db:
            done = db.execute(
                f"UPDATE submissions SET {change} WHERE run = ? AND state IN ({marks})",
                (*values, run, *before),
            )
            return _tell(db, run, kind, data) if done.rowcount else None

    def _select(self, clause: str, *values: Any) -> list[Submission]:
        return [
            _submission(row)
            for row in self._store.select(f"SELECT {_COLUMNS} FROM submissions {clause}", *values)
        ]

    # ---- events ------------------------------------------------------------------------------------

    def tell(self, happened: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Event]:
        """Save what happened: (run or "", kind, data)."""
        with self._store.writing() as db:
            return [_tell(db, *each) for each in happened]

    def events(self, after: int, run: str | None = None, limit: int = 1000) -> list[Event]:
        """Those after an id, of one run or of all."""
        clause, values = ("", (after,)) if run is None else ("AND run = ? ", (after, run))
        rows = self._store.select(
            f"SELECT id, run, at, kind, data FROM events WHERE id > ? {clause}ORDER BY id LIMIT ?",
            *values,
            limit,
        )
        return [Event(id_, run_, at, kind, json.loads(data)) for id_, run_, at, kind, data in rows]

    def last_event(self) -> int:
        """The newest id, 0 where nothing happened yet."""
        ((last,),) = self._store.select("SELECT coalesce(max(id), 0) FROM events")
        return int(last)

    def forget_progress(self, before: str) -> None:
        """Leave out how runs went on that ended before a time: how they ended is kept."""
        with self._store.writing() as db:
            db.execute(
                "DELETE FROM events WHERE kind = 'progress' AND at < ? AND run IN"
                " (SELECT run FROM submissions WHERE ended < ?)",
                (before, before),
            )

    # ---- devices -----------------------------------------------------------------------------------

    def see_device(self, name: str, told: Mapping[str, Any]) -> None:
        """A device works, and is as it tells."""
        at = now()
        with self._store.writing() as db:
            db.execute(
                "INSERT INTO devices (name, told, first, last) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET told = excluded.told, last = excluded.last",
                (name, json.dumps(dict(told)), at, at),
            )

    def devices(self) -> list[DeviceRecord]:
        """All that ever worked, by name."""
        rows = self._store.select("SELECT name, told, first, last FROM devices ORDER BY name")
        return [DeviceRecord(name, json.loads(told), first, last) for name, told, first, last in rows]

    # ---- uploads -----------------------------------------------------------------------------------

    def uploaded(self, sha256: str) -> str | None:
        """The run that came in a document with this hash."""
        found = self._store.select("SELECT run FROM uploads WHERE sha256 = ?", sha256)
        return str(found[0][0]) if found else None

    def keep_upload(self, sha256: str, run: str, submitter: str) -> None:
        """Remember that this document is here."""
        with self._store.writing() as db:
            db.execute("INSERT OR IGNORE INTO uploads VALUES (?, ?, ?, ?)", (sha256, run, submitter, now()))


def _keepable(reason: str) -> str:
    """As the store can keep it: without halves of characters, and not endless."""
    return reason[:_LONGEST_REASON].encode("utf-8", "backslashreplace").decode()


def _tell(db: sqlite3.Connection, run: str, kind: str, data: Mapping[str, Any]) -> Event:
    at = now()
    made = db.execute(
        "INSERT INTO events (run, at, kind, data) VALUES (?, ?, ?, ?)",
        (run, at, kind, json.dumps(dict(data))),
    )
    return Event(int(made.lastrowid or 0), run, at, kind, data)


def _submission(row: tuple[Any, ...]) -> Submission:
    run, batch, submitted, submitter, state, options, *rest = row
    backend, size, wanted, device, pinned, attempts, *last = rest
    plain = from_plain(RunOptions, json.loads(options), "options")
    head = (run, batch, submitted, submitter, state, plain)
    return Submission(*head, backend, size, wanted, device, bool(pinned), attempts, *last)


def now() -> str:
    """The time, ISO 8601, UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
