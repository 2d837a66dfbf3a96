"""Whether a model stays as fast as it was: runs that begin at a fixed interval, with the machine beside them.

Of the i-th run, of n = ``new_tokens`` tokens at t₁ to tₙ, counts sᵢ = (tₙ - t₁)/(n - 1). Of all runs::

    latency   = 1000 median(s)                    ms for one token
    drift     = by how much s changed, in percent of its beginning, and the verdict on it
    variation = 100 deviation(s) / mean(s)        percent

The verdict is "stable" where nothing changed by 5% and more that is not chance (:mod:`slmeval.trends`), and
"drifting" where something did; "throttled" where it got slower while the clock fell, or the heat came to its
limit, and no other process took the cores. Of runs too uneven to tell there is none.

Where ``new_tokens`` is not given, so many are taken as take half the interval (64 to 1,024): a short run is
at the mercy of whatever else the machine does. The runs that warm up, of 64 tokens each, tell how many.

Series: ``tokens``, run after run, of each its ``new_tokens`` times since its start, in seconds, and the same
of the runs that warmed up; ``begun``, when each run began, in seconds after the first; and of the machine
after each run, where it tells, ``clock``, ``load``, ``busy`` and ``temperature`` (see
:class:`slmeval.types.Conditions`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from slmeval.api import Demand, Option, Probe, Session, Stream
from slmeval.medians import LEAST, exact_figure, joined, median_figure, spread_interval, unavailable
from slmeval.option_kinds import count, seconds
from slmeval.repeating import warm_up
from slmeval.statistics import Z95
from slmeval.trends import Trend, trend, verdict
from slmeval.types import Conditions, Figure, Measurement, Series, Timing, Verdict
from slmeval_runtime.axes import NEW_TOKENS, Point, Settings
from slmeval_runtime.costs import latencies
from slmeval_runtime.pace import Pace, in_step, series_of, tokens_of
from slmeval_runtime.timed import gaps, step, streamed

#: tokens of a run where none are given: at least, and at most
FEWEST, MOST = 64, 1024


def runs(text: str) -> int:
    """A number of runs, as many as a trend needs at least.

    :raises ValueError: it is none.
    """
    number = count(text)
    if number < LEAST:
        raise ValueError(f"{number} runs show no drift: {LEAST} or more")
    return number


def interval(text: str) -> float:
    """Seconds, or 0.

    :raises ValueError: it is no such number.
    """
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError(f"{text} is no time in seconds")
    return number


class Stability(Probe):
    """Drift, with its verdict, and how much runs differ."""

    name = "stability"
    version = "1.0"
    options = (
        Option("interval", interval, 1.0, "seconds from the start of a run to that of the next; 0: no pause"),
        Option("runs", runs, 20, f"runs of the model, {LEAST} at least"),
        NEW_TOKENS.single(""),
        Option(
            "budget", seconds, 60.0, f"seconds that the runs may take, pauses apart; {LEAST} it has at least"
        ),
    )

    def demand(self, settings: Settings) -> Demand:
        """One sequence."""
        return Demand(_first_tokens(settings))

    def measure(self, session: Session) -> Measurement:
        """All runs, after it is warm."""
        asked = session.settings
        pace = Pace(*(float(str(asked[name])) for name in ("interval", "runs", "budget")))
        first = _first_tokens(asked)
        with session.timed(session.workload(1, first)) as run:
            warmups, _ = warm_up(run, step)
            done = in_step(session, run, pace) if asked[NEW_TOKENS.name] else []
        if not done:
            tokens = _enough(min(map(step, warmups)), pace.every, session.context)
            with session.timed(session.workload(1, tokens)) as run:
                run()
                done = in_step(session, run, pace)
        return Measurement(
            (*series_of(done), tokens_of("warm-up of tokens", warmups)), notes=pace.notes(done)
        )

    def stream(self, session: Session, figure: str) -> Stream | None:
        """The gaps between tokens, without the pauses."""
        if figure != "latency":
            return None
        point = Point(new_tokens=_first_tokens(session.settings))
        return latencies(streamed(session, point, gaps), "ms/token")

    def figures(self, _: Settings, series: Mapping[str, Series]) -> Sequence[Figure]:
        """The latency, the drift and the variation of the runs."""
        steps = _steps(series["tokens"].values, len(series["begun"].values))
        if not steps:
            return _unavailable(series["tokens"].note)
        if min(steps) <= 0:
            return _unavailable("the tokens come faster than the clock tells")
        found = trend(steps)
        judged = verdict(found, _conditions(series))
        latencies = [1000 * each for each in steps]
        return [
            median_figure("latency", latencies, unit="ms/token", higher_is_better=False, verdict=judged),
            _drift(found, judged),
            _variation(steps),
        ]


# ---- figures -------------------------------------------------------------------------------------------


def _first_tokens(settings: Settings) -> int:
    """Those of a run, or, where none are given, of the runs that tell how many."""
    return NEW_TOKENS.values(settings)[0] if settings[NEW_TOKENS.name] else FEWEST


def _enough(seconds: float, every: float, context: int) -> int:
    """Tokens of ``seconds`` each that take half the interval, as far as the model's context goes."""
    wanted = int((every or 1.0) / 2 / max(seconds, 1e-9))
    return min(max(wanted, FEWEST), MOST, context)


def _steps(times: Sequence[float], runs: int) -> list[float]:
    """Seconds from token to token in each run."""
    size = len(times) // max(runs, 1) or 1
    return [step(Timing(None, tuple(times[at : at + size]))) for at in range(0, len(times), size)]


def _conditions(series: Mapping[str, Series]) -> list[Conditions]:
    """The machine after each run, as far as it told."""
    begun = series["begun"].values
    told = (series[name].values or (None,) * len(begun) for name in ("clock", "busy", "temperature"))
    return [
        Conditions(at, clock=clock, busy=busy, temperature=heat)
        for at, clock, busy, heat in zip(begun, *told, strict=True)
    ]


def _unavailable(reason: str) -> list[Figure]:
    units = {"latency": "ms/token", "drift": "%", "variation": "%"}
    return [unavailable(name, unit, reason) for name, unit in units.items()]


def _drift(found: Trend, judged: Verdict) -> Figure:
    error = (found.high - found.low) / (2 * Z95)
    note = joined(found.told, f"chance alone does as much in {100 * found.p:.3g}%")
    return Figure(
        "drift", found.percent, error, (found.low, found.high), found.n, "%", "measured", note, verdict=judged
    )


def _variation(steps: Sequence[float]) -> Figure:
    """The coefficient of variation; its interval is the deviation's, for the mean is known better."""
    share = 100 / fmean(steps)
    if min(steps) == max(steps):
        return exact_figure("variation", 0.0, unit="%", n=len(steps), higher_is_better=False)
    error, low, high = (share * each for each in spread_interval(steps))
    return Figure(
        "variation", share * stdev(steps), error, (low, high), len(steps), "%", higher_is_better=False
    )
