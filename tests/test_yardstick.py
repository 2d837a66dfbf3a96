"""The yardstick: what it measures, and what it says of a machine then and now."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from slmeval.baselines import baseline_of
from slmeval.excess import Spread, above_other
from slmeval.gating import judge
from slmeval.medians import median_figure
from slmeval.rules import parse_rule
from slmeval.sides import Place
from slmeval.timing_rules import Swing, is_timing, steadied
from slmeval.types import (
    CellResult,
    Conditions,
    DataOrigin,
    Machine,
    ModelInfo,
    ModelReport,
    RunOptions,
    RunResult,
)
from slmeval.verdicts import Judged
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


# ---- timing rules ------------------------------------------------------------------------------------

HERE = Place("Some CPU", "cpu")
SPEED, WAIT = "tokens/s", "ms/token"


def cell(values: list[float], unit: str = SPEED, slower: float = 1.0, seed: int = 0) -> CellResult:
    """A probe's, on a machine that takes so much longer than another."""
    figure = median_figure("speed", values, unit=unit)
    told = {"arithmetic": around(0.003 * slower, seed), "memory": around(0.002 * slower, seed + 1)}
    return CellResult(
        "probe", "decode", "1", "engine", "model", 0, 1, len(values), False, (figure,), {},
        DataOrigin("random tokens", "", 0), conditions=(Conditions(0.0, yardstick=told),),
    )  # fmt: skip


def run_of(one: CellResult, place: Place = HERE, run: str = "now") -> RunResult:
    info = ModelInfo("Toy", 1, 1, "float32", place.device, 64, 8, "toy", "1")
    report = ModelReport("model", "engine", "model", "", "", "", {}, info)
    machine = Machine("Linux", place.processor, 2, 1, "3.11")
    return RunResult(run, "", "", "done", False, RunOptions(), {}, machine, (report,), (one,))


def judged(text: str, now: RunResult, before: RunResult) -> Judged:
    (found,) = judge(now, [parse_rule(text)], before).judged
    return found


FAST = [100.0, 101, 102, 103, 104, 105, 106]
SLOW = [80.0, 81, 82, 83, 84, 85, 86]
RULE = "decode/speed >= 0.95 * baseline"


@pytest.mark.parametrize(("now", "answer"), [(FAST, "pass"), (SLOW, "fail")])
def test_a_timing_rule_is_decided_on_the_machine_as_it_was(now: list[float], answer: str) -> None:
    found = judged(RULE, run_of(cell(now, seed=5)), run_of(cell(FAST), run="before"))
    assert found.answer == answer, found.sentence


@pytest.mark.parametrize("now", [FAST, SLOW])
@pytest.mark.parametrize("slower", [1.2, 0.8])
def test_it_is_not_on_one_that_is_not_what_it_was(now: list[float], slower: float) -> None:
    found = judged(RULE, run_of(cell(now, slower=slower, seed=5)), run_of(cell(FAST), run="before"))
    assert found.answer == "inconclusive"
    assert "the machine has changed, or who else is on it" in found.sentence
    assert "gate --against" in found.sentence


@pytest.mark.parametrize("bare", ["now", "before"])
def test_without_a_yardstick_nothing_is_decided(bare: str) -> None:
    cells = {"now": cell(FAST), "before": cell(FAST)}
    cells[bare] = replace(cells[bare], conditions=(Conditions(0.0),))
    found = judged(RULE, run_of(cells["now"]), run_of(cells["before"], run="before"))
    assert found.answer == "inconclusive"
    whose = {"now": "the run", "before": "the baseline"}[bare]
    assert f"{whose} has no yardstick of its machine beside decode" in found.sentence


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (Place("Other CPU", "cpu"), "of another machine (Other CPU)"),
        (
            Place("Some CPU", "cuda:0"),
            "on cuda:0, and the yardstick tells of the processor alone",
        ),
        (Place("Some CPU", ""), "the model was on a device that is not told"),
    ],
)
def test_another_processor_or_a_device_that_it_knows_nothing_of_is_not_decided(
    place: Place, told: str
) -> None:
    found = judged(RULE, run_of(cell(FAST)), run_of(cell(FAST), place, "before"))
    assert (found.answer, told in found.sentence) == ("inconclusive", True), found.sentence


def test_an_uneven_yardstick_decides_nothing() -> None:
    uneven = {"arithmetic": tuple(0.003 * (1 + turn % 4) for turn in range(16)), "memory": around(0.002, 1)}
    now = replace(cell(FAST), conditions=(Conditions(0.0, yardstick=uneven),))
    before = replace(cell(FAST), conditions=(Conditions(0.0, yardstick=uneven),))
    found = judged(RULE, run_of(now), run_of(before, run="before"))
    assert found.answer == "inconclusive"
    assert "too uneven to tell" in found.sentence


def test_what_is_no_time_needs_no_yardstick() -> None:
    now, before = (replace(cell(FAST, "MiB"), conditions=()) for _ in range(2))
    found = judged("decode/speed <= 1.05 * baseline", run_of(now), run_of(before, run="before"))
    assert found.answer == "pass"
    (figure,) = now.figures
    assert not is_timing(figure)
    assert all(is_timing(replace(figure, unit=unit)) for unit in ("s", "ms", WAIT, SPEED, "J", "W"))


@pytest.mark.parametrize(("unit", "factor"), [(SPEED, 0.95), (WAIT, 1.05)])
def test_the_answer_holds_wherever_the_machine_may_be(unit: str, factor: float) -> None:
    before, now = cell(FAST, unit), cell(FAST, unit)
    by = Swing(0.97, 1.02)
    plain = above_other(Spread(now, now.figures[0]), Spread(before, before.figures[0]))
    wide = steadied(plain, now.figures[0], by)(factor, 0.0, 0.95)
    bare = plain(factor, 0.0, 0.95)
    # of a rate the baseline would be lower where all times are longer, of a time higher
    least, most = (1 / 1.02, 1 / 0.97) if unit == SPEED else (0.97, 1.02)
    assert wide.value == bare.value
    assert wide.low == pytest.approx(plain(factor * most, 0.0, 0.95).low)
    assert wide.high == pytest.approx(plain(factor * least, 0.0, 0.95).high)
    assert wide.low < bare.low < bare.high < wide.high


def test_a_baseline_file_keeps_the_yardstick() -> None:
    written = baseline_of(run_of(cell(FAST), run="before"))
    assert pooled(written.cells[0].conditions) == pooled(cell(FAST).conditions)
    (found,) = judge(run_of(cell(SLOW, seed=5)), [parse_rule(RULE)], written).judged
    assert found.answer == "fail"
