"""The tables of the store, one numbered function per version, applied in order and only forwards.

The comments inside the statements stay in the file: any SQLite tool shows them with its ``.schema``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

#: marks a file as an slmeval store ("slme" in ASCII; shown by ``file`` and by ``PRAGMA application_id``)
APPLICATION_ID = 0x736C6D65

MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = []


def migration(step: Callable[[sqlite3.Connection], None]) -> Callable[[sqlite3.Connection], None]:
    """Appends ``step``: its place in the list is the version that it leads to."""
    MIGRATIONS.append(step)
    return step


def migrate(db: sqlite3.Connection) -> None:
    """Bring ``db`` (in autocommit mode) to the newest version, each step in one transaction.

    After an error ``db`` must be closed: that undoes the step that failed.
    """
    for version, step in enumerate(MIGRATIONS, start=1):
        if version > version_of(db):
            _apply(db, version, step)


def version_of(db: sqlite3.Connection) -> int:
    """How many migrations ``db`` has seen."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _apply(db: sqlite3.Connection, version: int, step: Callable[[sqlite3.Connection], None]) -> None:
    db.execute("BEGIN IMMEDIATE")
    # another process may have been quicker while this one waited for the lock
    if version_of(db) < version:
        step(db)
        db.execute(f"PRAGMA user_version = {version}")
    db.execute("COMMIT")


@migration
def m001_initial(db: sqlite3.Connection) -> None:
    """Answers under the hash of their question, runs, and which question of a run has which answer."""
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("""
        CREATE TABLE answers (
          key TEXT PRIMARY KEY,  -- hash of model, tokenizer, engine, options and token ids
          kind TEXT NOT NULL CHECK (kind IN ('score', 'generate')),  -- what was asked
          logprob REAL,          -- score: natural-log probability of the continuation
          greedy INTEGER,        -- score: 1 where each token was the most likely one, else 0
          token_logprobs BLOB,   -- score: natural-log probability per token, float64 little-endian
          text TEXT,             -- generate: the text, cut at the first stop string
          ids BLOB,              -- generate: all generated tokens, int32 little-endian
          reason TEXT,           -- generate: stop (stop string), end (end token), length (token cap)
          created TEXT NOT NULL  -- when it was saved: ISO 8601, UTC
        )""")
    db.execute("""
        CREATE TABLE runs (
          id TEXT PRIMARY KEY,    -- name of the run
          started TEXT NOT NULL,  -- ISO 8601, UTC
          finished TEXT,          -- ISO 8601, UTC; NULL while it runs, or where it was killed
          status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
          options TEXT NOT NULL,  -- JSON: what was asked for
          document TEXT,          -- JSON of schema slmeval.run/1: the results; NULL until it first ended
          identity TEXT,          -- JSON: name of each model, tokenizer and data set, and its SHA-256
          host TEXT,              -- machine that last began or resumed it
          pid INTEGER,            -- process that did
          born TEXT               -- when that process began, clock ticks since the machine did (Linux)
        )""")
    db.execute("""
        CREATE TABLE cell_items (
          run TEXT NOT NULL,         -- runs.id
          cell INTEGER NOT NULL,     -- place of the cell in the run, from 0
          item INTEGER NOT NULL,     -- place of the row in the data set, from 0
          request INTEGER NOT NULL,  -- place of the request in the question, from 0
          key TEXT NOT NULL,         -- answers.key
          PRIMARY KEY (run, cell, item, request)
        ) WITHOUT ROWID""")
    db.execute("""
        CREATE TABLE models (
          key TEXT PRIMARY KEY,  -- hash of model, engine and options
          info TEXT NOT NULL     -- JSON: what was opened (parameters, dtype, device, context, ...)
        )""")
    db.execute("""
        CREATE TABLE files (
          path TEXT PRIMARY KEY,  -- absolute
          stamp TEXT NOT NULL,    -- device, inode, size in bytes, mtime and ctime in ns since 1970
          sha256 TEXT NOT NULL    -- hash of the content, hexadecimal; holds while the stamp does
        )""")


@migration
def m002_notes(db: sqlite3.Connection) -> None:
    """What engines said of how they answered, for runs that find all their answers here."""
    # a comment to the line's end would end the statement that SQLite makes of this
    column = "notes /* JSON: what the engine said of how it was measured, once each */ TEXT NOT NULL"
    db.execute(f"ALTER TABLE models ADD COLUMN {column} DEFAULT '[]'")


@migration
def m003_thoughts(db: sqlite3.Connection) -> None:
    """What a model thought before it answered."""
    text = "thought /* generate: what was thought before the text, without its marks */ TEXT"
    count = "thought_tokens /* generate: how many of the ids are thought, its marks included */ INTEGER"
    db.execute(f"ALTER TABLE answers ADD COLUMN {text}")
    db.execute(f"ALTER TABLE answers ADD COLUMN {count}")


@migration
def m004_measurements(db: sqlite3.Connection) -> None:
    """What probes measured, worker by worker, so that a run goes on where it was ended."""
    db.execute("""
        CREATE TABLE measurements (
          run TEXT NOT NULL,       -- runs.id
          probe TEXT NOT NULL,     -- probe, engine and model, with the hash of all that its figures hang on
          worker INTEGER NOT NULL, -- place of the worker that measured, from 0
          created TEXT NOT NULL,   -- when it was saved: ISO 8601, UTC
          document TEXT NOT NULL,  -- JSON: the raw series, the machine's conditions, notes
          PRIMARY KEY (run, probe, worker)
        ) WITHOUT ROWID""")


@migration
def m005_figures(db: sqlite3.Connection) -> None:
    """The figures of all runs by name: one can be followed over runs without reading documents."""
    db.execute("""
        CREATE TABLE figures (
          run TEXT NOT NULL,         -- runs.id
          cell INTEGER NOT NULL,     -- place of the cell in the run, from 0
          kind TEXT NOT NULL,        -- task, probe or group
          task TEXT NOT NULL,        -- name of the task, probe or group
          shots INTEGER NOT NULL,    -- examples before each question
          chat TEXT NOT NULL,        -- off, on: whether a chat template wrote the prompts
          backend TEXT NOT NULL,     -- engine
          model TEXT NOT NULL,       -- as the report calls it
          figure TEXT NOT NULL,      -- name of the figure
          place INTEGER NOT NULL,    -- its place among the cell's, from 0
          value REAL,                -- NULL where it is unavailable
          low REAL,                  -- 95% interval, NULL where there is none
          high REAL,
          n INTEGER NOT NULL,        -- items or repeats
          unit TEXT NOT NULL,
          source TEXT NOT NULL,      -- measured, estimated or unavailable
          sample INTEGER NOT NULL,   -- 1 where not the whole data set was asked
          better INTEGER,            -- 1: higher is better, 0: lower is, NULL: neither
          version TEXT NOT NULL,     -- of the task or probe
          rows TEXT NOT NULL,        -- SHA-256 of the rows
          settings TEXT NOT NULL,    -- JSON: what a probe was told
          machine TEXT NOT NULL,     -- processor, and the device that the model was on
          weights TEXT NOT NULL,     -- SHA-256 of the model: another may have its name
          PRIMARY KEY (run, cell, figure)
        ) WITHOUT ROWID""")
    # behind these the index has the run and the cell
    db.execute("CREATE INDEX figures_by_name ON figures (task, figure, shots, chat)")
    db.execute("CREATE INDEX runs_by_start ON runs (started)")
    for run, text in db.execute("SELECT id, document FROM runs WHERE document IS NOT NULL").fetchall():
        # a damaged document is told of where it is asked for
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            index_figures(db, run, json.loads(text))


def index_figures(db: sqlite3.Connection, run: str, document: Mapping[str, Any]) -> None:
    """Write the figures of a run's document (schema ``slmeval.run/1``) into their table."""
    db.execute("DELETE FROM figures WHERE run = ?", (run,))
    rows = []
    for number, cell in enumerate(document["cells"]):
        origin = _origin_of(document, cell)
        rows += [(run, number, *map(_savable, (*row, *origin))) for row in _figures_of(cell)]
    marks = ",".join("?" * 23)
    db.executemany(f"INSERT OR REPLACE INTO figures VALUES ({marks})", rows)


def _figures_of(cell: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    told = (
        cell["kind"],
        cell["name"],
        cell["shots"],
        cell.get("chat", "off"),
        cell["backend"],
        cell["model"],
    )
    settings = json.dumps(cell.get("settings", {}), sort_keys=True)
    asked = (cell["version"], cell["data"]["sha256"], settings)
    for place, (name, figure) in enumerate(cell["figures"].items()):
        low, high = map(_finite, figure["ci95"] or (None, None))
        better = figure.get("higher_is_better")
        rest = (figure["n"], figure["unit"], figure.get("source", "measured"), cell["sample"], better)
        yield (*told, name, place, figure["value"], low, high, *rest, *asked)


def _origin_of(document: Mapping[str, Any], cell: Mapping[str, Any]) -> tuple[str, str]:
    """The machine, and the model's hash."""
    whose = (cell["backend"], cell["model"])
    reports = [each for each in document["models"] if (each["backend"], each["label"]) == whose]
    devices = [each["info"]["device"] for each in reports if each["info"]]
    machine = " · ".join([document["machine"]["processor"], *devices[:1]])
    return machine, next((each["model_hash"] for each in reports), "")


def _savable(value: Any) -> Any:
    """A name may have half of a character in it, which a document can say and a column cannot keep."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _finite(value: Any) -> Any:
    """A document writes an infinite bound as a text."""
    return value if isinstance(value, (int, float)) else None


@migration
def m006_service(db: sqlite3.Connection) -> None:
    """What the service was asked for, what it told, who may ask it, and which devices work for it."""
    db.execute("""
        CREATE TABLE submissions (
          place INTEGER PRIMARY KEY,         -- place in the queue
          run TEXT NOT NULL UNIQUE,          -- id that the run has or will have: runs.id
          batch TEXT NOT NULL,               -- runs that were submitted together have one
          submitted TEXT NOT NULL,           -- ISO 8601, UTC
          submitter TEXT NOT NULL,           -- name of the token, "" where none was needed
          state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
          options TEXT NOT NULL,             -- JSON: what is to be run
          backend TEXT NOT NULL,             -- engine that a device must have
          bytes INTEGER NOT NULL DEFAULT 0,  -- of the largest model's files: a device must have this much
          wanted TEXT,                       -- device that was asked for; NULL: any that can
          device TEXT,                       -- device that has it, or had it last
          pinned INTEGER NOT NULL DEFAULT 0, -- 1: goes on on no other device, for what was timed is of one
          attempts INTEGER NOT NULL DEFAULT 0, -- how often in a row it was lost and nothing had been answered
          reason TEXT NOT NULL DEFAULT '',   -- why it failed, or waits
          ended TEXT                         -- ISO 8601, UTC
        )""")
    db.execute("CREATE INDEX submissions_by_state ON submissions (state)")
    db.execute("CREATE INDEX submissions_by_batch ON submissions (batch)")
    db.execute("CREATE INDEX submissions_by_time ON submissions (submitted, run)")
    db.execute("CREATE INDEX runs_by_time ON runs (started, id)")
    db.execute("""
        CREATE TABLE events (
          id INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order in which they happened
          run TEXT NOT NULL,                    -- runs.id, "" for what is of no run
          at TEXT NOT NULL,                     -- ISO 8601, UTC
          kind TEXT NOT NULL,                   -- queued, started, progress, cell, requeued, done, ...
          data TEXT NOT NULL                    -- JSON
        )""")
    db.execute("CREATE INDEX events_by_run ON events (run, id)")
    db.execute("""
        CREATE TABLE tokens (
          name TEXT PRIMARY KEY,        -- whose it is
          scopes TEXT NOT NULL,         -- read, submit, work, admin, with commas
          sha256 TEXT NOT NULL UNIQUE,  -- hash of the token, which is kept nowhere
          created TEXT NOT NULL         -- ISO 8601, UTC
        )""")
    db.execute("""
        CREATE TABLE devices (
          name TEXT PRIMARY KEY,  -- as its worker calls it
          told TEXT NOT NULL,     -- JSON: engines, memory, machine, versions
          first TEXT NOT NULL,    -- when it first worked, ISO 8601, UTC
          last TEXT NOT NULL      -- when it last was heard of
        )""")
    db.execute("""
        CREATE TABLE uploads (
          sha256 TEXT PRIMARY KEY,  -- hash of the run's document
          run TEXT NOT NULL,        -- runs.id
          submitter TEXT NOT NULL,  -- name of the token
          at TEXT NOT NULL          -- ISO 8601, UTC
        )""")
