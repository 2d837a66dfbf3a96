"""Medians: their intervals enclose the truth as often as they say, whatever the noise is like."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from statistics import median, pstdev, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmeval.medians import (
    PERCENTILES,
    covered,
    depth,
    exact_figure,
    half_width,
    joined,
    median_error,
    median_figure,
    median_interval,
    percentiles,
    spread_interval,
    unavailable,
)

Draw = Callable[[Random], float]

normal: Draw = lambda random: random.gauss(0, 1)  # noqa: E731
skewed: Draw = lambda random: random.expovariate(1) - math.log(2)  # noqa: E731
#: nine of ten are near, one is far away, on one side or the other
bursts: Draw = lambda random: random.gauss(0, 1) * (100 if random.random() < 0.1 else 1)  # noqa: E731

positive = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=40)


def share(count: int, holds: Callable[[], bool]) -> float:
    return sum(holds() for _ in range(count)) / count


# ---- the interval ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "deep", "percent"),
    # the ranks that tables of the sign test give, and how often they hold the median
    [(6, 1, 96.88), (8, 1, 99.22), (9, 2, 96.09), (10, 2, 97.85), (20, 6, 95.86), (30, 10, 95.72)],
)
def test_the_ranks_are_those_of_the_binomial_distribution(n: int, deep: int, percent: float) -> None:
    assert depth(n) == deep
    assert 100 * covered(n, deep) == pytest.approx(percent, abs=0.005)
    assert covered(n, deep + 1) < 0.95


def test_the_ranks_of_a_long_series_are_found() -> None:
    # (n - 1.96 √n)/2, as the normal distribution has it
    assert depth(20_000) == pytest.approx(10_000 - 0.98 * math.sqrt(20_000), abs=2)


@pytest.mark.parametrize("draw", [normal, skewed, bursts])
@pytest.mark.parametrize("n", [6, 9, 17, 30])
def test_the_interval_holds_the_median_in_95_of_100_cases(draw: Draw, n: int) -> None:
    random = Random(n)

    def holds() -> bool:
        low, high = median_interval([draw(random) for _ in range(n)])
        return low <= 0 <= high

    found = share(2000, holds)
    # three standard errors below 95%
    assert found > 0.935
    assert found == pytest.approx(covered(n, depth(n)), abs=0.015)


@pytest.mark.parametrize("draw", [normal, skewed, bursts])
def test_the_error_is_that_of_medians_drawn_again_and_again(draw: Draw) -> None:
    random = Random(5)
    drawn = [[draw(random) for _ in range(30)] for _ in range(2000)]
    errors = median([median_error(values) for values in drawn])
    assert errors == pytest.approx(pstdev([median(values) for values in drawn]), rel=0.12)


@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_the_error_of_a_few_values_errs_on_the_safe_side(n: int) -> None:
    random = Random(n)
    drawn = [[normal(random) for _ in range(n)] for _ in range(3000)]
    mean = sum(map(median_error, drawn)) / len(drawn)
    assert 1 < mean / pstdev([median(values) for values in drawn]) < 1.4


# ---- figures -----------------------------------------------------------------------------------------


def test_a_figure_says_all_there_is_to_say() -> None:
    figure = median_figure(
        "latency", [3, 1, 2, 6, 5, 4], unit="ms", higher_is_better=False, note="so", verdict="stable"
    )
    assert (figure.value, figure.ci95, figure.n, figure.unit, figure.source) == (
        3.5,
        (1, 6),
        6,
        "ms",
        "measured",
    )
    assert (figure.note, figure.verdict, figure.higher_is_better) == ("so", "stable", False)
    assert figure.percentiles == {
        "p5": 1.25,
        "p25": 2.25,
        "p75": 4.75,
        "p95": 5.75,
        "p99": pytest.approx(5.95),
    }
    # from the smallest to the largest are 2 z standard errors, where 1 of 64 is beyond z
    assert figure.stderr == pytest.approx(5 / (2 * 2.153875))


@pytest.mark.parametrize(("n", "percent"), [(2, "50.0"), (3, "75.0"), (5, "93.8")])
def test_the_interval_of_a_few_values_says_how_much_it_is_worth(n: int, percent: str) -> None:
    figure = median_figure("x", range(n), unit="s", note="so")
    assert figure.ci95 == (0, n - 1)
    assert figure.note == f"so; the interval of {n} values covers {percent}%"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "nothing was measured"),
        ([1.0], "one value has no error to give"),
        ([1.0, math.inf], "a value that was measured is not a finite number"),
        ([1.0, math.nan] * 5, "a value that was measured is not a finite number"),
    ],
)
def test_where_there_is_no_error_there_is_no_figure(values: list[float], reason: str) -> None:
    assert median_figure("x", values, unit="s") == unavailable("x", "s", reason)


def test_an_unavailable_figure_has_no_value_and_a_reason() -> None:
    figure = unavailable("x", "s", "why")
    assert (figure.value, figure.stderr, figure.ci95, figure.n) == (None, None, None, 0)
    assert (figure.source, figure.note) == ("unavailable", "why")


def test_what_is_counted_is_exact() -> None:
    figure = exact_figure("bytes", 12.0, unit="B", n=3, source="estimated", note="by arithmetic")
    assert (figure.value, figure.stderr, figure.ci95, figure.n) == (12, 0, (12, 12), 3)
    assert (figure.source, figure.note) == ("estimated", "by arithmetic")


@given(positive)
def test_every_figure_lies_within_its_interval(values: list[float]) -> None:
    figure = median_figure("x", values, unit="s")
    assert figure.value is not None
    assert figure.ci95 is not None
    assert figure.stderr is not None
    low, high = figure.ci95
    assert min(values) <= low <= figure.value <= high <= max(values)
    assert figure.stderr >= 0
    assert list(figure.percentiles) == [f"p{each}" for each in PERCENTILES]


@given(positive, st.floats(1e-3, 1e3))
def test_another_unit_changes_the_numbers_alone(values: list[float], factor: float) -> None:
    one, other = (median_figure("x", each, unit="s") for each in (values, [factor * v for v in values]))
    assert one.value is not None
    assert one.ci95 is not None
    assert other.value == pytest.approx(factor * one.value)
    assert other.ci95 == pytest.approx(tuple(factor * end for end in one.ci95))


@given(positive)
def test_percentiles_rise_and_do_not_mind_the_order(values: list[float]) -> None:
    found = percentiles(values)
    assert list(found.values()) == sorted(found.values())
    assert found == percentiles(values[::-1])
    # the tolerance is that of interpolating between two floats
    assert min(values) * (1 - 1e-12) <= found["p5"] <= found["p99"] <= max(values) * (1 + 1e-12)


def test_half_the_width_is_a_share_of_the_median() -> None:
    assert half_width([9, 10, 10, 10, 10, 11]) == pytest.approx(0.1)
    assert half_width([-1, 0, 0, 0, 0, 1]) == math.inf


def test_notes_are_put_together() -> None:
    assert joined("", "one", "", "two") == "one; two"
    assert joined() == ""


# ---- how much values differ --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "truth", "least"),
    # of 20 values with a long tail too few are in it
    [(normal, 1.0, 0.93), (lambda random: random.random(), 12**-0.5, 0.93), (skewed, 1.0, 0.85)],
)
def test_the_interval_of_the_deviation_holds_it(draw: Draw, truth: float, least: float) -> None:
    random = Random(9)

    def holds() -> bool:
        _, low, high = spread_interval([draw(random) for _ in range(20)])
        return low <= truth <= high

    assert share(2000, holds) > least


def test_the_error_of_the_deviation_is_that_of_deviations_drawn_again_and_again() -> None:
    random = Random(11)
    drawn = [[normal(random) for _ in range(30)] for _ in range(2000)]
    found = median([spread_interval(values)[0] for values in drawn])
    assert found == pytest.approx(pstdev([stdev(values) for values in drawn]), rel=0.15)


@given(st.lists(st.floats(1, 1000), min_size=6, max_size=40, unique=True))
def test_the_deviation_lies_within_its_interval(values: list[float]) -> None:
    error, low, high = spread_interval(values)
    assert error >= 0
    assert low <= stdev(values) <= high
