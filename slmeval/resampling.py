"""The bootstrap's distribution of a sum of draws, computed and not drawn: no seed, no error of drawing.

The sum of n draws with replacement from n values has the n-fold convolution of their distribution, which is
a power of its Fourier transform (Hall, The Bootstrap and Edgeworth Expansion, 1992, appendix I, speaks of it
as exact calculation; with values of −1, 0 and 1 it is the difference of two multinomial counts). The
transform is taken on a fine grid, which reaches far enough on either side that nothing wraps round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: points of the grid
POINTS = 1 << 15
#: standard deviations between the grid's middle and its ends
REACH = 14.0
#: a tail that is smaller is not told from rounding
LEAST_TAIL = 1e-12
#: as small a factor of a transform does not count
LEAST_FACTOR = 1e-20


@dataclass(frozen=True)
class Urn:
    """What is drawn from: ``values``, each with its share (they sum to 1), ``draws`` times."""

    values: Floats
    shares: Floats
    draws: int

    @property
    def mean(self) -> float:
        """Of the sum of all draws."""
        return float(self.draws * (self.values @ self.shares))

    @property
    def variance(self) -> float:
        """Of the sum of all draws."""
        away = self.values - self.values @ self.shares
        return float(self.draws * ((away * away) @ self.shares))


@dataclass(frozen=True)
class Sums:
    """How the sum of all draws from some urns is distributed: the mass below each place of a grid, and above."""

    places: Floats
    below: Floats
    above: Floats

    def tails(self, tail: float) -> tuple[float, float]:
        """The points below and above which lies a mass of ``tail``, at least :data:`LEAST_TAIL`."""
        import numpy as np

        low = np.interp(tail, self.below, self.places)
        high = np.interp(tail, self.above[::-1], self.places[::-1])
        return float(low), float(high)


def sums(urns: Sequence[Urn], grain: float = 0.0) -> Sums:
    """The distribution of the sum of all draws from ``urns``, which are not all of one value only.

    ``grain`` is the step of values that lie on a lattice: each mass is spread evenly over one step around it,
    so that the tails' points do not jump.
    """
    import numpy as np

    mean = sum(urn.mean for urn in urns)
    spread = max(sum(urn.variance for urn in urns) ** 0.5, grain)
    step = 2 * REACH * spread / POINTS
    turns = np.arange(POINTS // 2 + 1) / POINTS
    # a mass spread evenly over the grain; sinc(x) is sin(πx)/(πx)
    transform = np.sinc(turns * grain / step).astype(np.complex128)
    for urn in urns:
        one = _transform(urn, step)
        # where a factor is as small as rounding, the product is
        seen = np.abs(one) > LEAST_FACTOR ** (1 / urn.draws)
        one[seen] **= urn.draws
        transform *= np.where(seen, one, 0)
    middle = round(mean / step)
    mass = np.roll(np.fft.irfft(transform, POINTS), POINTS // 2 - middle)
    edges = (np.arange(POINTS) - POINTS // 2 + middle + 0.5) * step
    mass = np.maximum(mass, 0.0)
    return Sums(edges, np.cumsum(mass), np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0))


def _transform(urn: Urn, step: float) -> NDArray[np.complex128]:
    """That of one draw: each value shared out between its neighbours on the grid, which keeps the mean."""
    import numpy as np

    places = urn.values / step
    lower = np.floor(places)
    upper_share = (places - lower) * urn.shares
    lower_at = lower.astype(np.int64) % POINTS
    mass = np.bincount(lower_at, urn.shares - upper_share, POINTS)
    mass += np.bincount((lower_at + 1) % POINTS, upper_share, POINTS)
    return np.fft.rfft(mass)
