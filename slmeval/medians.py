"""Medians with their errors, for what is measured again and again. Pure functions on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, median

from slmeval.statistics import Z95
from slmeval.types import Figure, Source, Verdict

#: the percentiles that a figure of many values has
PERCENTILES = (5, 25, 75, 95, 99)
#: with fewer values not even the smallest and the largest enclose the median in 95 of 100 cases
LEAST = 6


def median_figure(
    name: str,
    values: Sequence[float],
    *,
    unit: str,
    higher_is_better: bool | None = None,
    note: str = "",
    verdict: Verdict = "",
    source: Source = "measured",
) -> Figure:
    """The median of ``values``, in ``unit``, with its error, 95% interval and percentiles.

    With fewer than :data:`LEAST` values the interval is from the smallest to the largest, and the note says
    how often that encloses the median; with fewer than two the figure is unavailable.
    """
    n = len(values)
    if n < 2:
        return unavailable(name, unit, "one value has no error to give" if n else "nothing was measured")
    if not all(math.isfinite(value) for value in values):
        return unavailable(name, unit, "a value that was measured is not a finite number")
    low, high = median_interval(values)
    if n < LEAST:
        note = joined(note, f"the interval of {n} values covers {100 * covered(n, 1):.1f}%")
    return Figure(
        name, median(values), median_error(values), (low, high), n, unit, source, note, higher_is_better,
        percentiles(values), verdict,
    )  # fmt: skip


def exact_figure(
    name: str,
    value: float,
    *,
    unit: str,
    n: int,
    source: Source = "measured",
    note: str = "",
    higher_is_better: bool | None = None,
) -> Figure:
    """What is counted or computed, and the same each of ``n`` times: its interval is the value itself."""
    return Figure(name, value, 0.0, (value, value), n, unit, source, note, higher_is_better)


def unavailable(name: str, unit: str, reason: str) -> Figure:
    """A figure that cannot be had, and why."""
    return Figure(name, None, None, None, 0, unit, "unavailable", reason)


def joined(*notes: str) -> str:
    """Several notes as one; empty ones are left out."""
    return "; ".join(note for note in notes if note)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of the median of at least one value, whatever they are distributed like.

    It is from the d-th smallest to the d-th largest, with the largest d of which the binomial distribution
    says that these enclose the median with at least 95% (David and Nagaraja, Order Statistics, 3rd edition,
    2003, 7.1); the smallest and the largest where there are fewer than :data:`LEAST`.
    """
    ordered = sorted(values)
    deep = depth(len(ordered))
    return ordered[deep - 1], ordered[-deep]


def depth(n: int, share: float = 0.95) -> int:
    """The largest d of which the d-th smallest and d-th largest of ``n`` enclose the median often enough."""
    outside, deep = 0.0, 0
    while 2 * deep < n and outside <= (1 - share) / 2:
        outside += _exactly(n, deep)
        deep += 1
    return max(1, deep - 1)


def covered(n: int, deep: int) -> float:
    """How often the median lies between the ``deep``-th smallest and the ``deep``-th largest of ``n``."""
    return 1 - 2 * _below(n, deep)


def median_error(values: Sequence[float]) -> float:
    """The standard error of the median of at least two values.

    Price and Bonett's, with as many values as few (J. Statist. Comput. Simul. 68, 2001, 295-305): the width
    between the c-th smallest and the c-th largest, c near (n + 1)/2 - √n, over as many standard errors as the
    binomial distribution says that it has. It is McKean and Schrader's of 1984 with exact shares, where those
    are of the normal distribution, which a handful of values is too few for.
    """
    ordered, n = sorted(values), len(values)
    deep = max(1, round((n + 1) / 2 - math.sqrt(n)))
    errors = 2 * NormalDist().inv_cdf(1 - _below(n, deep))
    return (ordered[-deep] - ordered[deep - 1]) / errors


def percentiles(values: Sequence[float]) -> Mapping[str, float]:
    """:data:`PERCENTILES` of at least one value, by linear interpolation between neighbours."""
    ordered = sorted(values)
    return {f"p{share}": _percentile(ordered, share / 100) for share in PERCENTILES}


def half_width(values: Sequence[float]) -> float:
    """Half the width of the median's 95% interval as a share of the median; infinite where that is 0."""
    low, high = median_interval(values)
    middle = abs(median(values))
    return (high - low) / 2 / middle if middle else math.inf


def spread_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The standard deviation's error and 95% interval, at least six values that are not all the same.

    Bonett's, for distributions of any shape (Computational Statistics & Data Analysis 50, 2006, 775-782):
    the logarithm of the variance has an error that the tails decide, looked at from a trimmed mean.
    """
    n = len(values)
    mean = math.fsum(values) / n
    squares = math.fsum((value - mean) ** 2 for value in values)
    middle = _trimmed(values, 1 / (2 * math.sqrt(n - 4)))
    tails = n * math.fsum((value - middle) ** 4 for value in values) / squares**2
    small = n / (n - Z95)
    error = small * math.sqrt((tails - (n - 3) / n) / (n - 1))
    spread = math.sqrt(squares / (n - 1))
    widest, narrowest = (math.sqrt(small * math.exp(sign * Z95 * error)) for sign in (1, -1))
    return spread * error / 2, spread * narrowest, spread * widest


def _below(n: int, deep: int) -> float:
    """How often fewer than ``deep`` of ``n`` values lie on one side of the median."""
    return math.fsum(_exactly(n, count) for count in range(deep))


def _exactly(n: int, count: int) -> float:
    """How often ``count`` of ``n`` values do; in logarithms, for long series' binomials are no floats."""
    ways = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    return math.exp(ways - n * math.log(2))


def _percentile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _trimmed(values: Sequence[float], share: float) -> float:
    """The mean without ``share`` of the values on either side."""
    away = int(share * len(values))
    kept = sorted(values)[away : len(values) - away]
    return math.fsum(kept) / len(kept)
