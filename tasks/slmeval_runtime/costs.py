"""Figures of seconds, measured run after run: how long it takes, and how many tokens a second that is."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence

from slmeval.api import Stream
from slmeval.medians import median_figure, unavailable
from slmeval.trends import verdict_of
from slmeval.types import Figure, Series, Verdict


def latency(name: str, series: Series, seconds: Sequence[float], unit: str = "ms") -> Figure:
    """The median of ``seconds``, which ``series`` holds or is made of, in thousandths."""
    if not seconds:
        return unavailable(name, unit, series.note)
    return median_figure(
        name,
        [1000 * each for each in seconds],
        unit=unit,
        higher_is_better=False,
        note=series.note,
        verdict=_verdict(seconds),
    )


def rate(name: str, series: Series, seconds: Sequence[float], tokens: int) -> Figure:
    """The median of how many tokens a second they are, ``tokens`` in each run's ``seconds``."""
    if not seconds:
        return unavailable(name, "tokens/s", series.note)
    return median_figure(
        name,
        [tokens / each if each else math.inf for each in seconds],
        unit="tokens/s",
        higher_is_better=True,
        note=series.note,
        verdict=_verdict(seconds),
    )


#: of one run after another, seconds
Costs = Generator[Sequence[float], None, None]


def latencies(costs: Costs, unit: str = "ms") -> Stream:
    """The stream that :func:`latency` is the median of."""
    return Stream(unit, False, ([1000 * each for each in run] for run in costs))


def rates(costs: Costs, tokens: int) -> Stream:
    """The stream that :func:`rate` is the median of; a cost that no clock shows is left out."""
    return Stream("tokens/s", True, ([tokens / each for each in run if each] for run in costs))


def of(series: Mapping[str, Series], name: str) -> Series:
    """One of ``series``, also where it was not measured."""
    return series.get(name) or Series(name, "s", (), "unavailable", "it was not measured")


def _verdict(seconds: Sequence[float]) -> Verdict:
    """Whether it stayed as it was; nothing is said where a time is too short for the clock."""
    return verdict_of(seconds) if all(0 < each < math.inf for each in seconds) else ""
