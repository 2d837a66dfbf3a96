"""Intervals that are looked at again and again: against published bounds and simulation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from slmeval.sequences import (
    LEAST_ITEMS,
    MOST,
    always_valid,
    look_bounds,
    look_levels,
    look_levels_at,
    narrow_enough,
)


def bounds(levels: tuple[float, ...]) -> list[float]:
    return [float(stats.norm.ppf((1 + level) / 2)) for level in levels]


# ---- levels of looks ---------------------------------------------------------------------------------


def test_one_look_has_95_percent() -> None:
    assert look_levels(1) == pytest.approx((0.95,))


@pytest.mark.parametrize(
    ("looks", "published"),
    [
        # O'Brien-Fleming-like spending, two-sided 5%, as tables of group-sequential trials give it
        (2, [2.9626, 1.9686]),
        (3, [3.7103, 2.5114, 1.9930]),
        (4, [4.3326, 2.9631, 2.3590, 2.0141]),
        (5, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
    ],
)
def test_bounds_are_the_published_ones(looks: int, published: list[float]) -> None:
    assert bounds(look_levels(looks)) == pytest.approx(published, abs=2e-4)


def test_levels_fall_and_stay_above_95_percent() -> None:
    levels = look_levels(10)
    assert all(before > after for before, after in pairwise(levels))
    assert levels[-1] > 0.95


def test_looks_may_come_at_any_shares() -> None:
    assert look_levels_at((0.2, 0.4, 0.6, 0.8, 1.0)) == look_levels(5)
    # a run that ended early is not asked to spend what is left
    assert look_levels_at((0.5,))[0] > look_levels_at((0.5, 1.0))[1]
    assert look_levels_at((0.5,))[0] == look_levels_at((0.5, 1.0))[0]


def test_a_first_look_after_hardly_anything_decides_nothing() -> None:
    assert look_bounds((0.001, 1.0))[0] == pytest.approx(MOST)
    assert look_levels_at((0.001, 1.0))[1] == pytest.approx(0.95, abs=1e-6)


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.5, 0.5), (0.8, 0.4), (0.5, 1.2)])
def test_looks_at_no_rising_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="rising shares"):
        look_levels_at(fractions)


def test_an_error_is_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, and 5 is not"):
        look_levels(3, alpha=5)


@pytest.mark.parametrize("shares", [(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), (0.3, 0.35, 1.0)])
def test_intervals_of_those_levels_cover_at_all_looks_together(shares: tuple[float, ...]) -> None:
    random = np.random.default_rng(1)
    steps = np.sqrt(np.diff([0, *shares]))
    paths = (random.normal(size=(100_000, len(shares))) * steps).cumsum(axis=1) / np.sqrt(shares)
    outside = (np.abs(paths) > bounds(look_levels_at(shares))).any(axis=1).mean()
    # a standard error is 0.0007; looking ten times at 95% would miss in 19 of 100
    assert outside == pytest.approx(0.05, abs=0.003)


# ---- always valid ------------------------------------------------------------------------------------


@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.9])
def test_the_live_interval_covers_all_the_time(accuracy: float) -> None:
    random = np.random.default_rng(2)
    trials, n = 300, 1500
    covered = 0
    for _ in range(trials):
        right = np.cumsum(random.random(n) < accuracy)
        covered += all(
            low <= accuracy <= high
            for asked in range(2, n + 1, 7)
            for share in [float(right[asked - 1]) / asked]
            for low, high in [
                always_valid(asked, share, math.sqrt(share * (1 - share) * asked / (asked - 1)))
            ]
        )
    assert covered / trials > 0.92


def test_a_plain_interval_would_not() -> None:
    # what the test above would find if the interval was ± 1.96 standard errors
    random = np.random.default_rng(3)
    scores = random.random((300, 1500)) < 0.5
    counts = np.arange(1, 1501)
    off = np.abs(scores.cumsum(axis=1) / counts - 0.5) > 1.96 * 0.5 / np.sqrt(counts)
    assert off[:, 1::7].any(axis=1).mean() > 0.25


def test_the_live_interval_is_as_wide_as_its_formula() -> None:
    # by hand, theorem 2.2 of Waudby-Smith and others with many scores, where those added do not matter
    n, sd, alpha = 1_000_000, 2.0, 0.05
    log = -2 * math.log(alpha)
    rho2 = (log + math.log(log + 1)) / 500
    half = sd * math.sqrt(2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))
    low, high = always_valid(n, 5.0, sd, alpha)
    assert (low, high) == pytest.approx((5 - half, 5 + half), rel=1e-5)


def test_of_no_or_few_scores_hardly_anything_is_known() -> None:
    assert always_valid(0, 0.0, 0.0) == (-math.inf, math.inf)
    assert always_valid(1, 1.0, 0.0)[0] < 0
    widths = [high - low for low, high in (always_valid(n, 0.5, 0.5) for n in (1, 10, 100, 1000, 10_000))]
    assert all(wide > narrow for wide, narrow in pairwise(widths))


# ---- narrow enough -----------------------------------------------------------------------------------


def test_an_interval_is_narrow_enough_or_not() -> None:
    # 1.96 · 0.5 / √n = 0.03 at n = 1067; 1/n is added
    assert narrow_enough(1100, 0.5 / math.sqrt(1100), 0.03)
    assert not narrow_enough(1000, 0.5 / math.sqrt(1000), 0.03)


def test_a_few_scores_that_are_alike_are_not_enough() -> None:
    assert not narrow_enough(LEAST_ITEMS - 1, 0.0, 0.5)
    assert not narrow_enough(LEAST_ITEMS, 0.0, 0.015)
    assert narrow_enough(LEAST_ITEMS, 0.0, 0.02)


def test_stopping_when_it_is_narrow_enough_costs_no_coverage() -> None:
    random = np.random.default_rng(4)
    covered = []
    for _ in range(1500):
        scores = random.random(3000) < 0.8
        for asked in range(50, 3001, 50):
            share = float(scores[:asked].mean())
            error = math.sqrt(share * (1 - share) / (asked - 1))
            if narrow_enough(asked, error, 0.04):
                covered.append(abs(share - 0.8) <= 1.96 * error)
                break
    assert len(covered) == 1500
    assert 0.93 < np.mean(covered) < 0.97
