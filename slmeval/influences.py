"""By how much each item moves a mean, and which items are drawn together: what an interval is made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slmeval.resampling import Urn
from slmeval.types import Scale

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """The items that weigh something.

    ``kept`` are their places in what was given; ``strata`` and ``units``, from 0, say of which stratum each
    is and with which others it is drawn. ``homes`` are the strata of the units.
    """

    kept: Integers
    weights: Floats
    strata: Integers
    units: Integers
    homes: Integers

    @property
    def n(self) -> int:
        """How many items there are."""
        return len(self.weights)

    def scores(self, given: Sequence[float], side: str) -> Floats:
        """The scores that were given of these items.

        :raises ValueError: one of them is not a finite number.
        """
        return numbers(given, side)[self.kept]

    def value(self, scores: Floats, scale: Scale) -> float:
        """The weighted mean of ``scores`` on its ``scale``: that of each stratum, by their weights."""
        heavy, means = self._means(scores)
        return float(heavy @ _on(scale, means) / heavy.sum())

    def parts(self, scores: Floats, scale: Scale) -> Floats:
        """By how much each item moves the value: the first derivative; in each stratum they sum to 0.

        For a ratio of totals see Cochran, Sampling Techniques, 1977, 6.5.
        """
        heavy, means = self._means(scores)
        steep = _slope(scale, means) / heavy.sum()
        parts: Floats = self.weights * (scores - means[self.strata]) * steep[self.strata]
        return parts

    def unseen(self, scores: Floats, seen: float) -> Floats:
        """By how much an item of mean weight would move the mean with the score ``seen``, in each stratum."""
        import numpy as np

        heavy, means = self._means(scores)
        unseen: Floats = heavy / heavy.sum() * (seen - means) / np.bincount(self.strata)
        return unseen

    def urns(self, parts: Floats, *beside: Floats) -> list[Urn]:
        """What a bootstrap draws from: in each stratum the units, with the sums of their items' parts.

        ``beside`` are parts of items that nobody saw: half of one each lies in the urns beside the units, in
        all urns together. The parts of units are enlarged as :class:`_Group` says.
        """
        import numpy as np

        of_items, of_units = _split(self.strata), _split(self.homes)
        found = []
        for stratum, (items, units) in enumerate(zip(of_items, of_units, strict=True)):
            group = _Group.of(self.weights[items], parts[items], self.units[items], units)
            values = np.append(group.enlarged(), [each[stratum] for each in beside])
            counts = np.append(np.ones(len(units)), np.full(len(beside), len(items) / self.n / 2))
            found.append(Urn(values, counts / counts.sum(), len(units), group.freedom()))
        return found

    def _means(self, scores: Floats) -> tuple[Floats, Floats]:
        import numpy as np

        heavy: Floats = np.bincount(self.strata, self.weights).astype(np.float64)
        return heavy, np.bincount(self.strata, self.weights * scores) / heavy


@dataclass(frozen=True)
class _Group:
    """The units of one stratum.

    ``shares`` are their weights' (they sum to 1), ``parts`` the sums of their items' parts, which sum to 0,
    ``spreads`` their sums' variances, up to a factor, were scores alike but for what units have in common.
    """

    shares: Floats
    parts: Floats
    spreads: Floats

    @classmethod
    def of(cls, weights: Floats, parts: Floats, units: Integers, numbers: Integers) -> _Group:
        """From its items' weights, parts and units, and the units' numbers."""
        import numpy as np

        at = np.searchsorted(numbers, units) if len(numbers) < len(units) else np.arange(len(units))
        heavy = np.bincount(at, weights).astype(np.float64)
        alike = _alike(parts / weights, at) if len(numbers) < len(units) else 0.0
        spreads: Floats = (1 - alike) * np.bincount(at, weights * weights) + alike * heavy * heavy
        return cls(heavy / heavy.sum(), np.bincount(at, parts).astype(np.float64), spreads / heavy.sum() ** 2)

    def enlarged(self) -> Floats:
        """The units' parts, as large as they would be if the mean had not followed them.

        A unit that has a share h of the weight draws the mean, and its part's square is too small by 1 - h
        (Bell and McCaffrey, Survey Methodology 28, 2002, 169-181); of n like units, by (n - 1) / n.
        """
        import numpy as np

        if len(self.parts) == 1:
            return self.parts
        whole = self.parts / np.sqrt(1 - self.shares)
        centred = whole - whole.mean()
        squares = float(centred @ centred)
        enlarged: Floats = centred * (math.sqrt(float(whole @ whole) / squares) if squares else 1.0)
        return enlarged

    def freedom(self) -> float:
        """Degrees of freedom of the parts' variance: n - 1 of n like units, fewer where some weigh more.

        Satterthwaite's, from the parts' covariances (Bell and McCaffrey; with what units have in common as
        Imbens and Kolesár do, Review of Economics and Statistics 98, 2016, 701-712).
        """
        if len(self.parts) == 1:
            return 0.0
        share, spread = self.shares, self.spreads
        total, larger = spread.sum(), 1 / (1 - share)
        # the covariance of two parts is own - share·spread' - spread·share' + share·share'·total
        own = share * (share * total - 2 * spread)
        ss, sv, vv = (float(larger @ each) for each in (share * share, share * spread, spread * spread))
        squares = 2 * ss * vv + 2 * sv * sv + (total * ss) ** 2 - 4 * total * ss * sv
        squares += float((larger * larger) @ (spread * (spread + 2 * own)))
        expected = float((larger * (spread + own)).sum())
        return float(expected * expected / squares)


def _alike(scores: Floats, units: Integers) -> float:
    """How much of the scores' variance lies between units: from an analysis of variance, 0 to 1."""
    import numpy as np

    n, sizes = len(scores), np.bincount(units)
    if len(sizes) == 1:
        return 1.0
    means = np.bincount(units, scores) / sizes
    between = float(sizes @ (means - scores.mean()) ** 2) / (len(sizes) - 1)
    within = float(((scores - means[units]) ** 2).sum()) / (n - len(sizes))
    usual = (n - float(sizes @ sizes) / n) / (len(sizes) - 1)
    whole = between + (usual - 1) * within
    return min(max((between - within) / whole, 0.0), 1.0) if whole > 0 else 0.0


def items_of(
    n: int, weights: Sequence[float] = (), clusters: Sequence[int] = (), strata: Sequence[int] = ()
) -> Items:
    """``n`` items; what is left out is the same for all, or for ``clusters`` another for each.

    Strata of which there is but one unit are taken together, for one alone has no spread: two of them, or one
    with another stratum.

    :raises ValueError: no item weighs anything, a weight is below 0 or no number, or lengths differ.
    """
    import numpy as np

    for name, given in (("weights", weights), ("clusters", clusters), ("strata", strata)):
        if len(given) not in {0, n}:
            raise ValueError(f"there are {n} scores and {len(given)} {name}")
    heavy = numbers(weights, "weight") if len(weights) else np.ones(n)
    if n and heavy.min() < 0:
        raise ValueError(f"weight {heavy.argmin()} is {heavy.min():g}, and weights are not below 0")
    kept = np.flatnonzero(heavy)
    if not len(kept):
        raise ValueError("no item weighs anything" if n else "there are no items")
    homes, units = _codes(strata, kept), np.arange(len(kept))
    if len(clusters):
        each = _codes(clusters, kept)
        units = _numbered(homes * (each.max() + 1) + each)
    homes = _joined(homes, units)
    of_units = np.zeros(units.max() + 1, dtype=np.int64)
    of_units[units] = homes
    return Items(kept, heavy[kept], homes, units, of_units)


def numbers(given: Sequence[float], name: str) -> Floats:
    """``given`` as an array.

    :raises ValueError: one of them is not a finite number.
    """
    import numpy as np

    found = np.asarray(given, dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise ValueError(f"{name} {wrong[0]} is {found[wrong[0]]}, and no finite number")
    return found


def _split(strata: Integers) -> list[Integers]:
    """The places of each stratum."""
    import numpy as np

    order = np.argsort(strata, kind="stable")
    return np.split(order, np.cumsum(np.bincount(strata))[:-1])


def _codes(given: Sequence[int], kept: Integers) -> Integers:
    import numpy as np

    if not len(given):
        return np.zeros(len(kept), dtype=np.int64)
    return _numbered(np.asarray(given)[kept])


def _numbered(names: Integers) -> Integers:
    """The same with the numbers from 0 in place of the names."""
    import numpy as np

    return np.unique(names, return_inverse=True)[1].reshape(-1)


def _joined(strata: Integers, units: Integers) -> Integers:
    """The strata, those of a single unit taken together."""
    import numpy as np

    whose = np.zeros(units.max() + 1, dtype=np.int64)
    whose[units] = strata
    sizes = np.bincount(whose)
    single = np.flatnonzero(sizes == 1)
    if not len(single) or len(sizes) == 1:
        return strata
    onto = np.arange(len(sizes))
    onto[single] = single[0] if len(single) > 1 else np.flatnonzero(sizes > 1)[0]
    return _numbered(onto[strata])


def _on(scale: Scale, means: Floats) -> Floats:
    import numpy as np

    return np.exp(means) if scale == "exp" else means / math.log(2) if scale == "bits" else means


def _slope(scale: Scale, means: Floats) -> Floats:
    import numpy as np

    return (
        np.exp(means) if scale == "exp" else np.full(len(means), 1 / math.log(2) if scale == "bits" else 1.0)
    )
