"""Two sides' scores of the same items: the difference with its interval, and what is made of it.

Intervals are percentiles of a paired bootstrap, whose distribution is computed and not drawn
(:mod:`slmeval.resampling`): items are drawn with both their scores; where they share a passage or a subject,
whole clusters of them; where they belong to members of a group, each member's for itself. docs/statistics.md
says why, and what simulation says of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slmeval.differences import Estimate
from slmeval.influences import Items, items_of
from slmeval.resampling import LEAST_TAIL, Urn, sums
from slmeval.statistics import upper_point, wilson
from slmeval.types import Scale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: the method of an estimate that has no error
_ALONE = "of one item or cluster alone no error is known"
_UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Pairs:
    """Scores of the same items on two sides, in the same order.

    ``weights`` say how much each item counts, () all the same; ``clusters`` which items belong together, ()
    each is its own; ``strata`` which member of a group they are of, () all of one. A side's value is the
    weighted mean of its scores on the ``scale``, in each stratum; strata count by their weights' sums.
    """

    first: Sequence[float]
    second: Sequence[float]
    weights: Sequence[float] = ()
    clusters: Sequence[int] = ()
    strata: Sequence[int] = ()
    scale: Scale = "mean"


def contrast(pairs: Pairs, *, factor: float = 1.0, offset: float = 0.0, level: float = 0.95) -> Estimate:
    """value(second) - ``factor`` × value(first) - ``offset``, with its interval.

    Where all scores are 0 or 1, half an item gained and half an item lost lie in the urn beside those seen
    (Agresti and Min, Statistics in Medicine 24, 2005), so that the interval has a width though no item
    differs. With one cluster alone there is no bound but that of the scores.

    :raises ValueError: there are no items, a score or weight is no number, or there are more of one than of
        the other.
    """
    items, first, second = _sides(pairs)
    scale = pairs.scale
    value = items.value(second, scale) - factor * items.value(first, scale) - offset
    parts = items.parts(second, scale) - factor * items.parts(first, scale)
    if not (scale == "mean" and _all_whole(first, second)):
        return _estimate(value, items, items.urns(parts), level)
    gain, loss = (items.unseen(second, each) - factor * items.unseen(first, 1 - each) for each in (1.0, 0.0))
    bounds = (min(0.0, -factor) - offset, 1 + max(0.0, -factor) - offset)
    return _estimate(value, items, items.urns(parts, gain, loss), level, 1 / items.n, bounds)


def one_sample(
    scores: Sequence[float],
    weights: Sequence[float] = (),
    clusters: Sequence[int] = (),
    scale: Scale = "mean",
    level: float = 0.95,
    strata: Sequence[int] = (),
) -> Estimate:
    """The value of one side's scores with its interval, for a rule whose limit is a number.

    Wilson's where all scores are 0 or 1, for as many items as would have the same error; that of
    :func:`contrast` else.

    :raises ValueError: as :func:`contrast`.
    """
    items = items_of(len(scores), weights, clusters, strata)
    seen = items.scores(scores, "score")
    value, urns = items.value(seen, scale), items.urns(items.parts(seen, scale))
    if not (scale == "mean" and _all_whole(seen)):
        return _estimate(value, items, urns, level)
    return _share(value, items, urns, level)


def mcnemar(gained: int, lost: int) -> float:
    """How often as uneven a split of the items that differ would come about by chance: exact, two-sided.

    1 where none differs.
    """
    from scipy.special import bdtr

    differ = gained + lost
    return min(1.0, float(2 * bdtr(min(gained, lost), differ, 0.5))) if differ else 1.0


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Each p corrected for their number (Holm, Scand. J. Statist. 6, 1979, 65-70).

    ``None`` stays, and does not count.
    """
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    found: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        found[place] = largest
    return found


def detectable(pairs: Pairs, *, power: float = 0.8) -> float | None:
    """The smallest true difference whose 95% interval would leave out 0 with ``power``, with these items.

    From the differences' spread; of scores of 0 and 1 at least as many items must differ as the difference
    itself needs. ``None`` where it is not known: of one unit, or where nothing differs in other scores.

    :raises ValueError: as :func:`contrast`.
    """
    from scipy.special import stdtrit

    items, first, second = _sides(pairs)
    urns = items.urns(items.parts(second, pairs.scale) - items.parts(first, pairs.scale))
    free = _freedom(urns)
    variance = sum(urn.variance for urn in urns)
    if not free:
        return None
    far = float(stdtrit(free, 0.975) + stdtrit(free, power))
    if pairs.scale == "mean" and _all_whole(first, second):
        least = far * far / (items.n + far * far)
        return far * math.sqrt(max(items.n * variance, least) / (items.n + far * far))
    return far * math.sqrt(variance) or None


def _sides(pairs: Pairs) -> tuple[Items, Floats, Floats]:
    n = len(pairs.first)
    if len(pairs.second) != n:
        raise ValueError(f"the first side has {n} scores and the second {len(pairs.second)}")
    items = items_of(n, pairs.weights, pairs.clusters, pairs.strata)
    return items, items.scores(pairs.first, "first score"), items.scores(pairs.second, "second score")


def _all_whole(*sides: Floats) -> bool:
    return all(bool(((side == 0) | (side == 1)).all()) for side in sides)


def _estimate(
    value: float,
    items: Items,
    urns: Sequence[Urn],
    level: float,
    grain: float = 0.0,
    bounds: tuple[float, float] = _UNBOUNDED,
) -> Estimate:
    """The interval from the bootstrap's tails, wider by Student's factor where there are few units."""
    stderr = math.sqrt(sum(urn.variance for urn in urns))
    free = _freedom(urns)
    if not free:
        return _as_told(value, *bounds, math.inf, items, level, _ALONE)
    if not stderr:
        return _as_told(value, value, value, 0.0, items, level, "no item differs")
    tail = _tail(level)
    wider = _student(tail, free) / upper_point(tail)
    low, high = (value + wider * each for each in sums(urns, grain).tails(tail))
    return _as_told(
        value, max(low, bounds[0]), min(high, bounds[1]), stderr, items, level, "paired bootstrap"
    )


def _as_told(
    value: float, low: float, high: float, stderr: float, items: Items, level: float, method: str
) -> Estimate:
    units = len(items.homes)
    clusters = units if units < items.n else 0
    return Estimate(value, low, high, stderr, items.n, method, clusters, level)


def _share(value: float, items: Items, urns: Sequence[Urn], level: float) -> Estimate:
    """Wilson's interval, for as many items as would have the same error were they drawn one by one."""
    variance = sum(urn.variance for urn in urns)
    free = _freedom(urns)
    if not free:
        return _as_told(value, 0.0, 1.0, math.inf, items, level, _ALONE)
    alone = len(items.homes) == items.n and len(set(items.weights.tolist())) == 1 and len(urns) == 1
    like = value * (1 - value) / variance if variance and not alone else len(items.homes)
    z = upper_point(_tail(level)) if alone else _student(_tail(level), free)
    return _as_told(
        value, *wilson(value, like, z), math.sqrt(variance), items, level, "Wilson's score interval"
    )


def _tail(level: float) -> float:
    if not 0 < level <= 1:
        raise ValueError(f"an interval's level is between 0 and 1, and {level:g} is not")
    return max((1 - level) / 2, LEAST_TAIL)


def _student(tail: float, free: float) -> float:
    from scipy.special import stdtrit

    return float(-stdtrit(free, tail))


def _freedom(urns: Sequence[Urn]) -> float:
    """Degrees of freedom of the sum's variance (Satterthwaite, Biometrics Bulletin 2, 1946); 0 is unknown."""
    variances = [urn.variance for urn in urns]
    if not any(variances):
        return sum(urn.freedom for urn in urns)
    known = [(v, urn.freedom) for v, urn in zip(variances, urns, strict=True) if urn.freedom]
    return sum(variances) ** 2 / sum(v * v / freedom for v, freedom in known) if known else 0.0
