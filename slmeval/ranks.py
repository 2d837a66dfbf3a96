"""Rank tests of times, and the intervals that belong to them: a few runs that were held up decide nothing.

Hodges and Lehmann's estimates with the intervals of Wilcoxon's tests turned round (Hollander, Wolfe and
Chicken, Nonparametric Statistical Methods, 3rd edition, 2014, 3.2 to 3.3 and 4.2 to 4.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import median

from slmeval.differences import Estimate
from slmeval.statistics import upper_point

#: with more pairs the normal distribution takes the place of counting
_COUNTED = 50


def signed_rank(differences: Sequence[float], level: float = 0.95) -> Estimate:
    """The middle of paired ``differences``, at least one: what it is and, of that ``level``, may be.

    It is the median of the means of any two (Walsh averages), the interval between those of them that the
    signed-rank test does not reject. Where there are too few for the level, that has no ends.

    :raises ValueError: there is none.
    """
    if not differences:
        raise ValueError("no differences have no middle")
    n = len(differences)
    means = sorted((a + b) / 2 for place, a in enumerate(differences) for b in differences[place:])
    return _between(means, _place(n, (1 - level) / 2), n, "signed ranks", level)


def signed_rank_p(differences: Sequence[float]) -> float:
    """How often chance alone makes ``differences`` of middle 0 as lopsided: Wilcoxon's signed-rank test."""
    if not any(differences):
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue)


def shift(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Estimate:
    """By how much the values of ``second`` are higher than those of ``first``, which are not paired.

    The median of all differences of two, with the interval of the rank-sum test by the normal distribution.

    :raises ValueError: one of them is empty.
    """
    if not (first and second):
        raise ValueError("nothing can be compared with no values")
    n, m = len(first), len(second)
    gaps = sorted(b - a for a in first for b in second)
    spread = math.sqrt(n * m * (n + m + 1) / 12)
    place = max(math.floor(n * m / 2 - 0.5 - upper_point((1 - level) / 2) * spread), -1)
    return _between(gaps, place, min(n, m), "rank sums", level)


def _between(ordered: Sequence[float], place: int, n: int, method: str, level: float) -> Estimate:
    """The median, and the interval from ``place`` to the same place from the end; -1: it has no ends."""
    middle = median(ordered)
    if place < 0:
        return Estimate(middle, -math.inf, math.inf, math.inf, n, method, level=level)
    low, high = ordered[place], ordered[-1 - place]
    error = (high - low) / (2 * upper_point((1 - level) / 2))
    return Estimate(middle, low, high, error, n, method, level=level)


# ---- the signed ranks' distribution ------------------------------------------------------------------


def _place(n: int, tail: float) -> int:
    """The place, from 0, of the Walsh average where the interval begins; -1: it has no beginning.

    It is the largest sum that ranks of n pairs have, or less, in no more than ``tail`` of all cases.
    """
    if n > _COUNTED:
        middle, spread = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(math.floor(middle - 0.5 - upper_point(tail) * spread), -1)
    allowed, seen, place = tail * 2**n, 0, -1
    for count in _counts(n):
        seen += count
        if seen > allowed:
            break
        place += 1
    return place


@lru_cache(maxsize=64)
def _counts(n: int) -> tuple[int, ...]:
    """In how many of the 2ⁿ cases the ranks 1 to n that are positive sum to 0, 1, 2, ..."""
    counts = [1]
    for rank in range(1, n + 1):
        longer = [*counts, *[0] * rank]
        for total, count in enumerate(counts):
            longer[total + rank] += count
        counts = longer
    return tuple(counts)
