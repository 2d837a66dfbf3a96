"""Runs that begin at a fixed interval, and how the machine was after each of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slmeval.api import Session
from slmeval.medians import LEAST
from slmeval.types import Conditions, Series, Timing

#: what is noted of the machine after each run, with its unit
MACHINE = {"clock": "MHz", "load": "processes", "busy": "share", "temperature": "°C"}
#: the worker shows that it lives at least so often while it waits (seconds)
NAP = 1.0


@dataclass(frozen=True)
class Run:
    """One run: when it began, its times, and how the machine was after it."""

    begun: float
    timing: Timing
    machine: Conditions


@dataclass(frozen=True)
class Pace:
    """So many ``runs``, one ``every`` so many seconds, until they have taken ``budget`` seconds."""

    every: float
    runs: float
    budget: float

    def is_over(self, done: Sequence[Run]) -> bool:
        """Whether that is all."""
        if len(done) < LEAST:
            return False
        return len(done) >= self.runs or math.fsum(each.timing.tokens[-1] for each in done) >= self.budget

    def notes(self, done: Sequence[Run]) -> tuple[str, ...]:
        """What a report must say of it."""
        late = sum(each.begun > (turn + 0.5) * self.every for turn, each in enumerate(done))
        told = []
        if len(done) < self.runs:
            told.append(f"{len(done)} runs of {self.runs:g} took the {self.budget:g} s that they may")
        if self.every and late:
            told.append(
                f"runs take longer than {self.every:g} s: {late} of {len(done)} began late, without a pause"
            )
        return tuple(told)


def in_step(session: Session, run: Callable[[], Timing], pace: Pace) -> list[Run]:
    """The runs; one begins late where the one before is not done."""
    began = time.perf_counter()
    done: list[Run] = []
    while not pace.is_over(done):
        _wait(session, began + len(done) * pace.every)
        begun = time.perf_counter() - began
        timing = run()
        # the clock and the heat are still those of the work
        done.append(Run(begun, timing, session.note_conditions()))
    return done


def _wait(session: Session, until: float) -> None:
    while (left := until - time.perf_counter()) > 0:
        session.show_life()
        time.sleep(min(left, NAP))


def series_of(done: Sequence[Run]) -> tuple[Series, ...]:
    """The runs' tokens, when each run began, and the machine after each."""
    begun = tuple(each.begun for each in done)
    machine = (_machine(name, unit, done) for name, unit in MACHINE.items())
    return (tokens_of("tokens", [each.timing for each in done]), Series("begun", "s", begun), *machine)


def tokens_of(name: str, timings: Sequence[Timing]) -> Series:
    """The times of all tokens, run after run, in seconds."""
    return Series(name, "s", tuple(at for timing in timings for at in timing.tokens))


def _machine(name: str, unit: str, done: Sequence[Run]) -> Series:
    values = [getattr(each.machine, name) for each in done]
    if None in values:
        return Series(name, unit, (), "unavailable", "the machine does not tell it after each run")
    return Series(name, unit, tuple(values))
