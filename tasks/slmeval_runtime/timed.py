"""Workloads, each run until it is warm and then until its median is known: what was measured, as series.

For each there are two series, in seconds and in order: of the runs that count, and of those that warmed up.
Where one cannot be run, or its engine does not show what is asked, it has no values and says why; the others
are measured all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from slmeval.api import Option, Session
from slmeval.errors import JobFailed, SlmevalError
from slmeval.medians import joined
from slmeval.option_kinds import seconds
from slmeval.repeating import Rules, repeat, warm_up
from slmeval.types import Measurement, Series, Timing
from slmeval_runtime.axes import Point, Settings

#: tokens of a run that is streamed: two engines take turns every few milliseconds
BRIEF = 16

#: a name, and what measures series, the first of that name
Part = tuple[str, Callable[[], Sequence[Series]]]


class Unseen(Exception):
    """What is asked does not show in a timing, and why."""


@dataclass(frozen=True)
class Work:
    """What is run at ``point``, and its series ``name``.

    ``value`` is what a run cost, in seconds; ``keep`` what the series holds of it: the same, if left out.
    With a ``lack`` it is not run, and that is why.
    """

    name: str
    point: Point
    value: Callable[[Timing], float]
    keep: Callable[[Timing], Sequence[float]] | None = None
    forced: bool = False
    lack: str | None = None

    def kept(self, timings: Sequence[Timing]) -> tuple[float, ...]:
        """The series' values: of each run in turn."""
        keep = self.keep or (lambda timing: (self.value(timing),))
        return tuple(value for timing in timings for value in keep(timing))


def budget(default: float) -> Option:
    """The option for how long each figure at each point may take."""
    return Option(
        "budget", seconds, default, "seconds for each figure at each point; six runs it has at least"
    )


def measured(session: Session, works: Sequence[Work]) -> Measurement:
    """All ``works``, one after the other; errors as in :func:`gathered`."""
    return gathered(parts(session, works))


def parts(session: Session, works: Sequence[Work]) -> list[Part]:
    """What measures each of ``works``, for :func:`gathered`."""
    return [(work.name, partial(_series, session, work)) for work in works]


def gathered(many: Sequence[Part]) -> Measurement:
    """The series of ``many`` parts; of one that cannot be measured, a series of its name that says why.

    :raises slmeval.errors.JobFailed: none could be measured, and not only because it does not show.
    """
    series: list[Series] = []
    # the sentences alone: an error would hold all that its point held while the others are measured
    failures: list[str] = []
    for name, measure in many:
        try:
            series += measure()
        except Unseen as reason:
            series.append(missing(name, str(reason)))
        except SlmevalError as error:
            failures.append(str(error))
            series.append(missing(name, str(error)))
    if failures and not any(each.values for each in series):
        raise JobFailed(failures[0])
    return Measurement(tuple(series))


def missing(name: str, reason: str) -> Series:
    """A series that cannot be had, and why."""
    return Series(name, "s", (), "unavailable", reason)


def step(timing: Timing) -> float:
    """Seconds from one token to the next: (last - first)/(n - 1), for n tokens have n - 1 steps between them.

    :raises Unseen: there are fewer than two.
    """
    if len(timing.tokens) < 2:
        raise Unseen("fewer than two tokens have no time between them")
    return (timing.tokens[-1] - timing.tokens[0]) / (len(timing.tokens) - 1)


def _series(session: Session, work: Work) -> Sequence[Series]:
    if work.lack:
        return [missing(work.name, work.lack)]
    point = work.point
    workload = session.workload(
        point.prompt, point.new_tokens, depth=point.depth, batch=point.batch, forced=work.forced
    )
    with session.timed(workload) as run:
        done = repeat(run, work.value, _rules(session.settings))
    return [
        Series(work.name, "s", work.kept(done.kept), note=joined(*done.notes)),
        Series(f"warm-up of {work.name}", "s", work.kept(done.warmups)),
    ]


def _rules(settings: Settings) -> Rules:
    """A third of the budget may go to the warm-up."""
    whole = float(str(settings["budget"]))
    return Rules(budget=whole * 2 / 3, warm_budget=whole / 3)


# ---- run after run -------------------------------------------------------------------------------------


def streamed(
    session: Session, point: Point, costs: Callable[[Timing], Sequence[float]], *, forced: bool = False
) -> Generator[Sequence[float], None, None]:
    """Of one run after another, once it is warm, what ``costs`` are in it, in seconds.

    A run decodes no more than :data:`BRIEF` tokens.
    """
    workload = session.workload(
        point.prompt, min(point.new_tokens, BRIEF), depth=point.depth, batch=point.batch, forced=forced
    )
    with session.timed(workload) as run:
        warm_up(run, lambda timing: sum(costs(timing)), _rules(session.settings))
        while True:
            yield costs(run())


def gaps(timing: Timing) -> Sequence[float]:
    """Seconds from each token to the next.

    :raises JobFailed: there are fewer than two.
    """
    if len(timing.tokens) < 2:
        raise JobFailed("fewer than two tokens have no time between them")
    return [after - before for before, after in pairwise(timing.tokens)]
