"""Warming up and repeating, by a scripted clock: nothing here takes time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, cycle
from itertools import repeat as forever
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmeval.medians import half_width, median_interval
from slmeval.repeating import Repeats, Rules, repeat, warm_up

RULES = Rules()


class Scripted:
    """Runs that take the seconds of a script, by a clock of their own."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self._seconds: Iterator[float] = iter(seconds)
        self.now = 100.0

    def run(self) -> float:
        seconds = next(self._seconds)
        self.now += seconds
        return seconds

    def clock(self) -> float:
        return self.now


def repeated(seconds: Iterable[float], rules: Rules = RULES) -> Repeats[float]:
    scripted = Scripted(seconds)
    return repeat(scripted.run, float, rules, clock=scripted.clock)


def warmed(seconds: Iterable[float], rules: Rules = RULES) -> tuple[tuple[float, ...], bool]:
    scripted = Scripted(seconds)
    return warm_up(scripted.run, float, rules, clock=scripted.clock)


# ---- warming up --------------------------------------------------------------------------------------


def test_it_is_warm_when_two_runs_are_no_faster_than_those_before() -> None:
    assert warmed([0.5, 0.4, 0.3, 0.2, 0.2, 0.2, 0.1]) == ((0.5, 0.4, 0.3, 0.2, 0.2, 0.2), True)


def test_what_is_warm_from_the_start_takes_three_runs() -> None:
    assert warmed(forever(0.1)) == ((0.1,) * 3, True)


def test_one_slow_run_does_not_end_the_warm_up() -> None:
    falling = (0.5, 0.4, 0.9, 0.3, 0.2, 0.1, 0.1, 0.1)
    assert warmed(falling) == (falling, True)


def test_what_gets_faster_by_less_than_the_noise_is_warm() -> None:
    assert len(warmed([1.0, 0.99, 0.985])[0]) == 3
    assert len(warmed([1.0, 0.97, 0.94, 0.94, 0.94])[0]) == 5


def test_what_gets_ever_faster_is_not_warmed_for_ever() -> None:
    runs, settled = warmed(0.9**turn / 100 for turn in range(99))
    assert (len(runs), settled) == (RULES.warm_most, False)


def test_slow_runs_are_warmed_up_twice_at_least() -> None:
    runs, settled = warmed(forever(60.0))
    assert (len(runs), settled) == (2, True)


@pytest.mark.parametrize(
    ("runs", "settled"),
    [
        ((60.0, 65.0), True),
        ((60.0, 59.5), True),
        ((60.0, 50.0), False),
        ((1.9, 1.5, 1.5), True),
        ((1.9, 1.5, 1.4), False),
    ],
)
def test_a_warm_up_that_the_budget_ends_is_settled_by_its_last_run(
    runs: tuple[float, ...], settled: bool
) -> None:
    assert warmed(runs) == (runs, settled)


def test_of_a_single_run_no_gain_is_told() -> None:
    assert warmed(forever(60.0), Rules(warm_least=1)) == ((60.0,), True)


def test_what_was_not_warm_is_said() -> None:
    done = repeated(0.9**turn / 100 for turn in range(99))
    assert not done.settled
    assert done.notes == ("it was still getting faster after 10 warm-up runs",)
    assert repeated(chain([60.0], forever(50.0))).notes == (
        "it was still getting faster after 2 warm-up runs",
    )
    assert repeated(forever(0.1)).notes == repeated(forever(60.0)).notes == ()


# ---- repeating ---------------------------------------------------------------------------------------


def test_it_ends_when_the_interval_is_narrow_twice_in_a_row() -> None:
    done = repeated(forever(0.1))
    assert (len(done.warmups), len(done.kept), done.ended, done.narrow) == (3, 7, "narrow", True)


def test_a_wide_interval_needs_more_runs() -> None:
    done = repeated(chain([0.1] * 3, [0.1, 0.13, 0.1, 0.1, 0.1], forever(0.1)))
    # of nine values the second smallest and the second largest count, so that one far away does no harm
    assert (len(done.kept), done.ended) == (10, "narrow")


def test_there_are_no_more_than_the_most() -> None:
    done = repeated(cycle([0.1, 0.11, 0.12]))
    assert (len(done.kept), done.ended, done.narrow) == (30, "most", False)


def test_when_the_budget_is_over_there_are_six_all_the_same() -> None:
    done = repeated(cycle([60.0, 70.0, 80.0]))
    assert (len(done.warmups), len(done.kept), done.ended) == (2, 6, "budget")


def test_the_budget_ends_what_is_not_narrow() -> None:
    done = repeated(cycle([0.9, 1.0, 1.1]), Rules(budget=9.5))
    assert (len(done.kept), done.ended) == (10, "budget")


def test_the_value_may_be_another_than_the_run() -> None:
    scripted = Scripted(forever(0.1))
    done = repeat(lambda: {"seconds": scripted.run()}, lambda run: run["seconds"], clock=scripted.clock)
    assert done.kept[0] == {"seconds": 0.1}


def test_what_a_run_raises_goes_through() -> None:
    with pytest.raises(StopIteration):
        repeated([0.1] * 5)


@given(st.integers(0, 10_000), st.floats(0.001, 0.3), st.floats(0.01, 20))
def test_the_rules_hold_whatever_comes(seed: int, noise: float, budget: float) -> None:
    random = Random(seed)
    rules = Rules(budget=budget)
    scripted = Scripted(iter(lambda: 1 + noise * random.random(), None))
    done = repeat(scripted.run, float, rules, clock=scripted.clock)
    assert rules.warm_least <= len(done.warmups) <= rules.warm_most
    assert rules.least <= len(done.kept) <= rules.most
    if done.ended == "narrow":
        assert half_width(done.kept) <= rules.narrow
    elif done.ended == "most":
        assert len(done.kept) == rules.most
    else:
        assert len(done.kept) == rules.least or sum(done.kept[:-1]) < budget <= sum(done.kept)


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.03, 0.05])
def test_stopping_when_it_is_narrow_does_not_make_the_interval_too_narrow(noise: float) -> None:
    random = Random(7)

    def holds() -> bool:
        done = repeat(lambda: 1 + noise * random.gauss(0, 1), float, Rules(budget=1e9), clock=lambda: 0.0)
        low, high = median_interval(done.kept)
        return low <= 1 <= high

    count = 600
    # three standard errors below 95%
    assert sum(holds() for _ in range(count)) / count > 0.923


@pytest.mark.parametrize(
    "wrong",
    [{"least": 5}, {"most": 5}, {"warm_least": 0}, {"warm_most": 1}, {"warm_window": 0}],
)
def test_rules_that_no_interval_can_come_of_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"repeats|warmed"):
        Rules(**wrong)  # type: ignore[arg-type]
