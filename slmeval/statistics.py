"""Means with their errors: standard errors and 95% intervals. Pure functions on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

from slmeval.types import Figure

#: the 97.5% point of the normal distribution
Z95 = 1.959963984540054
_NORMAL = NormalDist()


def upper_point(tail: float) -> float:
    """The point above which a share of ``tail`` of the normal distribution lies."""
    return -_NORMAL.inv_cdf(tail)


def mean_figure(
    name: str,
    scores: Sequence[float],
    *,
    unit: str = "",
    proportion: bool = False,
    higher_is_better: bool | None = True,
) -> Figure:
    """The mean of ``scores`` with its standard error and 95% interval.

    The standard error is s/√n with the sample deviation (n - 1), as lm-evaluation-harness gives it; the
    interval is Wilson's for a ``proportion`` (:func:`share_interval` where not all scores are 0 or 1), and
    mean ± 1.96 standard errors else. With fewer than two scores there is no error to give; with none the
    figure is unavailable.
    """
    n = len(scores)
    if n == 0:
        return Figure(name, None, None, None, 0, unit, "unavailable", "no scores", higher_is_better)
    mean = math.fsum(scores) / n
    stderr = standard_error(scores)
    if proportion:
        whole = all(score in {0.0, 1.0} for score in scores)
        interval = wilson(mean, n) if whole else share_interval(mean, stderr, n)
    else:
        interval = normal_interval(mean, stderr)
    return Figure(name, mean, stderr, interval, n, unit, "measured", "", higher_is_better)


def standard_error(scores: Sequence[float]) -> float | None:
    """s/√n with the sample deviation; ``None`` where it is not defined (n < 2, or a score not finite)."""
    n = len(scores)
    if n < 2 or not all(math.isfinite(score) for score in scores):
        return None
    mean = math.fsum(scores) / n
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (n - 1) / n)


def normal_interval(mean: float, stderr: float | None) -> tuple[float, float] | None:
    """mean ± 1.96 standard errors; ``None`` where there is no error to give."""
    return None if stderr is None else (mean - Z95 * stderr, mean + Z95 * stderr)


def weighted_mean(scores: Sequence[float], weights: Sequence[float]) -> tuple[float, float | None]:
    """Σ wᵢsᵢ / Σ wᵢ and its standard error, at least one score given.

    The error is that of a ratio of two totals by linearization (Cochran, Sampling Techniques, 1977, 6.5):
    √(n/(n - 1) Σ wᵢ²(sᵢ - mean)²) / Σ wᵢ; ``None`` with fewer than two scores.
    """
    n, whole = len(scores), math.fsum(weights)
    mean = math.fsum(w * s for w, s in zip(weights, scores, strict=True)) / whole
    if n < 2:
        return mean, None
    squares = math.fsum((w * (s - mean)) ** 2 for w, s in zip(weights, scores, strict=True))
    return mean, math.sqrt(n / (n - 1) * squares) / whole


def gain_figure(name: str, before: Sequence[float], after: Sequence[float], *, unit: str = "") -> Figure:
    """The mean of ``after`` minus that of ``before``, two scores of each item, with a paired error.

    The interval is Bonett and Price's where all scores are 0 or 1 (Statistics in Medicine 31, 2012), the
    normal one else.
    """
    gains = [now - then for then, now in zip(before, after, strict=True)]
    figure = mean_figure(name, gains, unit=unit)
    if not gains or not all(score in {0.0, 1.0} for score in (*before, *after)):
        return figure
    return replace(figure, ci95=bonett_price(gains.count(1.0), gains.count(-1.0), len(gains)))


def bonett_price(gained: int, lost: int, n: int) -> tuple[float, float]:
    """The 95% interval of a paired difference of two proportions, of ``n`` pairs of which some changed.

    One pair is added to those that gained and one to those that lost, so that it has a width even where none
    or all of them changed.
    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    middle = up - down
    half = Z95 * math.sqrt((up + down - middle * middle) / (n + 2))
    return max(-1.0, middle - half), min(1.0, middle + half)


def slope(places: Sequence[float], values: Sequence[float]) -> float:
    """By how much ``values`` rise when ``places``, at least two different ones, rise by 1: least squares."""
    middle = math.fsum(places) / len(places)
    spread = math.fsum((place - middle) ** 2 for place in places)
    return math.fsum((place - middle) * value for place, value in zip(places, values, strict=True)) / spread


def share_interval(value: float, stderr: float | None, n: int) -> tuple[float, float] | None:
    """Wilson's interval for as many scores of 0 and 1 as would give a share the same error.

    ``n`` counts where that error is 0; ``None`` where there is no error to give.
    """
    if stderr is None:
        return None
    return wilson(value, value * (1 - value) / stderr**2 if stderr and 0 < value < 1 else n)


def wilson(share: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a proportion, of 95% or another ``z`` (E. B. Wilson, JASA 22, 1927)."""
    z2 = z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
