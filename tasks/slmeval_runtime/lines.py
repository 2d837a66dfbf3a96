"""The line through runs at several places, and how sure its slope is. Pure functions on plain numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import median

from slmeval.statistics import Z95


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The slope of Theil and Sen through ``points``, a place and a value each, with its 95% interval.

    It is the median of the slopes between any two points at different places, so that no single run makes it.
    The interval is Sen's (JASA 63, 1968, 1379-1389), with several values at one place: between the slopes of
    which Kendall's test says that they enclose it.

    :raises ValueError: all points are at one place.
    """
    pairs = combinations(sorted(points), 2)
    slopes = sorted((y - b) / (x - a) for (a, b), (x, y) in pairs if x != a)
    if not slopes:
        raise ValueError("one place has no slope")
    deviation = Z95 * math.sqrt(_variance([place for place, _ in points]))
    below = max(0, math.floor((len(slopes) - deviation) / 2))
    return median(slopes), slopes[below], slopes[-1 - below]


def _variance(places: Sequence[float]) -> float:
    """Of Kendall's score, where places repeat and values do not."""
    alike = Counter(places).values()
    return (_pairs(len(places)) - sum(_pairs(count) for count in alike)) / 18


def _pairs(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)
