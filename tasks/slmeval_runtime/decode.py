"""How fast tokens come after one another, with the choice of each and, where the engine can, without it.

Of one run with n = ``new_tokens`` after ``depth`` tokens in the cache and one more, the i-th at tᵢ::

    latency      = 1000 (tₙ - t₁) / (n - 1)     ms for one token of each sequence
    tokens_per_s = batch (n - 1) / (tₙ - t₁)

Between n tokens lie n - 1 decoding passes: to divide by n would make short runs look fast. ``..._forced`` is
the same of tokens that are given, without sampling. ``between_tokens`` is the gap between two tokens, the
median over runs of each run's median, and has the percentiles of all gaps of all runs: where the 99th is
far from the median, the model stutters.

Series: ``sampled`` and ``forced``, of one run after another all ``new_tokens`` times since its clock started,
in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from slmeval.api import Demand, Probe, Session, Stream
from slmeval.errors import JobFailed
from slmeval.medians import percentiles
from slmeval.types import Figure, Measurement, Series, Timing
from slmeval_runtime.axes import BATCH, DEPTH, NEW_TOKENS, Point, Settings, demand, points
from slmeval_runtime.costs import Costs, latencies, latency, of, rate, rates
from slmeval_runtime.timed import Work, budget, gaps, measured, step, streamed

#: the series, and what the names of its figures end with
SERIES = {"sampled": "", "forced": "_forced"}


class Decode(Probe):
    """Milliseconds a token, tokens a second, and how even they come."""

    version = "1.0"

    def __init__(self, name: str = "decode", new_tokens: str = "128", depth: str = "0") -> None:
        self.name = name
        self.options = (
            DEPTH.option(depth),
            NEW_TOKENS.option(new_tokens),
            BATCH.option("1"),
            budget(6.0),
        )

    def demand(self, settings: Settings) -> Demand:
        """The deepest place that is decoded at."""
        return demand(_points(settings))

    def measure(self, session: Session) -> Measurement:
        """Each point, with sampling and without."""
        lack = session.lacks("force")
        works = [
            Work(point.named(name), point, step, _times, forced, lack if forced else None)
            for point in _points(session.settings)
            for name, forced in (("sampled", False), ("forced", True))
        ]
        return measured(session, works)

    def stream(self, session: Session, figure: str) -> Stream | None:
        """The gaps between tokens, each for itself, at every point."""
        for point in _points(session.settings):
            for ending in SERIES.values():
                if figure == point.named(f"tokens_per_s{ending}"):
                    return rates(_gaps(session, point, forced=bool(ending)), point.batch)
                if figure == point.named(f"latency{ending}"):
                    return latencies(_gaps(session, point, forced=bool(ending)), "ms/token")
            if figure == point.named("between_tokens"):
                return latencies(_gaps(session, point))
        return None

    def figures(self, settings: Settings, series: Mapping[str, Series]) -> Sequence[Figure]:
        """For each point two figures with sampling and two without, and the gaps."""
        return [figure for point in _points(settings) for figure in _figures(point, series)]


def _times(timing: Timing) -> Sequence[float]:
    return timing.tokens


def _gaps(session: Session, point: Point, *, forced: bool = False) -> Costs:
    if forced and (lack := session.lacks("force")) is not None:
        raise JobFailed(lack)
    return streamed(session, point, gaps, forced=forced)


def _points(settings: Settings) -> tuple[Point, ...]:
    return points(settings, (DEPTH, NEW_TOKENS, BATCH))


def _figures(point: Point, series: Mapping[str, Series]) -> list[Figure]:
    found: list[Figure] = []
    for name, ending in SERIES.items():
        one = of(series, point.named(name))
        steps = [step(Timing(None, run)) for run in _runs(point, one)]
        found += [
            rate(point.named(f"tokens_per_s{ending}"), one, steps, point.batch),
            latency(point.named(f"latency{ending}"), one, steps, "ms/token"),
        ]
    return [*found, _between(point, of(series, point.named("sampled")))]


def _runs(point: Point, series: Series) -> list[tuple[float, ...]]:
    values, size = series.values, point.new_tokens
    return [values[start : start + size] for start in range(0, len(values) - size + 1, size)]


def _between(point: Point, series: Series) -> Figure:
    gaps = [[after - before for before, after in pairwise(run)] for run in _runs(point, series)]
    figure = latency(point.named("between_tokens"), series, [median(each) for each in gaps])
    if figure.value is None:
        return figure
    return replace(figure, percentiles=percentiles([1000 * gap for each in gaps for gap in each]))
