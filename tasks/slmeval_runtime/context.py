"""How much slower decoding gets with what is in the cache: milliseconds a token against depth.

Of one run with n = ``new_tokens`` after ``depth`` tokens and one more, the i-th at tᵢ::

    latency       = 1000 (tₙ - t₁) / (n - 1)     ms for one token
    latency_slope = what latency rises by with 1,000 tokens of depth, by the line through all runs

The line is that of Theil and Sen (:mod:`slmeval_runtime.lines`). It says what attention to the cache costs;
what is left at a depth of 0 is the rest of the model. With a sliding window latency rises up to the window
only, and the slope depends on which depths are measured.

Where no depths are given, those of 0, 512, 1024 and 2048 are measured that fit the model's context; what is
given and does not fit is refused.

Series: ``step``, one value for each run, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from slmeval.api import Demand, Probe, Session, Stream
from slmeval.medians import unavailable
from slmeval.statistics import Z95
from slmeval.types import Figure, Measurement, Series
from slmeval_runtime.axes import BATCH, DEPTH, NEW_TOKENS, Point, Settings, demand, points
from slmeval_runtime.costs import latencies, latency, of
from slmeval_runtime.lines import slope
from slmeval_runtime.timed import Work, budget, gaps, measured, step, streamed

#: where none are given
DEPTHS = "0,512,1024,2048"
SLOPE, UNIT = "latency_slope", "ms/token per 1,000 tokens"


class Context(Probe):
    """Latency by depth, and its slope."""

    name = "context"
    version = "1.0"
    options = (DEPTH.option(""), NEW_TOKENS.single("32"), BATCH.single("1"), budget(3.0))

    def demand(self, settings: Settings) -> Demand | None:
        """The greatest depth that was given; nothing where the model's context decides."""
        return demand(_points(settings)) if settings[DEPTH.name] else None

    def measure(self, session: Session) -> Measurement:
        """Each depth that was given, or that fits."""
        wanted = _points(session.settings)
        adapts = not session.settings[DEPTH.name]
        fit = [point for point in wanted if not adapts or point.tokens <= session.context]
        done = measured(session, [Work(point.named("step"), point, step) for point in fit])
        return replace(done, notes=_left_out([each for each in wanted if each not in fit], session.context))

    def stream(self, session: Session, figure: str) -> Stream | None:
        """The gaps between tokens at one depth."""
        for point in _points(session.settings):
            if figure == point.named("latency"):
                return latencies(streamed(session, point, gaps), "ms/token")
        return None

    def figures(self, settings: Settings, series: Mapping[str, Series]) -> Sequence[Figure]:
        """One for each depth, and the slope."""
        adapts = not settings[DEPTH.name]
        fit = [point for point in _points(settings) if not adapts or point.named("step") in series]
        runs = {point: of(series, point.named("step")) for point in fit}
        figures = [
            latency(point.named("latency"), one, one.values, "ms/token") for point, one in runs.items()
        ]
        return [*figures, _slope({point.depth: one.values for point, one in runs.items()})]


def _points(settings: Settings) -> tuple[Point, ...]:
    depths = settings[DEPTH.name] or DEPTHS
    return points({**settings, DEPTH.name: depths}, (DEPTH, NEW_TOKENS, BATCH), shown=(DEPTH,))


def _left_out(many: Sequence[Point], context: int) -> tuple[str, ...]:
    depths = ", ".join(str(point.depth) for point in many)
    why = f"with the new tokens they are more than the model's context of {context}"
    return (f"depths left out: {depths}; {why}",) if many else ()


def _slope(runs: Mapping[int, Sequence[float]]) -> Figure:
    """From the seconds of each run, by depth."""
    known = [depth for depth, steps in runs.items() if len(steps) > 1 and all(map(math.isfinite, steps))]
    if len(known) < 2:
        had = f"only the depth {known[0]}" if known else "no depth"
        return unavailable(
            SLOPE, UNIT, f"{had} could be measured, and a slope needs two: -o context.depth=0,64"
        )
    found, low, high = slope([(depth / 1000, 1000 * each) for depth in known for each in runs[depth]])
    n = sum(len(runs[depth]) for depth in known)
    error = (high - low) / (2 * Z95)
    return Figure(SLOPE, found, error, (low, high), n, UNIT, higher_is_better=False)
