"""The tables of the store, one numbered function per version, applied in order and only forwards.

The comments inside the statements stay in the file: any SQLite tool shows them with its ``.schema``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

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
