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

    def parts(self, scores: Floats, scale: Scale, seen: Floats | float | None = None) -> Floats:
        """By how much each item moves the value: the first derivative; in each stratum they sum to 0.

        For a ratio of totals see Cochran, Sampling Techniques, 1977, 6.5. With ``seen`` it is by how much the
        item would, had it that score.
        """
        _, means = self._means(scores)
        away = (scores if seen is None else seen) - means[self.strata]
        parts: Floats = self.weights / self.weights.sum() * away * _slope(scale, means)[self.strata]
        return parts

    def urns(self, parts: Floats, *beside: Floats) -> list[Urn]:
        """What a bootstrap draws from: in each stratum the units, with the sums of their items' parts.

        ``beside`` are parts of items that nobody saw: half of one each, of the stratum's mean part, lies in
        the urns beside the units, in all of them together. Parts are enlarged by √(n / (n - 1)) with n units
        (Rao and Wu, JASA 83, 1988), so that the spread is that of a sample's mean.
        """
        import numpy as np

        sums = np.bincount(self.units, parts)
        sizes = np.bincount(self.strata)
        added = np.array([np.bincount(self.strata, each) / sizes for each in beside])
        found = []
        for stratum, size in enumerate(sizes):
            own = sums[self.homes == stratum]
            values = np.append(own, added[:, stratum]) if beside else own
            counts = np.append(np.ones(len(own)), np.full(len(beside), size / self.n / 2))
            larger = math.sqrt(len(own) / max(len(own) - 1, 1))
            found.append(Urn(values * larger, counts / counts.sum(), len(own)))
        return found

    def _means(self, scores: Floats) -> tuple[Floats, Floats]:
        import numpy as np

        heavy: Floats = np.bincount(self.strata, self.weights).astype(np.float64)
        return heavy, np.bincount(self.strata, self.weights * scores) / heavy


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
    homes = _codes(strata, kept)
    units = _codes(clusters, kept) if len(clusters) else np.arange(len(kept))
    units = np.unique(homes * (units.max() + 1) + units, return_inverse=True)[1].reshape(-1)
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


def _codes(given: Sequence[int], kept: Integers) -> Integers:
    import numpy as np

    if not len(given):
        return np.zeros(len(kept), dtype=np.int64)
    return np.unique(np.asarray(given)[kept], return_inverse=True)[1].reshape(-1)


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
    return np.unique(onto[strata], return_inverse=True)[1].reshape(-1)


def _on(scale: Scale, means: Floats) -> Floats:
    import numpy as np

    return np.exp(means) if scale == "exp" else means / math.log(2) if scale == "bits" else means


def _slope(scale: Scale, means: Floats) -> Floats:
    import numpy as np

    return (
        np.exp(means) if scale == "exp" else np.full(len(means), 1 / math.log(2) if scale == "bits" else 1.0)
    )
