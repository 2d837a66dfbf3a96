"""The store: one SQLite file that keeps every answer under the hash of its question, and every run.

What a method has saved when it returns survives the end of the process, however sudden.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, get_args

import platformdirs

from slmeval.document import from_document, from_plain, to_document, to_plain
from slmeval.errors import StoreError, UnknownName, UsageError
from slmeval.file_hash import sha256_of
from slmeval.migrations import APPLICATION_ID, MIGRATIONS, index_figures, migrate, version_of
from slmeval.types import (
    Completion,
    EndReason,
    Likelihood,
    Measurement,
    ModelInfo,
    Reply,
    RunOptions,
    RunResult,
)

#: older SQLite takes no more than 999 variables in one statement
_CHUNK = 900
#: a file that changed this short a time ago could change again without its time stamp moving
_FRESH_NS = 2_000_000_000

#: in the identity of a run that asked nothing: whose answers it scored again
RESCORED = "answers of run"
#: in the identity of a run that a gate asked for: which run it measured more of
CONFIRMED = "more of run"
#: in the identity of a run that was made elsewhere and brought to a server: who brought it
UPLOADED = "uploaded by"

#: the newest run, or one before it
LAST = re.compile(r"last(?:~([0-9]{1,9}))?")

T = TypeVar("T")


@dataclass(frozen=True)
class RunSummary:
    """One line of the history. ``finished`` is ``None`` while it runs, or where it was killed."""

    id: str
    started: str
    finished: str | None
    status: str
    options: RunOptions


def default_path() -> Path:
    """Where the store lies unless the user says otherwise: ``SLMEVAL_STORE``, or the user's data folder."""
    if named := os.environ.get("SLMEVAL_STORE"):
        return Path(named).expanduser()
    return platformdirs.user_data_path("slmeval", appauthor=False) / "store.db"


class Store:
    """An open store. Used by one thread; other processes may read and write the same file.

    Every method raises :class:`slmeval.errors.StoreError` when the file is locked, full, read-only or
    damaged; what it was about to save is then not saved at all.
    """

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db

    @classmethod
    def open(cls, path: Path, must_exist: bool = False, *, wait: float = 5.0) -> Store:
        """The store at ``path``, made if need be; another process is waited for up to ``wait`` seconds.

        With ``must_exist`` none is made: where there is none, that is a StoreError.
        """
        with _explained(path):
            if must_exist and not path.exists():
                raise StoreError(f"there is no store at {path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=wait, isolation_level=None)
            try:
                _prepare(db, path, wait)
            except BaseException:
                db.close()
                raise
        return cls(path, db)

    def close(self) -> None:
        """Let go of the file."""
        with _explained(self.path):
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- answers -----------------------------------------------------------------------------------

    def known(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that have an answer."""
        return {key for (key,) in self._select_by_key("SELECT key", keys)}

    def replies(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The answers of those of ``keys`` that have one."""
        columns = (
            "SELECT key, kind, greedy, token_logprobs, CAST(text AS BLOB), ids, reason,"
            " CAST(thought AS BLOB), thought_tokens"
        )
        return {key: self._reply(key, *row) for key, *row in self._select_by_key(columns, keys)}

    def save_replies(self, pairs: Iterable[tuple[str, Reply]]) -> None:
        """Save answers under their keys, all or none; a key that has an answer keeps it."""
        created = _now()
        rows = [(key, created, *_reply_row(reply)) for key, reply in pairs]
        # bytes cast to TEXT: the driver itself refuses the lone surrogates that a tokenizer can bring
        statement = (
            "INSERT OR IGNORE INTO answers (key, created, kind, logprob, greedy, token_logprobs, ids, reason,"
            " thought_tokens, text, thought)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT))"
        )
        with self.writing():
            self._db.executemany(statement, rows)

    def _select_by_key(self, columns: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        with _explained(self.path):
            for chunk in _chunks(keys, _CHUNK):
                marks = ",".join("?" * len(chunk))
                yield from self._db.execute(
                    f"{columns} FROM answers WHERE key IN ({marks})", chunk
                ).fetchall()

    def _reply(self, key: str, kind: str, *values: Any) -> Reply:
        try:
            return _READERS[kind](*values)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise StoreError(f"the store {self.path} is damaged: answer {key} cannot be read") from error

    # ---- runs --------------------------------------------------------------------------------------

    def begin_run(
        self, run_id: str, started: str, options: RunOptions, identity: Mapping[str, str] | None = None
    ) -> str:
        """Enter a run that starts now, or goes on: then it keeps its start, its options and its identity.

        A run that goes on also keeps the results it had until :meth:`finish_run` brings new ones.
        ``identity``: see :meth:`identity_changes`. Returns when the run started.

        :raises slmeval.errors.UsageError: another process is carrying it out.
        """
        told = None if identity is None else json.dumps(dict(identity))
        row = (run_id, started, json.dumps(to_plain(options)), told, *_this_process())
        with self.writing():
            self._refuse_alive(run_id)
            self._db.execute(
                "INSERT INTO runs (id, started, status, options, identity, host, pid, born)"
                " VALUES (?, ?, 'running', ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET status = 'running', finished = NULL, identity = coalesce(identity, excluded.identity),"
                " host = excluded.host, pid = excluded.pid, born = excluded.born",
                row,
            )
        ((began,),) = self.select("SELECT started FROM runs WHERE id = ?", run_id)
        return str(began)

    def identity_changes(self, run_id: str, identity: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """What is no longer as it was when the run first began, each with its hash (then, now).

        ``identity`` is what the run stands on: the name of each model, tokenizer and data set, with the
        SHA-256 of its content. An entry that is new or gone has "" for the hash that is not there. Nothing
        has changed where the run never began, or began without an identity.
        """
        found = self.select("SELECT identity FROM runs WHERE id = ? AND identity IS NOT NULL", run_id)
        if not found:
            return {}
        before = self._json(found[0][0], run_id)
        pairs = {name: (before.get(name, ""), identity.get(name, "")) for name in {**before, **identity}}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def save_items(
        self, run_id: str, cell: int, items: Iterable[tuple[int, int, str]], *, anew: bool = False
    ) -> None:
        """Save which answer each request of a cell has: (row, request, key), from 0; the last one stands.

        With ``anew`` these are all: of a run that goes on, another cell may have stood in this place.
        """
        rows = [(run_id, cell, *item) for item in items]
        with self.writing():
            if anew:
                self._db.execute("DELETE FROM cell_items WHERE run = ? AND cell = ?", (run_id, cell))
            self._db.executemany("INSERT OR REPLACE INTO cell_items VALUES (?, ?, ?, ?, ?)", rows)

    def items(self, run_id: str, cell: int) -> list[tuple[int, int, str]]:
        """The (row, request, key) of one cell, in order."""
        statement = (
            "SELECT item, request, key FROM cell_items WHERE run = ? AND cell = ? ORDER BY item, request"
        )
        return self.select(statement, run_id, cell)

    def finish_run(self, run: RunResult, identity: Mapping[str, str] | None = None) -> None:
        """Save the results of a run, begun here, or elsewhere: then with its ``identity``."""
        told = None if identity is None else json.dumps(dict(identity))
        row = (run.id, run.started, run.finished, run.status, json.dumps(to_plain(run.options)), told)
        document = to_document(run)
        text = json.dumps(document, allow_nan=False)
        with self.writing():
            self._db.execute(
                "INSERT INTO runs (id, started, finished, status, options, identity, document)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET finished = excluded.finished, status = excluded.status, document = excluded.document",
                (*row, text),
            )
            index_figures(self._db, run.id, document)

    def run(self, id_or_prefix: str) -> RunResult:
        """The results of a run, named by its id or by the first letters of it.

        While a run that had ended goes on, these are the results that it ended with before.

        :raises slmeval.errors.UnknownName: no run has such an id.
        :raises slmeval.errors.UsageError: several runs have, or the run has no results yet.
        """
        run_id = self.full_id(id_or_prefix)
        ((text,),) = self.select("SELECT document FROM runs WHERE id = ?", run_id)
        if text is None:
            raise UsageError(f"run {run_id} has not finished: go on with `slmeval run --resume {run_id}`")
        return from_document(self._json(text, run_id))

    def options_of(self, run_id: str) -> RunOptions:
        """What a run was asked for; ``run_id`` and the errors as in :meth:`run`."""
        run_id = self.full_id(run_id)
        ((text,),) = self.select("SELECT options FROM runs WHERE id = ?", run_id)
        return self._options(text, run_id)

    def status_of(self, run_id: str) -> str:
        """``running`` (also where it was killed), ``done``, ``failed`` or ``interrupted``.

        ``run_id`` and the errors as in :meth:`run`.
        """
        ((status,),) = self.select("SELECT status FROM runs WHERE id = ?", self.full_id(run_id))
        return str(status)

    def begun(self, run_id: str) -> bool:
        """Whether there is a run of exactly this id."""
        return bool(self.select("SELECT 1 FROM runs WHERE id = ?", run_id))

    def is_alive(self, run_id: str) -> bool:
        """Whether another process on this machine is carrying out the run; ``run_id`` as in :meth:`run`.

        Not told on Windows; one that runs on another machine is not seen.
        """
        return self._process_of(self.full_id(run_id)) is not None

    def runs(self) -> list[RunSummary]:
        """The history, newest first."""
        columns = "SELECT id, started, finished, status, options FROM runs ORDER BY started DESC, rowid DESC"
        return [
            RunSummary(run_id, started, finished, status, self._options(options, run_id))
            for run_id, started, finished, status, options in self.select(columns)
        ]

    def unfinished(self) -> str | None:
        """The newest run that was killed, was interrupted or failed, or ``None``."""
        statement = "SELECT id FROM runs WHERE status != 'done' ORDER BY started DESC, rowid DESC"
        found = (str(run_id) for (run_id,) in self.select(statement))
        waiting = (run_id for run_id in found if self._process_of(run_id) is None)
        ended = {RESCORED, CONFIRMED, UPLOADED}
        return next((run_id for run_id in waiting if not self._told_of(run_id).keys() & ended), None)

    def rescored_from(self, run_id: str) -> str | None:
        """The run whose answers this one scored again, which cannot go on by asking; ``None`` for others."""
        return self._told_of(run_id).get(RESCORED)

    def is_uploaded(self, run_id: str) -> bool:
        """Whether a run was made elsewhere and brought here: its answers are not here, and what its options
        name is of another machine."""
        return UPLOADED in self._told_of(run_id)

    def _told_of(self, run_id: str) -> dict[str, str]:
        """A run's identity."""
        found = self.select("SELECT identity FROM runs WHERE id = ? AND identity IS NOT NULL", run_id)
        told = self._json(found[0][0], run_id) if found else {}
        return told if isinstance(told, dict) else {}

    def _process_of(self, run_id: str) -> int | None:
        """The other process that is carrying out a run now."""
        statement = "SELECT host, pid, born FROM runs WHERE id = ? AND status = 'running' AND pid IS NOT NULL"
        return next((row[1] for row in self.select(statement, run_id) if _is_at_work(*row)), None)

    def _refuse_alive(self, run_id: str) -> None:
        if pid := self._process_of(run_id):
            raise UsageError(f"run {run_id} is being carried out by process {pid}: wait until that ends")

    def full_id(self, prefix: str) -> str:
        """The id that begins so, ``last`` for the newest, or ``last~1`` for the one before it, and so on.

        Runs that a gate asked for are none of these: nobody began them.
        The errors as in :meth:`run`.
        """
        if back := LAST.fullmatch(prefix):
            return self._newest(prefix, int(back[1] or 0))
        statement = "SELECT id FROM runs WHERE substr(id, 1, length(?)) = ? ORDER BY started DESC, rowid DESC"
        found = [run_id for (run_id,) in self.select(statement, prefix, prefix)]
        if not prefix or not found:
            newest = "SELECT id FROM runs ORDER BY started DESC, rowid DESC LIMIT 10"
            raise UnknownName("run", prefix, [run_id for (run_id,) in self.select(newest)])
        if prefix in found:
            return prefix
        if len(found) == 1:
            return str(found[0])
        raise UsageError(f"{len(found)} runs begin with {prefix!r}, the newest is {found[0]}: add letters")

    def _newest(self, reference: str, back: int) -> str:
        """The newest run but ``back``."""
        begun = "FROM runs WHERE instr(coalesce(identity, ''), ?) = 0"
        mark = json.dumps(CONFIRMED)
        ((count,),) = self.select(f"SELECT count(*) {begun}", mark)
        if back >= count:
            raise UsageError(f"there is no run {reference}: the store {self.path} holds {count}")
        ((run_id,),) = self.select(
            f"SELECT id {begun} ORDER BY started DESC, rowid DESC LIMIT 1 OFFSET ?", mark, back
        )
        return str(run_id)

    def _options(self, text: str, run_id: str) -> RunOptions:
        return from_plain(RunOptions, self._json(text, run_id), "options")

    def _json(self, text: str, run_id: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise StoreError(f"the store {self.path} is damaged: run {run_id} cannot be read") from error

    # ---- measurements ------------------------------------------------------------------------------

    def save_measurement(self, run_id: str, probe: str, worker: int, measurement: Measurement) -> None:
        """Save what a probe measured in one worker of a run."""
        row = (run_id, probe, worker, _now(), json.dumps(to_plain(measurement), allow_nan=False))
        with self.writing():
            self._db.execute("INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?, ?)", row)

    def measurement(self, run_id: str, probe: str, worker: int) -> Measurement | None:
        """What was saved so, or ``None``."""
        statement = "SELECT document FROM measurements WHERE run = ? AND probe = ? AND worker = ?"
        found = self.select(statement, run_id, probe, worker)
        return from_plain(Measurement, self._json(found[0][0], run_id), probe) if found else None

    # ---- models and files --------------------------------------------------------------------------

    def remember_model(self, key: str, info: ModelInfo, notes: Iterable[str] = ()) -> None:
        """Save what was opened under ``key``, so that it can be reported without being opened again.

        ``notes``: what its engine said of how it was measured; those that were saved before are kept.
        """
        with self.writing():
            every = dict.fromkeys((*self.model_notes(key), *notes))
            row = (key, json.dumps(to_plain(info)), json.dumps(list(every)))
            self._db.execute("INSERT OR REPLACE INTO models (key, info, notes) VALUES (?, ?, ?)", row)

    def model_info(self, key: str) -> ModelInfo | None:
        """What was opened under ``key``, or ``None`` where nothing ever was."""
        found = self.select("SELECT info FROM models WHERE key = ?", key)
        return from_plain(ModelInfo, json.loads(found[0][0]), "info") if found else None

    def model_notes(self, key: str) -> tuple[str, ...]:
        """What was ever said of how answers under ``key`` were measured."""
        found = self.select("SELECT notes FROM models WHERE key = ?", key)
        return tuple(json.loads(found[0][0])) if found else ()

    def file_hash(self, path: Path) -> str:
        """SHA-256 of a file in hexadecimal; read only where the path holds another file, or a changed one.

        :raises OSError: the file cannot be read.
        """
        path = path.resolve()
        name, before = os.fsencode(path), path.stat()
        statement = "SELECT sha256 FROM files WHERE path = CAST(? AS TEXT) AND stamp = ?"
        if found := self.select(statement, name, _stamp(before)):
            return str(found[0][0])
        sha256 = sha256_of(path)
        if _stamp(path.stat()) == _stamp(before) and not _is_fresh(before):
            with self.writing():
                self._db.execute(
                    "INSERT OR REPLACE INTO files VALUES (CAST(? AS TEXT), ?, ?)",
                    (name, _stamp(before), sha256),
                )
        return sha256

    # ---- statements --------------------------------------------------------------------------------

    def select(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a SELECT; for what lies in tables of its own, as the service's does."""
        with _explained(self.path):
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction on the connection that is given: everything in it is saved, or nothing."""
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # a full disk makes SQLite roll back by itself
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


# ---- opening -----------------------------------------------------------------------------------------


def _prepare(db: sqlite3.Connection, path: Path, wait: float) -> None:
    _refuse_foreign(db, path)
    _refuse_newer(db, path)
    _enter_wal(db, path, wait)
    # with a write-ahead log this loses nothing when the process dies, and never tears the file
    db.execute("PRAGMA synchronous = NORMAL")
    migrate(db)


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    """Tables first: a process that makes the store right now sets the id together with them."""
    ((tables,),) = db.execute("SELECT count(*) FROM sqlite_master")
    ((application,),) = db.execute("PRAGMA application_id")
    if application != APPLICATION_ID and (tables or application):
        raise StoreError(f"{path} is another program's database, not an slmeval store: name one with --store")


def _refuse_newer(db: sqlite3.Connection, path: Path) -> None:
    version, newest = version_of(db), len(MIGRATIONS)
    if version > newest:
        raise StoreError(
            f"the store {path} has version {version}, this slmeval knows versions up to {newest}:"
            " upgrade slmeval, or name another store with --store PATH"
        )


def _enter_wal(db: sqlite3.Connection, path: Path, wait: float) -> None:
    """Readers and a writer side by side. SQLite itself does not wait for the lock that this change needs."""
    deadline = time.monotonic() + wait
    while (mode := _try_wal(db)) is None:
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("database is locked")
        time.sleep(0.01)
    if mode != "wal":
        raise StoreError(
            f"the store {path} lies where SQLite can keep no write-ahead log:"
            " name one on a local disk with --store PATH"
        )


def _try_wal(db: sqlite3.Connection) -> str | None:
    try:
        return str(db.execute("PRAGMA journal_mode = WAL").fetchone()[0])
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return None
        raise


# ---- what can go wrong -------------------------------------------------------------------------------

#: a part of SQLite's message, and what it means to the user (SQLite's codes need Python 3.11)
_MEANINGS = (
    (
        "locked",
        "is locked by another process: wait until that ends, or name a store of your own with --store PATH",
    ),
    (
        "is full",
        "has no room left on its disk: free some; what was saved before is safe, and --resume goes on",
    ),
    ("disk I/O", "cannot be read or written by its disk ({error}): what was saved before is kept as it was"),
    ("readonly", "cannot be written: make it writable, or name another with --store PATH"),
    (
        "unable to open",
        "cannot be opened: its folder must exist and be writable, or --store PATH names another",
    ),
    ("malformed", "is damaged: move it away, or save what can be read with SQLite's `.recover`"),
    ("not a database", "is not an slmeval store, nor any SQLite file: name another with --store PATH"),
)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what SQLite and the file system say into one sentence about the store."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        # a defect of ours: it keeps its traceback
        raise
    except (sqlite3.DatabaseError, OSError) as error:
        raise StoreError(f"the store {path} {_meaning(str(error))}") from error


def _meaning(error: str) -> str:
    meanings = (meaning for part, meaning in _MEANINGS if part in error)
    return next(meanings, "cannot be used: {error}").format(error=error)


# ---- answers as rows ---------------------------------------------------------------------------------


def _reply_row(reply: Reply) -> tuple[Any, ...]:
    """kind, logprob, greedy, token_logprobs, ids, reason, thought_tokens, text, thought"""
    if isinstance(reply, Likelihood):
        values = reply.token_logprobs
        blob = struct.pack(f"<{len(values)}d", *values)
        return ("score", reply.logprob, reply.greedy, blob, None, None, None, None, None)
    text, thought = (part.encode("utf-8", "surrogatepass") for part in (reply.text, reply.thought))
    ids = struct.pack(f"<{len(reply.ids)}i", *reply.ids)
    return ("generate", None, None, None, ids, reply.reason, reply.thought_tokens, text, thought)


def _likelihood(greedy: int, blob: bytes, *_: None) -> Likelihood:
    return Likelihood(struct.unpack(f"<{len(blob) // 8}d", blob), bool(greedy))


def _completion(
    _greedy: None,
    _blob: None,
    text: bytes,
    ids: bytes,
    reason: EndReason,
    thought: bytes | None,
    thought_tokens: int | None,
) -> Completion:
    if reason not in get_args(EndReason):
        raise ValueError(reason)
    # answers that were saved before thoughts were told apart have none
    texts = [part.decode("utf-8", "surrogatepass") for part in (text, thought or b"")]
    numbers = struct.unpack(f"<{len(ids) // 4}i", ids)
    return Completion(texts[0], numbers, reason, texts[1], thought_tokens or 0)


_READERS: dict[str, Callable[..., Reply]] = {"score": _likelihood, "generate": _completion}

# ---- small things ------------------------------------------------------------------------------------


def _chunks(values: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    rest = iter(values)
    while chunk := tuple(islice(rest, size)):
        yield chunk


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _stamp(stat: os.stat_result) -> str:
    """What tells one content of a path from another without reading it.

    Size and mtime alone do not: tar and rsync give equal ones to different files, and anyone can set an
    mtime. ctime is set by the system alone (on Windows it is the time of creation).
    """
    parts = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return " ".join(map(str, parts))


def _is_fresh(stat: os.stat_result) -> bool:
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) <= _FRESH_NS


# ---- processes ---------------------------------------------------------------------------------------


def _this_process() -> tuple[str, int, str | None]:
    """host, pid, born"""
    return platform.node(), os.getpid(), _born(os.getpid())


def _is_at_work(host: str, pid: int, born: str | None) -> bool:
    """Whether that process is another one than this, and runs on this machine."""
    if host != platform.node() or pid == os.getpid() or not _is_there(pid):
        return False
    # a number is given again to a later process, which was born at another time
    return born is None or _born(pid) in (born, None)


def _is_there(pid: int) -> bool:
    if sys.platform == "win32":
        return False  # there os.kill would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _born(pid: int) -> str | None:
    """When a process began, in clock ticks since the machine did; "" once it is dead; ``None``: not told.

    Source: proc_pid_stat(5), fields 3 and 22. The second field, the name, can hold spaces and brackets.
    """
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return None
