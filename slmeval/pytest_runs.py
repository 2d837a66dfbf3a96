"""The runs of a session of pytest: equal ones are made and judged once.

Where pytest-xdist has several processes, that holds for the runs of all of them.

Only one run is made at a time, by whichever process: two would take each other's memory, and timings would
be those of a machine that is busy.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from slmeval import confirming
from slmeval.baselines import Baseline, read_baseline
from slmeval.document import from_document, from_plain, to_json, to_plain
from slmeval.errors import JobFailed, StoreError
from slmeval.gating import judge
from slmeval.registry import load
from slmeval.rules import Rule
from slmeval.store import Store
from slmeval.testing import Silent, evaluate
from slmeval.types import Failure, RunOptions, RunResult
from slmeval.verdicts import GateReport

T = TypeVar("T")

#: seconds that a process waits for the runs of the others
_PATIENCE = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Asked:
    """What a run is held to: rules, the ``baseline``'s file where one needs it, and how.

    ``shared`` compares on the items that both have, ``confirm`` is how often the undecided is measured again.
    """

    rules: tuple[Rule, ...]
    baseline: Path | None = None
    shared: bool = False
    confirm: int = 0

    @property
    def changed(self) -> int:
        """When the baseline was written, in nanoseconds: another file of that name is another question."""
        return self.baseline.stat().st_mtime_ns if self.baseline else 0


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

    def judged(self, run: RunResult, asked: Asked) -> GateReport:
        """``run`` held to rules; what they leave open is measured again as often as is asked.

        :raises slmeval.errors.SlmevalError: it cannot be held to them, a rule fits nothing, or a job failed.
        """
        # the run is kept with its answers: as long as it is there, no other has its identity
        key = (id(run), asked, asked.changed)
        if key not in self._judged:
            self._judged[key] = (run, self._confirmed(run, asked) if asked.confirm else _judged(run, asked))
        return self._judged[key][1]

    def _confirmed(self, run: RunResult, asked: Asked) -> GateReport:
        """Measured again by one process, for all."""
        texts = [rule.text for rule in asked.rules]
        key = json.dumps([run.id, texts, str(asked.baseline), asked.changed, asked.shared, asked.confirm])
        return self._once(
            key,
            lambda: _confirmed(run, asked, self.store),
            lambda report: json.dumps(to_plain(report)),
            lambda text: from_plain(GateReport, json.loads(text)),
        )

    def _shared(self, key: str, options: RunOptions) -> RunResult:
        def made() -> RunResult:
            result = evaluate(options, self.store)
            if result.status == "interrupted":
                # the run kept what was answered, and pytest is to end
                raise KeyboardInterrupt
            return result

        return self._once(key, made, to_json, lambda text: from_document(json.loads(text)))

    def _once(
        self, key: str, make: Callable[[], T], write: Callable[[T], str], read: Callable[[str], T]
    ) -> T:
        """What is under ``key``: made by the first process that asks for it, read by the others."""
        with self._in_turn() as db:
            found = db.execute("SELECT document FROM runs WHERE options = ?", (key,)).fetchone()
            if found is not None:
                return read(found[0])
            made = make()
            db.execute("INSERT INTO runs VALUES (?, ?)", (key, write(made)))
        return made

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


def _judged(run: RunResult, asked: Asked) -> GateReport:
    return judge(run, asked.rules, _held_against(asked), shared=asked.shared)


def _confirmed(run: RunResult, asked: Asked, store: Path) -> GateReport:
    gate = confirming.Gate(asked.rules, _held_against(asked), asked.shared)
    registry = load(run.options.blocked_plugins)
    with Store.open(store) as opened:
        bench = confirming.Bench(registry, opened, Silent())
        confirmed = confirming.confirm(run, gate, asked.confirm, bench)
    refuse_failures(confirmed.failures)
    return confirmed.report


def _held_against(asked: Asked) -> Baseline | None:
    return read_baseline(asked.baseline) if asked.baseline else None


def refuse_failures(failures: Sequence[Failure]) -> None:
    """:raises JobFailed: what failed was to be measured, and nothing is known of it."""
    if failures:
        told = "; ".join(f"{each.backend}:{each.model} failed: {each.reason}" for each in failures)
        raise JobFailed(told)
