"""What it gains to decode several sequences at once: tokens a second against the size of the batch.

Of one run with n = ``new_tokens``, all sequences in step, the i-th token of all of them at tᵢ::

    step_latency      = 1000 (tₙ - t₁) / (n - 1)        ms for one step of all sequences
    tokens_per_s = batch (n - 1) / (tₙ - t₁)

``saturating_batch`` is where that stops growing: the smallest size whose throughput is at least 95% of the
largest one measured. Its interval is from the smallest size that may have as much, by the intervals of the
medians, to the smallest that must. Where that is the largest size, throughput may grow beyond it, and the
note says so.

Series: ``step``, one value for each run, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slmeval.api import Demand, Probe, Session, Stream
from slmeval.medians import unavailable
from slmeval.types import Figure, Measurement, Series
from slmeval_runtime.axes import BATCH, DEPTH, NEW_TOKENS, Point, Settings, demand, points
from slmeval_runtime.costs import latencies, latency, of, rate, rates
from slmeval_runtime.timed import Work, budget, gaps, measured, step, streamed

#: of the largest throughput, what is as good
SHARE = 0.95


class Batch(Probe):
    """Throughput by the size of the batch, and the size from which it no longer grows."""

    name = "batch"
    version = "1.0"
    options = (BATCH.option("1,2,4,8"), NEW_TOKENS.single("32"), DEPTH.single("0"), budget(3.0))

    def demand(self, settings: Settings) -> Demand:
        """The largest batch."""
        return demand(_points(settings))

    def measure(self, session: Session) -> Measurement:
        """Each size, as they were given."""
        found = _points(session.settings)
        return measured(session, [Work(point.named("step"), point, step) for point in found])

    def stream(self, session: Session, figure: str) -> Stream | None:
        """The steps of one size."""
        for point in _points(session.settings):
            if figure == point.named("tokens_per_s"):
                return rates(streamed(session, point, gaps), point.batch)
            if figure == point.named("step_latency"):
                return latencies(streamed(session, point, gaps))
        return None

    def figures(self, settings: Settings, series: Mapping[str, Series]) -> Sequence[Figure]:
        """Two figures for each size, and the size from which it no longer grows."""
        by_size: dict[int, Figure] = {}
        steps: list[Figure] = []
        for point in _points(settings):
            one = of(series, point.named("step"))
            by_size[point.batch] = rate(point.named("tokens_per_s"), one, one.values, point.batch)
            steps.append(latency(point.named("step_latency"), one, one.values))
        return [*by_size.values(), *steps, _saturating(by_size)]


def _points(settings: Settings) -> tuple[Point, ...]:
    return points(settings, (BATCH, NEW_TOKENS, DEPTH), shown=(BATCH,))


def _saturating(rates: Mapping[int, Figure]) -> Figure:
    """From the figures of all sizes; those that could not be measured are left out."""
    known = {size: each for size, each in sorted(rates.items()) if each.value is not None}
    name, unit = "saturating_batch", "sequences"
    if len(known) < 2:
        return unavailable(name, unit, "whether throughput grows shows at two sizes or more")
    lows, values, highs = (
        {size: pick(each) for size, each in known.items()} for pick in (_low, _value, _high)
    )
    found = _first(values, SHARE * max(values.values()))
    interval = _first(highs, SHARE * max(lows.values())), _first(lows, SHARE * max(highs.values()))
    note = "it may still grow beyond the sizes that were measured" if interval[1] == max(known) else ""
    return Figure(name, found, None, interval, sum(each.n for each in known.values()), unit, note=note)


def _first(rates: Mapping[int, float], wanted: float) -> float:
    """The smallest size with the rate ``wanted``; where none has it, the largest."""
    return float(next((size for size, rate in rates.items() if rate >= wanted), max(rates)))


def _value(figure: Figure) -> float:
    return 0.0 if figure.value is None else figure.value


def _low(figure: Figure) -> float:
    return _value(figure) if figure.ci95 is None else figure.ci95[0]


def _high(figure: Figure) -> float:
    return _value(figure) if figure.ci95 is None else figure.ci95[1]
