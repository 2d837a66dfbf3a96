"""How long one waits for the first token: from when a prompt is submitted until the token is chosen, at t₁.

::

    ttft_warm = 1000 t₁ ms     of a model that has just answered others, the median over the runs
    ttft_cold = 1000 t₁ ms     of the first request to a model that was opened for it, opened anew each time

Cold is what an engine puts off until a model is first asked, in a process that has answered the warm ones
before: what it keeps for the process (kernels, threads) is warm. Opening the model and reading its file, and
the first token of a fresh process, are measured by ``load``. An interval needs six such requests: where
opening the model and asking it so often takes longer than ``cold_budget`` seconds, there is no cold figure.
Nor is there one of a server, which keeps its model open.

Series: ``ttft_warm`` and ``ttft_cold``, one value for each request, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from slmeval.api import Demand, Option, Probe, Session, Stream
from slmeval.medians import LEAST
from slmeval.option_kinds import seconds
from slmeval.types import Figure, Measurement, Series, Timing
from slmeval_runtime.axes import BATCH, PROMPT, Point, Settings, demand, points
from slmeval_runtime.costs import latencies, latency, of
from slmeval_runtime.served import is_served
from slmeval_runtime.timed import Unseen, Work, budget, gathered, parts, streamed

SERVED = "a server keeps its model open: no client sees its first request"


class TimeToFirstToken(Probe):
    """Milliseconds until the first token, warm and cold."""

    version = "1.0"

    def __init__(self, name: str = "ttft", prompt: str = "512") -> None:
        self.name = name
        cold = Option("cold_budget", seconds, 60.0, f"seconds that {LEAST} openings and requests may take")
        self.options = (PROMPT.option(prompt), BATCH.option("1"), budget(6.0), cold)

    def demand(self, settings: Settings) -> Demand:
        """The longest prompt."""
        return demand(_points(settings))

    def measure(self, session: Session) -> Measurement:
        """Each prompt, warm and cold."""
        many = _points(session.settings)
        warm = parts(session, [Work(point.named("ttft_warm"), point, first) for point in many])
        cold = [(point.named("ttft_cold"), partial(_cold, session, point)) for point in many]
        return gathered([*warm, *cold])

    def stream(self, session: Session, figure: str) -> Stream | None:
        """The warm ones: a cold one takes a model of its own."""
        for point in _points(session.settings):
            if figure == point.named("ttft_warm"):
                return latencies(streamed(session, point, lambda timing: [first(timing)]))
        return None

    def figures(self, settings: Settings, series: Mapping[str, Series]) -> Sequence[Figure]:
        """Two figures for each prompt."""
        return [
            _figure(point.named(name), series)
            for point in _points(settings)
            for name in ("ttft_warm", "ttft_cold")
        ]


def first(timing: Timing) -> float:
    """When the first token was there.

    :raises Unseen: there was none.
    """
    if not timing.tokens:
        raise Unseen("no token came")
    return timing.tokens[0]


def _points(settings: Settings) -> tuple[Point, ...]:
    return points(settings, (PROMPT, BATCH), new_tokens=1)


def _figure(name: str, series: Mapping[str, Series]) -> Figure:
    one = of(series, name)
    return latency(name, one, one.values)


def _cold(session: Session, point: Point) -> Sequence[Series]:
    if is_served(session.model):
        raise Unseen(SERVED)
    allowed = float(str(session.settings["cold_budget"]))
    workload = session.workload(point.prompt, point.new_tokens, batch=point.batch)
    values: list[float] = []
    spent = 0.0
    while len(values) < LEAST:
        if spent > allowed:
            raise Unseen(_too_long(len(values), spent, allowed))
        spent += session.open()
        with session.timed(workload) as run:
            values.append(first(run()))
        spent += values[-1]
    return [Series(point.named("ttft_cold"), "s", tuple(values))]


def _too_long(done: int, spent: float, allowed: float) -> str:
    return (
        f"opening the model and asking it {done} times took {spent:.0f} s, and the {LEAST} that are needed "
        f"take about {spent / done * LEAST:.0f} s: give more than cold_budget={allowed:g}"
    )
