"""Carries out one run on one device, in a process of its own: plans it, and drives the device's workers.

What goes wrong here, and what it costs, is this process's: the server goes on, and answers as quickly.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pluggy

from slmeval import hookspecs
from slmeval.document import cell_document, from_plain
from slmeval.errors import JobFailed, SlmevalError, StoreError, UsageError
from slmeval.head_start import HeadStart
from slmeval.hookspecs import hookimpl
from slmeval.places import Elsewhere
from slmeval.plan import Plan
from slmeval.planner import plan
from slmeval.registry import Registry, Seat, load
from slmeval.run import execute
from slmeval.service.line import DeviceLost, Line
from slmeval.service.remote import DeviceExecutor
from slmeval.service.wire import Message
from slmeval.sights import Sight
from slmeval.store import Store
from slmeval.types import CellResult, Machine, RunOptions, RunResult

#: seconds between two messages of how far a run is
_PULSE = 0.25


@dataclass(frozen=True)
class _Ending:
    """How it ended: done, failed, refused (it could not begin), died (an engine did, or what cannot be came
    of it: it may be tried again), interrupted, or busy (another process carries it out).
    """

    status: str
    reason: str = ""


class _Told:
    """Progress, told to the server: not more often than a person can see."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._label, self._unit = "", "req"
        self._done = self._total = 0
        self._last = 0.0

    def begin(self, label: str, total: int, unit: str = "req") -> None:
        self._label, self._total, self._unit, self._done = label, total, unit, 0
        self._say()

    def advance(self, done: int) -> None:
        self._done += done
        if self._done >= self._total or time.monotonic() - self._last > _PULSE:
            self._say()

    def end(self) -> None:
        """The last that was told stands."""

    def see(self, sights: Sequence[Sight]) -> None:
        """What is known of a cell before its end is not told."""

    def leave_out(self, requests: int) -> None:
        self._total -= requests

    def _say(self) -> None:
        self._last = time.monotonic()
        self._line.say("progress", label=self._label, done=self._done, total=self._total, unit=self._unit)


class _CellTeller:
    """Watches a run as a plugin does, and tells the server of each cell."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @hookimpl
    def slmeval_cell_finished(self, cell: CellResult) -> None:
        """Its figures; what they were made of is in the run's document."""
        self._line.say("cell", cell=cell_document(replace(cell, series=(), conditions=(), outcomes=None)))


def _watched(registry: Registry, line: Line) -> Registry:
    manager = pluggy.PluginManager("slmeval")
    manager.add_hookspecs(hookspecs)
    manager.register(_CellTeller(line), "service")
    return replace(registry, seats=(*registry.seats, Seat("service", manager.hook, {})))


def conduct(line: Line, task: Message) -> _Ending:
    """Carry out what the server asks for."""
    try:
        with Store.open(Path(task["store"]), wait=60.0) as store:
            executor = DeviceExecutor(line, store.file_hash)
            return _ending_of(_run(line, task, store, executor), executor)
    except DeviceLost as lost:
        return _Ending("interrupted", str(lost))
    except KeyboardInterrupt:
        return _Ending("interrupted", line.lost or "")
    except SlmevalError as error:
        return _trouble(error)
    except Exception as error:  # noqa: BLE001  a device that lies, say: to be tried again, but not for ever
        return _Ending("died", f"it could not be carried out: {type(error).__name__}: {error}")


def _trouble(error: SlmevalError) -> _Ending:
    """How a run ends by it; what is wrong with the store (it is full, or held) is not the run's fault."""
    cause = error if isinstance(error, StoreError) else error.__context__
    if isinstance(cause, StoreError):
        return _Ending("interrupted", str(cause))
    return _Ending("failed" if isinstance(error, JobFailed) else "refused", str(error))


def _run(line: Line, task: Message, store: Store, executor: DeviceExecutor) -> RunResult | None:
    """The run, or ``None`` where another process still carries it out."""
    options = from_plain(RunOptions, task["options"], "options")
    registry = _watched(load(options.blocked_plugins), line)
    place = _place(task["device"])
    with HeadStart(executor) as head_start:
        planned = plan(options, registry.parts, store.file_hash, head_start, place)
        _check_size(planned, task["limits"]["items"])
        executor.know(job.model for job in planned.jobs)
        _tell_plan(line, planned)
        if store.begun(task["run"]) and store.is_alive(task["run"]):
            return None
        return execute(planned, registry, store, _Told(line), task["run"], head_start, executor)


def _place(device: dict[str, Any]) -> Elsewhere:
    machine = from_plain(Machine, device["machine"], "machine")
    return Elsewhere(device["name"], tuple(device["engines"]), device["memory"], machine)


def _check_size(planned: Plan, most: int | None) -> None:
    """:raises UsageError: a task has more rows than this server lets one ask."""
    for job in planned.jobs:
        for cell in job.cells:
            if most is not None and len(cell.items) > most:
                raise UsageError(
                    f"{cell.label} has {len(cell.items):,} rows, and this server lets {most:,} be asked: "
                    f"limit={most} asks the first of them"
                )


def _tell_plan(line: Line, planned: Plan) -> None:
    requests = sum(len(item.asks) for job in planned.jobs for cell in job.cells for item in cell.items)
    timed = any(job.probes for job in planned.jobs)
    line.say("began", cells=list(planned.cells), requests=requests, timed=timed)


def _ending_of(result: RunResult | None, executor: DeviceExecutor) -> _Ending:
    if result is None:
        return _Ending("busy", "another process still carries it out")
    reasons = (f"{each.backend}:{each.model}: {each.reason}" for each in result.failures)
    status = "died" if result.status == "failed" and executor.died else result.status
    return _Ending(status, "; ".join(reasons))


def main() -> None:
    """Serve the server on this process's stdin and stdout, which nothing else gets to see."""
    # whoever started the server may have had it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    line = Line(reader, writer)
    ending = conduct(line, line.task())
    line.closing = True
    line.say("ended", status=ending.status, reason=ending.reason)
    sys.stderr.flush()
    # the thread that reads waits for a pipe that stays open
    os._exit(0)
