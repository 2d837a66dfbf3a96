"""Running something until it is warm, and then until its median is known well enough. Knows no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from slmeval.medians import LEAST, half_width

T = TypeVar("T")

Ended = Literal["narrow", "most", "budget"]


@dataclass(frozen=True)
class Rules:
    """When it is warm, and how often it is run then.

    At least ``least`` repeats are kept (never fewer than six: an interval needs them), and more until half
    the median's 95% interval is at most ``narrow`` of the median twice in a row, there are ``most``, or
    ``budget`` seconds are over. Who stops at the first narrow interval picks those that are so by chance: of
    normal noise they hold the median in 92% of cases, and of two in a row in 95%.

    Before that it is run ``warm_least`` times or more, until ``warm_window`` runs one after the other were
    not faster than the best before them by more than ``settled``, at most ``warm_most`` times and for
    ``warm_budget`` seconds; where these end it, its last run says whether it was still getting faster.
    """

    least: int = LEAST
    most: int = 30
    budget: float = 8.0
    narrow: float = 0.02
    warm_least: int = 2
    warm_most: int = 10
    warm_budget: float = 4.0
    warm_window: int = 2
    settled: float = 0.02

    def __post_init__(self) -> None:
        if self.least < LEAST:
            raise ValueError(f"{self.least} repeats are too few for an interval: {LEAST} or more")
        if self.most < self.least or self.warm_most < self.warm_least:
            raise ValueError("there cannot be fewer repeats at the most than at the least")
        if self.warm_least < 1 or self.warm_window < 1:
            raise ValueError("it is warmed up with one run at the least")


@dataclass(frozen=True)
class Repeats(Generic[T]):
    """What came of it: the runs in order, those that warmed up apart, and why there were no more.

    ``settled`` is false where it was still getting faster when the warm-up had to end.
    """

    warmups: tuple[T, ...]
    kept: tuple[T, ...]
    settled: bool
    ended: Ended

    @property
    def narrow(self) -> bool:
        """Whether the interval got as narrow as the rules want it."""
        return self.ended == "narrow"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say of how it was repeated, if anything."""
        return (
            () if self.settled else (f"it was still getting faster after {len(self.warmups)} warm-up runs",)
        )


def repeat(
    run: Callable[[], T],
    value: Callable[[T], float],
    rules: Rules = Rules(),
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Repeats[T]:
    """Warm up, then ``run`` as often as ``rules`` say.

    ``value`` is what a run cost, in any unit, less being better. Seconds are those of ``clock``.
    """
    warmups, settled = warm_up(run, value, rules, clock=clock)
    kept: list[T] = []
    until = clock() + rules.budget
    ended: Ended | None = None
    while ended is None:
        kept.append(run())
        ended = _ended([value(each) for each in kept], over=clock() >= until, rules=rules)
    return Repeats(warmups, tuple(kept), settled, ended)


def warm_up(
    run: Callable[[], T],
    value: Callable[[T], float],
    rules: Rules = Rules(),
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[tuple[T, ...], bool]:
    """The runs it took until no run was faster than those before, or until it had to end.

    False beside them: it had to end, and the last run was still faster.
    """
    done: list[T] = []
    until = clock() + rules.warm_budget
    while True:
        done.append(run())
        values = [value(each) for each in done]
        settled = _settled(values, rules)
        enough = settled or len(done) >= rules.warm_most or clock() >= until
        if enough and len(done) >= rules.warm_least:
            return tuple(done), settled or not _gained(values, rules)


def _settled(values: Sequence[float], rules: Rules) -> bool:
    before, last = values[: -rules.warm_window], values[-rules.warm_window :]
    return bool(before) and min(last) >= (1 - rules.settled) * min(before)


def _gained(values: Sequence[float], rules: Rules) -> bool:
    """Whether the last run was faster than the best before it; of a single one that does not show."""
    return len(values) > 1 and values[-1] < (1 - rules.settled) * min(values[:-1])


def _ended(values: Sequence[float], *, over: bool, rules: Rules) -> Ended | None:
    if len(values) < rules.least:
        return None
    enough = (values, values[:-1])
    if all(len(each) >= rules.least and half_width(each) <= rules.narrow for each in enough):
        return "narrow"
    if len(values) >= rules.most:
        return "most"
    return "budget" if over else None
