"""Rank intervals: those of scipy's tests turned round, and as often right as they say."""

from __future__ import annotations

import math
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, wilcoxon

from slmeval.ranks import shift, signed_rank, signed_rank_p

VALUES = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=40)


def drawn(n: int, seed: int, middle: float = 0.0) -> list[float]:
    """Of heavy tails: now and then a run is held up."""
    chance = random.Random(seed)
    return [middle + chance.gauss(0, 1) * chance.choice([1, 1, 1, 10]) for _ in range(n)]


@pytest.mark.parametrize(
    ("n", "level", "place"), [(6, 0.95, 0), (10, 0.95, 8), (20, 0.95, 52), (25, 0.99, 68), (50, 0.95, 434)]
)
def test_the_interval_begins_at_the_tables_critical_value(n: int, level: float, place: int) -> None:
    # Wilcoxon and Wilcox's tables of 1964: the largest sum at which the test rejects
    values = drawn(n, n)
    means = sorted((a + b) / 2 for at, a in enumerate(values) for b in values[at:])
    found = signed_rank(values, level)
    assert (found.value, found.low, found.high) == (median(means), means[place], means[-1 - place])
    assert (found.n, found.level) == (n, level)


@pytest.mark.parametrize("n", [8, 17, 40, 50, 51, 120])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_what_is_inside_the_test_does_not_reject_and_what_is_outside_it_does(n: int, level: float) -> None:
    values = drawn(n, 100 + n)
    found = signed_rank(values, level)
    if math.isinf(found.low):
        assert 2 ** (1 - n) > 1 - level
        return
    method = "exact" if n <= 50 else "approx"
    for middle, inside in (
        (found.low - 1e-9, False),
        (found.low + 1e-9, True),
        (found.high - 1e-9, True),
        (found.high + 1e-9, False),
    ):
        p = wilcoxon([each - middle for each in values], method=method, correction=True).pvalue
        assert (p > 1 - level) == inside


def test_too_few_pairs_have_an_interval_without_ends() -> None:
    assert math.isinf(signed_rank([1.0] * 5).low)
    assert signed_rank([1.0] * 6).low == 1.0
    assert math.isinf(signed_rank([1.0] * 6, 0.99).high)
    with pytest.raises(ValueError, match="no middle"):
        signed_rank([])


@given(VALUES)
def test_turned_round_everything_turns_round(values: list[float]) -> None:
    found, other = signed_rank(values), signed_rank([-each for each in values])
    assert (found.value, found.low, found.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("n", "level"), [(12, 0.95), (60, 0.95), (24, 0.99)])
def test_it_covers_as_often_as_it_says(n: int, level: float) -> None:
    tries = 1000
    covered = 0
    for seed in range(tries):
        found = signed_rank(drawn(n, seed, 0.3), level)
        covered += found.low <= 0.3 <= found.high
    error = math.sqrt(level * (1 - level) / tries)
    # of few pairs no more than that, for sums are whole numbers
    assert level - 3 * error <= covered / tries <= level + 0.02 + 3 * error


def test_the_p_value_is_scipys() -> None:
    values = drawn(30, 3, 0.4)
    assert signed_rank_p(values) == wilcoxon(values).pvalue
    assert signed_rank_p([0.0, 0.0]) == 1.0


def test_two_samples_are_apart_as_far_as_their_test_says() -> None:
    first, second = drawn(16, 1), drawn(16, 2, 3.0)
    found = shift(first, second)
    gaps = sorted(b - a for a in first for b in second)
    # Mann and Whitney's critical value for 16 and 16 values is 75
    assert (found.value, found.low, found.high) == (median(gaps), gaps[75], gaps[-76])
    for by, inside in ((found.low - 1e-9, False), (found.low + 1e-9, True)):
        p = mannwhitneyu([each + by for each in first], second, method="asymptotic").pvalue
        assert (p > 0.05) == inside


def test_two_small_samples_say_nothing() -> None:
    assert math.isinf(shift([1.0], [2.0, 3.0]).low)
    with pytest.raises(ValueError, match="no values"):
        shift([], [1.0])


def test_two_samples_cover_as_often_as_they_say() -> None:
    tries = 1000
    covered = 0
    for seed in range(tries):
        found = shift(drawn(16, seed), drawn(16, seed + tries, 0.5))
        covered += found.low <= 0.5 <= found.high
    assert 0.93 <= covered / tries <= 0.975
