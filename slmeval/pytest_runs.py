"""The runs of a session of pytest: equal ones are made and judged once.

Where pytest-xdist has several processes, that holds for the runs of all of them.

Only one run is made at a time, by whichever process: two would take each other's memory, and timings would
be those of a machine that is busy.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Hashable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from slmeval.baselines import read_baseline
from slmeval.document import from_document, to_json, to_plain
from slmeval.errors import StoreError
from slmeval.gating import judge
from slmeval.rules import Rule
from slmeval.testing import evaluate
from slmeval.types import RunOptions, RunResult
from slmeval.verdicts import GateReport

#: seconds that a process waits for the runs of the others
_PATIENCE = 7 * 24 * 3600.0


class Runs:
    """Runs by their options, in a folder that all processes of the session share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, RunResult] = {}
        self._judged: dict[Hashable, tuple[RunResult, GateReport]] = {}

    @property
    def store(self) -> Path:
        """Where their answers are kept, so that what was asked once is not asked again."""
        return self.folder / "store.db"

    def run(self, options: RunOptions) -> RunResult:
        """The run with these options, made now unless it was before.

        :raises slmeval.errors.SlmevalError: as the command would.
        :raises KeyboardInterrupt: the user ended it.
        """
        key = json.dumps(to_plain(options), sort_keys=True)
        if key not in self._known:
            self._known[key] = self._shared(key, options)
        return self._known[key]

    def judged(
        self, run: RunResult, rules: Sequence[Rule], baseline: Path | None, shared: bool
    ) -> GateReport:
        """``run`` held to ``rules``, all together; ``baseline`` is a file that one of them needs.

        :raises slmeval.errors.UsageError: they cannot be compared, or a rule fits nothing.
        """
        changed = baseline.stat().st_mtime_ns if baseline else 0
        # the run is kept with its answers: as long as it is there, no other has its identity
        key = (id(run), tuple(rule.text for rule in rules), baseline, changed, shared)
        if key not in self._judged:
            held_against = read_baseline(baseline) if baseline else None
            self._judged[key] = (run, judge(run, rules, held_against, shared=shared))
        return self._judged[key][1]

    def _shared(self, key: str, options: RunOptions) -> RunResult:
        with self._in_turn() as db:
            found = db.execute("SELECT document FROM runs WHERE options = ?", (key,)).fetchone()
            if found is not None:
                return from_document(json.loads(found[0]))
            result = evaluate(options, self.store)
            if result.status == "interrupted":
                # the run kept what was answered, and pytest is to end
                raise KeyboardInterrupt
            db.execute("INSERT INTO runs VALUES (?, ?)", (key, to_json(result)))
        return result

    @contextmanager
    def _in_turn(self) -> Iterator[sqlite3.Connection]:
        """A database as the lock: any system has it, and what a killed process held is free again."""
        try:
            with closing(
                sqlite3.connect(self.folder / "runs.db", timeout=_PATIENCE, isolation_level=None)
            ) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute("CREATE TABLE IF NOT EXISTS runs (options TEXT PRIMARY KEY, document TEXT)")
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"the runs of this session cannot be kept in {self.folder}: {error}") from None
