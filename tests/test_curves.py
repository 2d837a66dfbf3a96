"""Gains and slopes over shots, means of groups: against numbers worked out by other means."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from slmeval import hookimpl
from slmeval.averages import group_figures
from slmeval.plan import GroupCell
from slmeval.statistics import bonett_price, gain_figure, slope, wilson
from slmeval.testing import evaluate
from slmeval.types import CellResult, DataOrigin, Figure, Group, RunOptions, RunResult

ICL = ("icl_copy", "icl_recall", "icl_labels", "icl_classify")


# ---- statistics --------------------------------------------------------------------------------------


def test_a_paired_interval_is_bonett_and_prices() -> None:
    # 100 pairs, 23 gained and 7 lost: (24 - 8)/102 ± 1.96 √((32/102 - (16/102)²)/102)
    low, high = bonett_price(23, 7, 100)
    assert (low, high) == pytest.approx((0.052514, 0.261211), abs=2e-6)
    before = [0.0] * 23 + [1.0] * 7 + [1.0] * 30 + [0.0] * 40
    after = [1.0] * 23 + [0.0] * 7 + [1.0] * 30 + [0.0] * 40
    figure = gain_figure("acc_gain", before, after)
    assert (figure.value, figure.ci95, figure.n) == (pytest.approx(0.16), (low, high), 100)


def test_without_a_single_change_the_interval_still_has_a_width() -> None:
    figure = gain_figure("acc_gain", [1.0] * 10, [1.0] * 10)
    assert (figure.value, figure.stderr) == (0, 0)
    assert figure.ci95 is not None
    assert figure.ci95[0] < -0.1 < 0.1 < figure.ci95[1]


def test_scores_between_have_the_normal_interval() -> None:
    figure = gain_figure("acc_gain", [0.25, 0.5, 0.5], [0.75, 0.5, 1.0])
    assert figure.value == pytest.approx(1 / 3)
    assert figure.stderr == pytest.approx(1 / 6)
    assert figure.ci95 == pytest.approx((1 / 3 - 1.96 / 6, 1 / 3 + 1.96 / 6), abs=1e-4)
    assert gain_figure("acc_gain", [], []).source == "unavailable"


def test_a_slope_is_that_of_least_squares() -> None:
    numpy = pytest.importorskip("numpy")
    shots, values = [0, 1, 2, 5], [0.25, 0.5, 0.25, 1.0]
    assert slope(shots, values) == pytest.approx(numpy.polyfit(shots, values, 1)[0])


# ---- groups ------------------------------------------------------------------------------------------


def cell(name: str, *figures: Figure) -> CellResult:
    origin = DataOrigin("made", "00", 10)
    return CellResult("task", name, "1", "b", "m", 5, 1, 10, False, figures, {}, origin)


def figure(value: float, stderr: float, n: int, name: str = "acc") -> Figure:
    return Figure(name, value, stderr, (0.0, 1.0), n, "", higher_is_better=True)


CELLS = {
    ("one", 5): cell("one", figure(0.5, 0.05, 100), figure(0.1, 0.04, 100, "acc_gain")),
    ("two", 5): cell("two", figure(0.9, 0.015, 400), figure(0.3, 0.02, 400, "acc_gain")),
}


def test_over_members_each_counts_the_same() -> None:
    group = GroupCell(Group("g", (), average=("acc",)), 5, (("one", 5), ("two", 5)))
    acc, gain = group_figures(group, CELLS, {"acc"})
    assert (acc.value, acc.n) == (pytest.approx(0.7), 500)
    assert acc.stderr == pytest.approx(math.sqrt(0.05**2 + 0.015**2) / 2)
    assert acc.ci95 == pytest.approx(wilson(0.7, 0.21 / acc.stderr**2))
    assert (gain.name, gain.value) == ("acc_gain", pytest.approx(0.2))
    assert gain.stderr == pytest.approx(math.sqrt(0.04**2 + 0.02**2) / 2)
    assert gain.ci95 == pytest.approx((0.2 - 1.96 * gain.stderr, 0.2 + 1.96 * gain.stderr), abs=1e-5)


def test_over_rows_it_is_as_if_all_were_one_data_set() -> None:
    group = GroupCell(Group("g", (), average=("acc",), over="rows"), 5, (("one", 5), ("two", 5)))
    acc = group_figures(group, CELLS, {"acc"})[0]
    assert acc.value == pytest.approx((100 * 0.5 + 400 * 0.9) / 500)
    # variances of single scores, pooled with their degrees of freedom
    pooled = (99 * 100 * 0.05**2 + 399 * 400 * 0.015**2) / 498
    assert acc.stderr == pytest.approx(math.sqrt(pooled / 500))


def test_without_one_member_there_is_no_mean() -> None:
    group = GroupCell(Group("g", (), average=("acc",)), 5, (("one", 5), ("gone", 5), ("lost", 5)))
    acc, gain = group_figures(group, CELLS, {"acc"})
    assert (acc.value, acc.source, acc.note) == (
        None,
        "unavailable",
        "there is none of gone and 1 more members",
    )
    assert gain.value is None


# ---- in a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The in-context tasks on the demo model, at four numbers of shots, with a mean of all."""
    group = Group("my_icl", ICL, average=("acc", "greedy"), version="7")
    plugin = SimpleNamespace(slmeval_register_groups=hookimpl(lambda: [group]))
    options = RunOptions(backends=("reference",), tasks=("my_icl",), shots=(0, 1, 2, 5), sample=True)
    return evaluate(options, tmp_path_factory.mktemp("curve") / "store.db", {"mine": plugin})


def by_name(run: RunResult, name: str, shots: int) -> dict[str, Figure]:
    (found,) = (each for each in run.cells if (each.name, each.shots) == (name, shots))
    return {figure.name: figure for figure in found.figures}


@pytest.mark.parametrize("name", ICL)
def test_the_demo_model_learns_from_examples(curve: RunResult, name: str) -> None:
    at = {shots: by_name(curve, name, shots) for shots in (0, 1, 2, 5)}
    values = [at[shots]["acc"].value or 0.0 for shots in (0, 5)]
    assert "acc_gain" not in at[0]
    for shots in (1, 2, 5):
        gain = at[shots]["acc_gain"]
        assert gain.value == pytest.approx((at[shots]["acc"].value or 0.0) - values[0])
        assert ("acc_slope" in at[shots]) == (shots == 5)
    gain, rise = at[5]["acc_gain"], at[5]["acc_slope"]
    assert gain.ci95 is not None
    assert rise.ci95 is not None
    print(f"{name}: {values[0]:.3f} to {values[1]:.3f}, gain {gain.value:.3f} in {gain.ci95}")
    assert gain.ci95[0] > 0
    assert rise.ci95[0] > 0
    accuracies = [at[shots]["acc"].value for shots in (0, 1, 2, 5)]
    assert rise.value == pytest.approx(slope([0, 1, 2, 5], [each or 0.0 for each in accuracies]))


def test_a_group_has_the_means_and_the_gains_of_its_members(curve: RunResult) -> None:
    group = curve.cells[-1]
    assert (group.kind, group.name, group.version, group.shots, group.members) == (
        "group",
        "my_icl",
        "7",
        5,
        ICL,
    )
    figures = {figure.name: figure for figure in group.figures}
    for name in ("acc", "acc_gain", "acc_slope"):
        members = [by_name(curve, task, 5)[name] for task in ICL]
        assert figures[name].value == pytest.approx(sum(each.value or 0.0 for each in members) / 4)
        assert figures[name].n == sum(each.n for each in members)
    # no member has such a figure
    assert figures["greedy"].source == "unavailable"
    assert group.n == sum(each.n for each in curve.cells if each.kind == "task" and each.shots == 5)
