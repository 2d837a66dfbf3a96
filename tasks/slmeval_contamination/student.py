"""Student's t distribution, from the incomplete beta function."""

from __future__ import annotations

import math

#: enough for full precision wherever the fraction is used
_STEPS, _ENOUGH, _TINY = 300, 1e-15, 1e-300


def beyond(t: float, freedom: int) -> float:
    """The probability of a value above ``t`` with so many degrees of freedom."""
    tail = _beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return tail if t >= 0 else 1 - tail


def point(probability: float, freedom: int) -> float:
    """The value that is exceeded with ``probability``, below one half."""
    low, high = 0.0, 1.0
    while beyond(high, freedom) > probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle, freedom) > probability else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function (Abramowitz and Stegun, 26.5.8)."""
    if x in {0.0, 1.0}:
        return x
    # the fraction converges fast on this side alone
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(scale) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)) by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, _STEPS):
        m, odd = divmod(step, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        value *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return value
