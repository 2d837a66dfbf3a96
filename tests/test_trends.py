"""Trends: what drifts is found, what only looks like it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmeval.trends import trend, verdict, verdict_of
from slmeval.types import Conditions

Series = list[float]


def noise(random: Random, n: int, size: float, alike: float = 0.0) -> Series:
    """``n`` values around 1 with a deviation of ``size``, each ``alike`` to the one before (AR(1))."""
    value = random.gauss(0, 1)
    found = []
    for _ in range(n):
        found.append(max(0.05, 1 + size * value))
        value = alike * value + (1 - alike**2) ** 0.5 * random.gauss(0, 1)
    return found


def drifting(make: Callable[[Random], Series], times: int = 200) -> float:
    """The share of series that are called drifting."""
    random = Random(4)
    return sum(verdict_of(make(random)) == "drifting" for _ in range(times)) / times


def stepped(values: Sequence[float], at: int, by: float) -> Series:
    return [value + by * (place >= at) for place, value in enumerate(values)]


def sloped(values: Sequence[float], by: float) -> Series:
    last = len(values) - 1
    return [value + by * place / last for place, value in enumerate(values)]


def burst(values: Sequence[float], at: int, size: int) -> Series:
    return [value * (2 if at <= place < at + size else 1) for place, value in enumerate(values)]


# ---- what is no drift --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 8, 12, 20, 30])
@pytest.mark.parametrize("size", [0.01, 0.03, 0.1])
def test_noise_is_stable(n: int, size: float) -> None:
    assert drifting(lambda random: noise(random, n, size)) <= 0.06


@pytest.mark.parametrize("n", [12, 20, 30])
@pytest.mark.parametrize(("alike", "most"), [(0.4, 0.09), (0.7, 0.17)])
def test_noise_that_is_alike_from_run_to_run_is_mostly_stable(n: int, alike: float, most: float) -> None:
    """Without a look at that, a third of the latter would be called drifting."""
    assert drifting(lambda random: noise(random, n, 0.03, alike)) <= most


@pytest.mark.parametrize("n", [12, 20, 30])
@pytest.mark.parametrize("place", ["begin", "middle", "end"])
def test_a_short_burst_makes_no_drift(n: int, place: str) -> None:
    size = n // 8
    at = {"begin": 0, "middle": (n - size) // 2, "end": n - size}[place]
    assert drifting(lambda random: burst(noise(random, n, 0.02), at, size)) <= 0.06


@given(st.integers(0, 19), st.floats(0.01, 100), st.integers(0, 1000))
def test_a_single_value_far_away_makes_no_drift(at: int, factor: float, seed: int) -> None:
    values = noise(Random(seed), 20, 0.005)
    values[at] *= factor
    assert verdict_of(values) == "stable"


def test_what_changes_by_little_is_stable_however_surely() -> None:
    found = trend(sloped([1.0] * 20, 0.04))
    assert (found.verdict, found.percent) == ("stable", pytest.approx(4))
    assert found.p < 0.001
    assert trend(sloped([1.0] * 20, 0.04), effect=3).verdict == "drifting"


def test_what_never_changes_is_stable() -> None:
    found = trend([0.5] * 6)
    assert (found.verdict, found.percent, found.low, found.high, found.p) == ("stable", 0, 0, 0, 1)
    assert found.told == ""


# ---- what is drift -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [12, 16, 20, 30])
@pytest.mark.parametrize(("by", "size"), [(0.2, 0.03), (1.0, 0.1), (-0.3, 0.03)])
@pytest.mark.parametrize("alike", [0.0, 0.4])
def test_a_step_in_the_middle_is_found(n: int, by: float, size: float, alike: float) -> None:
    assert drifting(lambda random: stepped(noise(random, n, size, alike), n // 2, by), 100) >= 0.95


@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_step_elsewhere_is_found(part: float) -> None:
    assert drifting(lambda random: stepped(noise(random, 20, 0.03), int(20 * part), 0.3), 100) >= 0.95


@pytest.mark.parametrize(("n", "by"), [(6, 0.3), (8, 0.2), (12, 0.15), (20, 0.15), (30, -0.15)])
def test_a_steady_slowing_down_is_found(n: int, by: float) -> None:
    assert drifting(lambda random: sloped(noise(random, n, 0.02), by), 100) >= 0.95


def test_a_step_is_told_with_its_place_and_size() -> None:
    found = trend(stepped([1.0, 1.01, 0.99, 1.0] * 5, 12, 0.5))
    assert (found.shape, found.at, found.n) == ("step", 12, 20)
    assert found.percent == pytest.approx(50, abs=1)
    assert found.low <= found.percent <= found.high
    assert found.told == "slower from value 13 of 20 on"


def test_a_slope_is_told_from_the_first_value_to_the_last() -> None:
    found = trend([2 * value for value in sloped([1.0, 1.002, 0.998, 1.0] * 5, -0.3)])
    assert (found.shape, found.percent) == ("ramp", pytest.approx(-30, abs=1))
    assert found.low < found.percent < found.high < 0
    assert found.told == "ever faster"


def test_of_a_few_values_a_steady_rise_is_found_and_a_step_cannot_be() -> None:
    """Three against three are so by chance in one of ten cases, whatever lies between them."""
    assert verdict_of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]) == "drifting"
    found = trend([1.0, 1.01, 0.99, 2.0, 2.01, 1.99])
    assert (found.verdict, found.told) == ("", "too uneven to tell a drift from chance")


def test_of_values_that_are_all_over_the_place_nothing_is_said() -> None:
    random = Random(2)
    verdicts = [verdict_of([random.expovariate(1) + 0.1 for _ in range(20)]) for _ in range(100)]
    assert verdicts.count("") > 90
    assert verdicts.count("stable") == 0


@pytest.mark.parametrize(("n", "size"), [(6, 0.01), (12, 0.03), (20, 0.05), (30, 0.05)])
def test_of_usual_noise_it_is_said_that_it_is_stable(n: int, size: float) -> None:
    random = Random(2)
    assert [verdict_of(noise(random, n, size)) for _ in range(100)].count("stable") >= 90


@pytest.mark.parametrize("n", [12, 20])
def test_the_interval_holds_the_slope(n: int) -> None:
    random = Random(n)

    def holds() -> bool:
        found = trend(sloped(noise(random, n, 0.02), 0.3))
        return found.shape == "step" or found.low <= 30 <= found.high

    assert sum(holds() for _ in range(400)) / 400 >= 0.93


def test_a_long_series_is_looked_at_in_blocks() -> None:
    random = Random(1)
    values = stepped(noise(random, 5000, 0.05), 3000, 0.3)
    found = trend(values)
    assert (found.verdict, found.n) == ("drifting", 5000)
    assert abs(found.at - 3000) < 100
    assert found.percent == pytest.approx(30, abs=2)
    assert verdict_of(noise(random, 5000, 0.05)) == "stable"


series = st.lists(st.floats(1e-6, 1e6), min_size=6, max_size=30)


# a power of two, so that nothing is rounded in another way
@given(series, st.sampled_from([0.5, 2.0, 1024.0]))
def test_the_unit_does_not_matter(values: Series, factor: float) -> None:
    assert trend(values) == trend([factor * value for value in values])


@given(series)
def test_the_percent_lies_within_its_interval(values: Series) -> None:
    found = trend(values)
    assert found.low <= found.percent <= found.high
    assert 0 <= found.p <= 1


# ---- what is no series -------------------------------------------------------------------------------


def test_of_too_few_values_nothing_is_said() -> None:
    assert verdict_of([1.0, 2.0, 3.0, 4.0, 5.0]) == ""
    with pytest.raises(ValueError, match="5 values are too few for a trend: 6 or more"):
        trend([1.0] * 5)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_of_what_is_no_time_nothing_is_said(wrong: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        trend([1.0] * 6 + [wrong])


# ---- throttled ---------------------------------------------------------------------------------------

SLOWER = trend(stepped([1.0, 1.01, 0.99] * 4, 6, 0.5))
FASTER = trend(stepped([1.0, 1.01, 0.99] * 4, 6, -0.4))
STEADY = trend([1.0, 1.01, 0.99] * 4)


def machine(**told: Sequence[float | None]) -> list[Conditions]:
    columns = dict(told)
    return [
        Conditions(float(at), **dict(zip(columns, row, strict=True)))
        for at, row in enumerate(zip(*columns.values(), strict=True))
    ]


FALLING_CLOCK = machine(clock=[3000.0] * 6 + [1800.0] * 6)
GETTING_HOT = machine(temperature=[60.0 + 3 * turn for turn in range(12)])


@pytest.mark.parametrize("conditions", [FALLING_CLOCK, GETTING_HOT])
def test_what_slows_down_with_the_clock_or_in_the_heat_is_throttled(conditions: list[Conditions]) -> None:
    assert verdict(SLOWER, conditions) == "throttled"
    assert verdict_of(stepped([1.0, 1.01, 0.99] * 4, 6, 0.5), conditions) == "throttled"


@pytest.mark.parametrize("conditions", [FALLING_CLOCK, GETTING_HOT])
def test_what_does_not_slow_down_is_not_throttled(conditions: list[Conditions]) -> None:
    assert verdict(STEADY, conditions) == "stable"
    assert verdict(FASTER, conditions) == "drifting"


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        machine(clock=[None] * 12),
        machine(clock=[3000.0] * 12),
        machine(clock=[3000.0] * 6 + [2900.0] * 6),
        # one reading that is low is that of a core at rest
        machine(clock=[3000.0] * 11 + [800.0]),
        machine(clock=[1800.0] * 6 + [3000.0] * 6),
        # warm, and far from its limit
        machine(temperature=[40.0 + 2 * turn for turn in range(12)]),
        machine(temperature=[90.0] * 12),
        # hot, and as fast as ever: the clock says what the heat can only suggest
        machine(clock=[3000.0] * 12, temperature=[60.0 + 3 * turn for turn in range(12)]),
        # another process took the cores, and with all of them at work the clock is lower
        machine(clock=[3000.0] * 6 + [1800.0] * 6, busy=[0.0] * 6 + [0.5] * 6),
        machine(clock=[3000.0, 1800.0]),
    ],
)
def test_what_slows_down_for_another_reason_is_drifting(conditions: list[Conditions]) -> None:
    assert verdict(SLOWER, conditions) == "drifting"
