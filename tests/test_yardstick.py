"""The yardstick: what it measures, and what it says of a machine then and now."""

from __future__ import annotations

import math
import random

import pytest

from slmeval.types import Conditions
from slmeval.yardstick import REPEATS, measure, pooled, swings


def around(seconds: float, seed: int, n: int = 16) -> tuple[float, ...]:
    chance = random.Random(seed)
    return tuple(seconds * math.exp(chance.gauss(0, 0.01)) for _ in range(n))


def test_each_kernel_is_measured_so_many_times() -> None:
    found = measure()
    assert list(found) == ["arithmetic", "memory"]
    for seconds in found.values():
        assert len(seconds) == REPEATS
        assert all(0 < each < 10 for each in seconds)
    assert {len(each) for each in measure(2).values()} == {2}


def test_all_that_was_measured_beside_a_probe_counts() -> None:
    conditions = [
        Conditions(0.0, yardstick={"arithmetic": (1.0, 2.0), "memory": (5.0,)}),
        Conditions(1.0),
        Conditions(2.0, yardstick={"arithmetic": (3.0,)}),
    ]
    assert pooled(conditions) == {"arithmetic": (1.0, 2.0, 3.0), "memory": (5.0,)}


def test_a_machine_that_is_as_it_was_and_one_that_is_not() -> None:
    before = {"arithmetic": around(0.003, 1), "memory": around(0.002, 2)}
    now = {"arithmetic": around(0.003, 3), "memory": around(0.0024, 4)}
    found = swings(before, now)
    assert list(found) == ["arithmetic", "memory"]
    assert found["arithmetic"].low < 1 < found["arithmetic"].high
    assert found["arithmetic"].value == pytest.approx(1, abs=0.01)
    assert found["memory"].low < 1.2 < found["memory"].high
    assert found["memory"].low > 1.15
    assert found["memory"].n == 16


def test_what_one_of_them_lacks_is_not_told() -> None:
    assert swings({"arithmetic": (1.0,), "memory": ()}, {"memory": (1.0,)}) == {}
    (alone,) = swings({"arithmetic": (1.0,)}, {"arithmetic": (1.0,)}).values()
    assert (alone.value, alone.low, alone.high) == (1.0, 0.0, math.inf)
