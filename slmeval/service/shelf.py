"""What pages look at again and again, kept at hand: runs, and the rows that questions are made of."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from starlette.requests import HTTPConnection

from slmeval.api import Task
from slmeval.errors import DataError, SlmevalError, UnknownName
from slmeval.plan import Scorer
from slmeval.questions import drawn_rows, open_source, scorer_of
from slmeval.registry import Registry
from slmeval.selection import Wish, select
from slmeval.service.problems import Refused
from slmeval.service.service import service_of
from slmeval.store import Store
from slmeval.types import CellResult, Row, RunResult, Sample

#: runs, and tasks' questions, that are kept at the most; and questions of them all together
_RUNS, _TASKS, _QUESTIONS = 16, 16, 40_000
#: seconds for which rows that could not be had are not looked for again
_PATIENCE = 60.0

_NO_SCORER = Scorer((), ())

T = TypeVar("T")


@dataclass(frozen=True)
class Drafted:
    """The rows of a cell with the examples before each, read anew in so many ``seconds``.

    Where they cannot be had there are none, and ``reason`` says why.
    """

    task: Task | None = None
    rows: Sequence[Row] = ()
    shots: Sequence[tuple[Row, ...]] = ()
    scorer: Scorer = _NO_SCORER
    seconds: float = 0.0
    reason: str = ""

    def question(self, row: int | None) -> Sample | None:
        """That of a row by its place; ``None`` where it cannot be had.

        Each is made when it is asked for: a page shows some fifty of perhaps ten thousand.
        """
        if self.task is None or row is None or not 0 <= row < len(self.rows):
            return None
        return self.task.sample(self.rows[row], self.shots[row])


class Shelf:
    """Keeps what was used last. Any thread may ask; what is slow to make is made by one at a time."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._runs: _Recent[RunResult] = _Recent(_RUNS)
        self._drafts: _Recent[tuple[float, Drafted]] = _Recent(_TASKS, _QUESTIONS, _size)
        self._drafting = threading.Lock()

    def run(self, store: Store, reference: str) -> RunResult:
        """The results of a run; ``reference`` as :meth:`slmeval.store.Store.run` takes it.

        :raises Refused: there is no such run, or it has no results yet.
        :raises slmeval.errors.SlmevalError: they cannot be read.
        """
        try:
            run_id = store.full_id(reference)
        except UnknownName as error:
            raise Refused(404, str(error)) from None
        ((status, finished, has),) = store.select(
            "SELECT status, finished, document IS NOT NULL FROM runs WHERE id = ?", run_id
        )
        if not has:
            raise Refused(404, f"run {run_id} has no results yet")
        # a run that goes on keeps the document it had until it ends anew
        key = (str(store.path), run_id, status, finished)
        found = self._runs.get(key)
        return found or self._runs.put(key, store.run(run_id))

    def draft(self, run: RunResult, cell: CellResult) -> Drafted:
        """What a task's cell asked, shots and all, if its rows are still those that were asked."""
        key = (run.id, run.finished, cell.name, cell.shots)
        with self._drafting:
            known = self._drafts.get(key)
            if known is not None and (not known[1].reason or time.monotonic() < known[0]):
                return known[1]
            made = _draft(self._registry, run, cell)
            self._drafts.put(key, (time.monotonic() + _PATIENCE, made))
            return made


def shelf_of(connection: HTTPConnection) -> Shelf:
    """That of the server that a request reached."""
    state = connection.app.state
    if not hasattr(state, "shelf"):
        state.shelf = Shelf(service_of(connection).registry)
    shelf: Shelf = state.shelf
    return shelf


def _size(entry: tuple[float, Drafted]) -> int:
    return len(entry[1].rows)


class _Recent(Generic[T]):
    """What was used last: at most so many entries, which together weigh at most so much."""

    def __init__(self, entries: int, most: int = 0, weight: Callable[[T], int] = lambda _: 0) -> None:
        self._entries, self._most, self._weight = entries, most, weight
        self._held: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Hashable, value: T) -> T:
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            # the newest stays, however heavy it is
            while len(self._held) > 1 and self._is_full():
                self._held.popitem(last=False)
        return value

    def _is_full(self) -> bool:
        return len(self._held) > self._entries or sum(map(self._weight, self._held.values())) > self._most


def _draft(registry: Registry, run: RunResult, cell: CellResult) -> Drafted:
    begun = time.perf_counter()
    try:
        made = _made(registry, run, cell)
        # a first one shows whether there are any
        made.question(0)
    except SlmevalError as error:
        return Drafted(reason=str(error))
    except Exception as error:  # noqa: BLE001  a stranger's task, over rows that were right when they were asked
        return Drafted(reason=f"task {cell.name!r} failed: {type(error).__name__}: {error}")
    return replace(made, seconds=time.perf_counter() - begun)


def _made(registry: Registry, run: RunResult, cell: CellResult) -> Drafted:
    """
    :raises SlmevalError: the task is no longer there, its rows are not, or they are others now.
    """
    options, tasks = run.options, {wish.task.name: wish.task for wish in _wishes(registry, run)}
    if cell.name not in tasks:
        raise UnknownName("task", cell.name, tasks)
    task, source = tasks[cell.name], open_source(options, run.demo)
    rows, asked, pool, drawn = drawn_rows(options, task, cell.shots, source)
    # of a cell that ended early there are more questions than were asked
    then = (cell.data.sha256, cell.stop.planned if cell.stop else cell.n, cell.data.shots_sha256)
    if (rows.sha256, len(asked), pool.sha256 if pool else "") != then:
        raise DataError("the rows that are there now are not those that were asked")
    if task.version != cell.version:
        raise DataError(f"the task has version {task.version} now, and had {cell.version} then")
    return Drafted(task, asked, list(drawn), scorer_of(task, registry.parts))


def _wishes(registry: Registry, run: RunResult) -> Sequence[Wish]:
    return select(run.options, registry.parts).wishes
