"""Two sides held against each other: what is comparable, which items are, and what comes of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from example_runs import cell, model, run

from slmeval import paired
from slmeval.averages import group_figures
from slmeval.comparability import unlike
from slmeval.comparison import Wanted, compare
from slmeval.default_rules import _texts
from slmeval.differences import Comparison, FigureDifference
from slmeval.errors import UnknownName, UsageError
from slmeval.matching import Unpaired, match, pairs_of, values_of
from slmeval.paired import Pairs
from slmeval.plan import GroupCell
from slmeval.sides import Side, chosen, labelled, opposite, sides_of
from slmeval.statistics import mean_figure
from slmeval.types import CellResult, Figure, Group, ItemScores, Outcomes, RunResult, Stop

SCORES = (1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0)
WORSE = (1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)


def hashes(n: int, start: int = 0) -> tuple[str, ...]:
    return tuple(f"{place:012x}" for place in range(start, start + n))


def task(
    scores: tuple[float | None, ...] = SCORES,
    name: str = "arc_easy",
    items: tuple[str, ...] = (),
    columns: dict[str, ItemScores] | None = None,
    clusters: tuple[int, ...] = (),
    **changes: Any,
) -> CellResult:
    """A cell with ``acc``, and whatever ``columns`` name beside it, of which nobody says what is better."""
    known = [score for score in scores if score is not None]
    figure = mean_figure("acc", known, proportion=True)
    others = tuple(Figure(each, 1.0, None, None, len(scores), "nats") for each in columns or {})
    outcomes = Outcomes(
        items or hashes(len(scores)), {"acc": ItemScores(scores), **(columns or {})}, clusters
    )
    return cell(name, n=len(scores), **{"figures": (figure, *others), "outcomes": outcomes, **changes})


def result(*cells: CellResult, **changes: Any) -> RunResult:
    return run(**{"cells": cells or (task(),), **changes})


def side(*cells: CellResult, **changes: Any) -> Side:
    (found,) = sides_of(result(*cells, **changes))
    return found


def held(first: Side, second: Side, **wanted: Any) -> Comparison:
    (found,) = compare([(first, second)], Wanted(**wanted))
    return found


def only(found: Comparison) -> FigureDifference:
    (figure,) = found.figures
    return figure


# ---- a figure --------------------------------------------------------------------------------------------


def test_a_figure_has_its_change_its_items_and_its_p() -> None:
    found = only(held(side(), side(task(WORSE))))
    pairs = paired.Pairs(SCORES, WORSE)
    assert (found.label, found.first, found.second, found.n) == ("arc_easy@0/acc", 0.625, 0.375, 8)
    assert (found.gained, found.lost) == (1, 3)
    assert found.change == paired.contrast(pairs)
    assert found.p == found.p_holm == pytest.approx(0.625), "2 × (1 + 4) / 2⁴"
    assert found.detectable == paired.detectable(pairs)


def test_items_are_matched_by_their_hash_and_not_by_their_place() -> None:
    turned = task(SCORES[::-1], items=hashes(8)[::-1])
    assert unlike(side(), task(), side(turned), turned) == []
    found = only(held(side(), side(turned)))
    assert (found.gained, found.lost, found.change and found.change.value) == (0, 0, 0.0)


def test_items_without_a_score_on_one_side_do_not_count() -> None:
    found = only(held(side(), side(task((None, *SCORES[1:-1], None)))))
    assert (found.n, found.first, found.second) == (6, 0.5, 0.5)


def test_where_less_is_better_gained_means_less() -> None:
    def bits(*scores: float) -> CellResult:
        figure = mean_figure("bits_per_byte", scores, unit="bits/byte", higher_is_better=False)
        outcomes = Outcomes(hashes(4), {"bits_per_byte": ItemScores(scores)})
        return cell(n=4, figures=(figure,), outcomes=outcomes)

    found = only(held(side(bits(2, 2, 2, 2)), side(bits(1, 1, 1, 3))))
    assert (found.gained, found.lost, found.p) == (3, 1, None)
    assert found.change is not None
    assert found.change.value == -0.5


def test_items_that_belong_together_are_tested_as_one() -> None:
    clusters = (0, 0, 0, 0, 1, 1, 2, 2)
    found = only(held(side(task(clusters=clusters)), side(task(WORSE, clusters=clusters))))
    # passage 0 lost one, passage 1 gained one, passage 2 lost two: one of three gained
    assert found.p == 1.0
    assert found.change is not None
    assert found.change.clusters == 3


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (task(outcomes=Outcomes(hashes(8), {})), "arc_easy@0/acc is not made of scores by item"),
        (
            task(outcomes=Outcomes(hashes(8), {"acc": ItemScores((None,) * 8)})),
            "no item has a score of arc_easy@0/acc on both sides",
        ),
        (
            task(outcomes=Outcomes(hashes(8), {"acc": ItemScores(SCORES, scale="exp")})),
            "arc_easy@0/acc is made of its scores in two ways: mean, exp",
        ),
        (
            task(outcomes=Outcomes(hashes(8), {"acc": ItemScores((math.nan, *SCORES[1:]))})),
            "a score of arc_easy@0/acc or its weight is no number",
        ),
        (task((math.nan, *SCORES[1:])), "arc_easy@0/acc is unavailable: it has no value"),
        (
            task(figures=(Figure("acc", None, None, None, 0, "", "unavailable", "nothing was found"),)),
            "arc_easy@0/acc is unavailable: nothing was found",
        ),
    ],
)
def test_a_figure_that_cannot_be_paired_says_why(second: CellResult, reason: str) -> None:
    (pair,) = match(side(), side(second)).cells
    with pytest.raises(Unpaired, match=reason):
        pairs_of(pair, "acc")
    found = only(held(side(), side(second)))
    assert (found.change, found.note) == (None, reason)


def test_weights_that_are_none_are_no_weights() -> None:
    odd = task(outcomes=Outcomes(hashes(8), {"acc": ItemScores(SCORES, (0.0,) * 8)}))
    assert only(held(side(odd), side(odd))).note == "a score of arc_easy@0/acc or its weight is no number"


# ---- what is shown ---------------------------------------------------------------------------------------


def of_figures(*names: str) -> CellResult:
    figures = tuple(mean_figure(name, SCORES, proportion=True) for name in names)
    return cell(n=8, figures=figures, outcomes=Outcomes(hashes(8), {n: ItemScores(SCORES) for n in names}))


@pytest.mark.parametrize(
    ("names", "wanted", "shown"),
    [
        (("acc", "acc_bytes", "acc_norm", "x"), (), ["acc", "acc_norm"]),
        (("acc_bytes",), (), ["acc_bytes"]),
        (("odd/a", "odd/b", "odd/c"), (), ["odd/a", "odd/b"]),
        (("acc", "acc_bytes", "acc_norm"), ("all",), ["acc", "acc_bytes", "acc_norm"]),
        (("acc", "acc_bytes", "acc_norm"), ("acc_*",), ["acc_bytes", "acc_norm"]),
    ],
)
def test_of_many_figures_the_accuracies_are_shown(
    names: tuple[str, ...], wanted: tuple[str, ...], shown: list[str]
) -> None:
    found = held(side(of_figures(*names)), side(of_figures(*names)), figures=wanted)
    assert [each.figure for each in found.figures] == shown


def test_a_task_without_accuracies_shows_its_first_figure() -> None:
    def texts() -> CellResult:
        names = ("word_perplexity", "byte_perplexity")
        figures = tuple(Figure(name, 9.0, None, None, 8, "", higher_is_better=False) for name in names)
        columns = {name: ItemScores(SCORES, scale="exp") for name in names}
        return cell(figures=figures, outcomes=Outcomes(hashes(8), columns))

    found = only(held(side(texts()), side(texts())))
    assert (found.figure, found.p) == ("word_perplexity", None)


def test_unknown_tasks_and_figures_are_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown task 'arc_eazy': did you mean 'arc_easy"):
        held(side(), side(), tasks=("arc_eazy",))
    with pytest.raises(UnknownName, match="unknown figure 'ac': did you mean 'acc'"):
        held(side(), side(), figures=("ac",))


def test_holm_counts_one_test_for_each_task() -> None:
    many, few = (1.0,) * 12, (0.0,) * 9 + (1.0,) * 3
    names = ("a", "b", "c")
    found = held(side(*(task(many, name) for name in names)), side(*(task(few, name) for name in names)))
    assert [each.p for each in found.figures] == [pytest.approx(2 / 2**9)] * 3
    assert [each.p_holm for each in found.figures] == [pytest.approx(3 * 2 / 2**9)] * 3


def test_memory_stands_side_by_side_and_timings_are_left_to_the_gate() -> None:
    def probe(name: str, *figures: Figure, **settings: Any) -> CellResult:
        return cell(name, kind="probe", figures=figures, outcomes=None, settings=settings)

    peak = Figure("peak", 90.0, None, None, 1, "MiB", higher_is_better=False)
    speed = Figure("tokens_per_s", 50.0, 1.0, (48.0, 52.0), 9, "tokens/s", higher_is_better=True)
    first = side(task(), probe("memory", peak), probe("decode", speed, depth=8))
    second = side(task(), probe("memory", replace(peak, value=70.0)), probe("decode", speed, depth=9))
    found = held(first, second)
    told = [(each.label, each.first, each.second, each.change) for each in found.figures[1:]]
    assert told == [("memory/peak", 90.0, 70.0, None)]
    assert found.notes == (
        "memory: measured once on each side, which gives no interval",
        "decode: what two runs timed is not compared: slmeval gate --against measures both sides in turn",
        "decode: not measured alike: setting depth: 8 and 9",
    )
    everything = held(first, second, figures=("all",))
    assert [each.label for each in everything.figures][1:] == ["memory/peak", "decode/tokens_per_s"]


# ---- what is comparable ----------------------------------------------------------------------------------


def other_settings(**changes: Any) -> Side:
    return side(options=replace(run().options, **changes))


def chat(shots: int = 0, **changes: Any) -> CellResult:
    return task(chat="on", shots=shots, **changes)


WRITTEN = replace(task(), figures=(*task().figures, Figure("cap_hit", 0.0, None, None, 8, "")))


@pytest.mark.parametrize(
    ("first", "second", "differences"),
    [
        (side(), side(task(version="2.0")), ["task version: 1.0 and 2.0"]),
        (side(), side(task(shots=5)), ["shots: 0 and 5"]),
        (side(task(shots=5)), side(task(shots=5, seed=7)), ["seed of the shots: 1234 and 7"]),
        (side(), side(task(seed=7)), []),
        (
            side(task(shots=5)),
            side(task(shots=5, data=replace(task().data, shots_sha256="c4" * 32))),
            ["rows of the shots: b2b2b2b2b2b2 and c4c4c4c4c4c4"],
        ),
        (side(), side(chat()), ["chat template: off and on"]),
        (
            side(chat(), models=(model(template_hash="aa" * 32),)),
            side(chat(), models=(model(template_hash="bb" * 32),)),
            ["text of the chat template: aaaaaaaaaaaa and bbbbbbbbbbbb"],
        ),
        (
            side(models=(model(template_hash="aa" * 32),)),
            side(models=(model(template_hash="bb" * 32),)),
            [],
        ),
        (side(), other_settings(compat="lm-eval"), ["compat: none and lm-eval"]),
        (side(), other_settings(temperature=0.7), []),
        (side(task(repeats=1)), side(task(repeats=4)), ["repeats: 1 and 4"]),
        (
            side(WRITTEN),
            side(WRITTEN, options=replace(run().options, temperature=0.7, max_tokens=9, top_p=0.5)),
            ["max tokens: none and 9", "temperature: 0.0 and 0.7", "top p: 1.0 and 0.5"],
        ),
        (
            side(chat()),
            side(chat(), options=replace(run().options, template_options={"a": "1"}, chat_shots="message")),
            ["template options: none and a=1"],
        ),
        (
            side(chat(5)),
            side(chat(5), options=replace(run().options, chat_shots="message")),
            ["chat shots: turns and message"],
        ),
        (side(), side(task(SCORES[:5])), ["items: 8 and 5, of which 5 are the same"]),
        (side(), side(task(items=hashes(8, 4))), ["items: 8 and 8, of which 4 are the same"]),
        (side(), side(task(data=replace(task().data, sha256="c4" * 32))), []),
    ],
)
def test_what_was_not_asked_alike_is_refused_and_told(
    first: Side, second: Side, differences: list[str]
) -> None:
    assert unlike(first, first.cells[0], second, second.cells[0]) == differences
    if not differences:
        held(first, second)
        return
    with pytest.raises(UsageError) as refused:
        held(first, second)
    assert all(each in str(refused.value) for each in differences)
    assert "are not comparable" in str(refused.value)
    assert "--shared" in str(refused.value)
    shared = held(first, second, shared=True)
    assert [any(each in note for note in shared.notes) for each in differences] == [True] * len(differences)
    assert only(shared).change is not None


def test_one_difference_of_many_tasks_is_told_once() -> None:
    names = [f"task_{number}" for number in range(9)]
    first, second = (side(*(task(name=each, version=told) for each in names)) for told in ("1", "2"))
    with pytest.raises(
        UsageError,
        match=r"comparable: task version: 1 and 2 \(task_0@0, task_1@0, task_2@0, task_3@0 and 5 more\):",
    ):
        held(first, second)
    with pytest.raises(UsageError, match=r"1 and 2 \(task_3@0\)"):
        held(first, second, tasks=("task_3",))


def test_what_a_rule_ended_early_is_compared_without_asking() -> None:
    stop = Stop(5, 8, 2, 4, 0.99, "narrow enough")
    short = task(SCORES[:5], stop=stop)
    found = held(side(), side(short))
    assert only(found).n == 5
    assert found.notes == ("arc_easy@0: its asking was ended early; compared on the 5 items of both",)
    strange = task(SCORES[:5], items=hashes(5, 6), stop=stop)
    with pytest.raises(UsageError, match="items: 8 and 5, of which 2 are the same"):
        held(side(), side(strange))
    later = task(SCORES[3:], items=hashes(5, 3), stop=stop)
    assert only(held(side(short), side(later))).n == 2
    elsewhere = replace(later, data=replace(later.data, sha256="c4" * 32))
    with pytest.raises(UsageError, match="items: 5 and 5, of which 2 are the same"):
        held(side(short), side(elsewhere))


def test_items_that_have_nothing_in_common_are_no_comparison() -> None:
    found = held(side(), side(task(items=hashes(8, 100))), shared=True)
    assert only(found).note == "no item of arc_easy@0 is on both sides"


def test_cells_of_one_side_alone_are_noted() -> None:
    found = held(side(task(), task(name="piqa")), side(task(), task(name="arc_easy", shots=5)))
    assert [each.label for each in found.figures] == ["arc_easy@0/acc"]
    assert found.notes == (
        "piqa@0: on one side only (20260801-101500-ab12#reference:tiny)",
        "arc_easy@5: on one side only (20260801-101500-ab12#reference:tiny)",
    )
    with pytest.raises(UsageError, match="have no task in common"):
        held(side(task(name="piqa")), side())


def test_a_run_that_kept_no_scores_by_item_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match="slmeval rescore 20260801-101500-ab12 makes a run that does"):
        held(side(task(outcomes=None)), side())


def test_a_task_of_one_side_and_items_of_neither_are_not_told_as_compared() -> None:
    with pytest.raises(UsageError, match=r"has it, and .* has not"):
        compare([(side(task(), task(name="more")), side(task()))], Wanted(tasks=("more",)))
    other = task(items=hashes(8, 500))
    (found,) = compare([(side(task()), side(other))], Wanted(shared=True))
    assert [(each.change, each.n) for each in found.figures] == [(None, 0)] * len(found.figures)


# ---- groups ----------------------------------------------------------------------------------------------


def grouped(over: Any, *members: CellResult, name: str = "arc") -> CellResult:
    """The cell of a group, as a run makes it."""
    keys = tuple((each.name, each.shots) for each in members)
    planned = GroupCell(
        Group(name, tuple(each.name for each in members), average=("acc",), over=over), 0, keys
    )
    figures = group_figures(planned, {(each.name, each.shots): each for each in members}, {"acc"})
    return replace(
        members[0],
        kind="group",
        name=name,
        outcomes=None,
        figures=figures,
        members=tuple(each.name for each in members),
        n=sum(each.n for each in members),
        over=over,
    )


def small(*scores: float) -> CellResult:
    return task(scores, name="small", items=hashes(len(scores), 50))


@pytest.mark.parametrize("over", ["rows", "members"])
def test_a_group_is_put_together_from_its_members(over: str) -> None:
    def whole(scores: tuple[float, ...], few: CellResult) -> Side:
        return side(task(scores), few, grouped(over, task(scores), few))

    first, second = whole(SCORES, small(1.0, 0.0)), whole(WORSE, small(1.0, 1.0))
    pair = match(first, second).cells[-1]
    pairs = pairs_of(pair, "acc")
    assert list(pairs.strata) == [0] * 8 + [1] * 2
    assert values_of(pairs) == pytest.approx(
        (first.cells[2].figures[0].value, second.cells[2].figures[0].value)
    )
    told = {each.label: each for each in held(first, second).figures}
    assert set(told) == {"arc_easy@0/acc", "small@0/acc", "arc@0/acc"}
    assert (told["arc@0/acc"].gained, told["arc@0/acc"].lost) == (2, 3)
    assert (told["arc@0/acc"].p is None) == (over == "members"), (
        "items that count differently have no McNemar"
    )


def test_a_group_of_groups_counts_as_its_own_means_do() -> None:
    def whole(scores: tuple[float, ...]) -> Side:
        one, two, three = task(scores), small(1.0, 0.0), task(scores[:4], name="other")
        inner = grouped("members", one, two, name="inner")
        return side(one, two, three, inner, grouped("members", inner, three, name="outer"))

    first, second = whole(SCORES), whole(WORSE)
    pair = match(first, second).cells[-1]
    pairs = pairs_of(pair, "acc")
    assert len(set(pairs.strata)) == 3
    assert values_of(pairs) == pytest.approx(
        (first.cells[4].figures[0].value, second.cells[4].figures[0].value)
    )


def test_clusters_of_a_groups_members_are_not_mixed_up() -> None:
    together = task(clusters=(0, 0, 1, 1, 2, 2, 3, 3))
    few = small(1.0, 0.0)
    whole = side(together, few, grouped("rows", together, few))
    assert list(pairs_of(match(whole, whole).cells[-1], "acc").clusters) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]


@pytest.mark.parametrize("over", ["rows", "members"])
def test_the_parts_of_one_data_set_are_its_clusters_where_they_are_many(over: str) -> None:
    def whole(count: int) -> Pairs:
        parts = [
            task((1.0, 0.0), name=f"part_{number}", items=hashes(2, 100 + 2 * number))
            for number in range(count)
        ]
        of_group = side(*parts, grouped(over, *parts, name="whole"))
        return pairs_of(match(of_group, of_group).cells[-1], "acc")

    by_part = [number for number in range(10) for _ in range(2)]
    many, few = whole(10), whole(9)
    assert (list(many.clusters), list(many.strata)) == ((by_part, []) if over == "rows" else ([], by_part))
    assert (list(few.clusters), list(few.strata)) == ([], by_part[:18])


def test_a_group_that_lacks_a_member_or_is_no_mean_says_so() -> None:
    few = small(1.0, 0.0)
    whole = side(task(), few, grouped("rows", task(), few))
    lacking = held(whole, replace(whole, cells=(whole.cells[0], whole.cells[2])))
    assert lacking.figures[-1].note == "arc@0 has members on one side that the other lacks"
    odd = replace(whole.cells[2], figures=(replace(whole.cells[2].figures[0], value=0.01),))
    strange = replace(whole, cells=(*whole.cells[:2], odd))
    assert held(strange, strange).figures[-1].note == "arc@0/acc is no mean of its members' figures"


def test_members_of_a_large_group_are_shown_where_they_stand_out() -> None:
    def whole(last: float) -> Side:
        names = [f"m{number}" for number in range(12)]
        scores = [(1.0,) * 20] * 11 + [(last,) * 20]
        cells = [task(each, name) for each, name in zip(scores, names, strict=True)]
        return side(*cells, grouped("members", *cells))

    found = held(whole(1.0), whole(0.0))
    assert [each.task for each in found.figures] == ["m11", "arc"]
    assert found.notes[0].startswith("11 members of arc@0 are left out")
    assert len(held(whole(1.0), whole(0.0), tasks=("*",)).figures) == 13


# ---- sides -----------------------------------------------------------------------------------------------


def several(*models: tuple[str, str], run_id: str = "r") -> RunResult:
    return result(*(task(backend=backend, model=label) for backend, label in models), id=run_id)


def names(pairs: Any) -> list[tuple[str, str]]:
    return [(str(one), str(other)) for one, other in pairs]


def test_one_run_holds_its_first_side_against_the_others() -> None:
    sides = sides_of(several(("hf", "a"), ("hf", "b"), ("mlx", "a")))
    assert names(opposite([sides])[0]) == [("r#hf:a", "r#hf:b"), ("r#hf:a", "r#mlx:a")]
    with pytest.raises(UsageError, match="r#hf:a has nothing to be compared with: name a second run"):
        opposite([sides[:1]])


def test_single_sides_are_compared_whatever_they_are_called() -> None:
    one, other = sides_of(several(("hf", "a"))), sides_of(several(("mlx", "b"), run_id="s"))
    assert names(opposite([one, other])[0]) == [("r#hf:a", "s#mlx:b")]
    three = sides_of(several(("hf", "c"), ("hf", "d"), run_id="t"))
    assert names(opposite([one, three, other])[0]) == [
        ("r#hf:a", "t#hf:c"),
        ("r#hf:a", "t#hf:d"),
        ("r#hf:a", "s#mlx:b"),
    ]


def test_of_several_sides_those_of_one_name_are_compared() -> None:
    one = sides_of(several(("hf", "a"), ("hf", "b")))
    other = sides_of(several(("hf", "b"), ("mlx", "a"), run_id="s"))
    pairs, notes = opposite([one, other])
    assert names(pairs) == [("r#hf:b", "s#hf:b")]
    assert notes == (
        "r#hf:a has none opposite, and was left out",
        "s#mlx:a has none opposite, and was left out",
    )
    with pytest.raises(
        UsageError, match=r"no side of s \(mlx:x, mlx:y\) is called as one of r \(hf:a, hf:b\)"
    ):
        opposite([one, sides_of(several(("mlx", "x"), ("mlx", "y"), run_id="s"))])


def test_a_side_is_picked_by_its_engine_or_its_model() -> None:
    sides = sides_of(several(("hf", "a"), ("hf", "b"), ("mlx", "a")))
    assert [str(each) for each in chosen(sides, "hf")] == ["r#hf:a", "r#hf:b"]
    assert [str(each) for each in chosen(sides, "mlx:a")] == ["r#mlx:a"]
    with pytest.raises(UnknownName, match="unknown side 'hf:c': did you mean 'hf:"):
        chosen(sides, "hf:c")
    with pytest.raises(UsageError, match="there has no results to compare"):
        sides_of(run(cells=()), "there")


@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        (several(("hf", "a")), several(("hf", "b")), ["a", "b"]),
        (several(("hf", "a")), several(("mlx", "a")), ["a · hf", "a · mlx"]),
        (several(("hf", "a")), several(("hf", "a"), run_id="s"), ["r", "s"]),
        (several(("hf", "a")), several(("hf", "a")), ["a (1)", "a (2)"]),
    ],
)
def test_sides_are_called_as_short_as_tells_them_apart(
    first: RunResult, second: RunResult, labels: list[str]
) -> None:
    (one,), (other,) = sides_of(first), sides_of(second)
    (found,) = labelled([(one, other)])
    assert [each.label for each in found] == labels


def test_a_side_that_is_compared_twice_keeps_its_label() -> None:
    (one,), (other,) = sides_of(several(("hf", "a"))), sides_of(several(("hf", "b")))
    found = labelled([(one, other), (one, one), (other, one)])
    assert [[side.label for side in pair] for pair in found] == [["a", "b"], ["a (1)", "a (2)"], ["b", "a"]]
    (called,) = sides_of(several(("hf", "a")), "main.json")
    assert [side.label for side in labelled([(one, called)])[0]] == ["r#hf:a", "main.json#hf:a"]


# ---- items that changed ----------------------------------------------------------------------------------


def margins(*scores: float) -> dict[str, ItemScores]:
    return {"margin": ItemScores(scores)}


def test_items_that_changed_are_listed_with_their_margins_the_worse_first() -> None:
    first = task(columns=margins(*range(8)))
    second = task(WORSE, columns=margins(*range(10, 18)))
    found = held(side(first), side(second), items=9)
    told = [
        (flip.row, flip.before, flip.after, flip.margin_before, flip.margin_after) for flip in found.flips
    ]
    assert told == [(1, 1, 0, 1, 11), (6, 1, 0, 6, 16), (7, 1, 0, 7, 17), (5, 0, 1, 5, 15)]
    assert {flip.task for flip in found.flips} == {"arc_easy@0"}
    assert found.flips[0].item == hashes(8)[1]
    short = held(side(first), side(second), items=1)
    assert len(short.flips) == 1
    assert short.notes == ("1 of each task are listed (--items N), and more changed: 4 of arc_easy@0/acc",)
    assert held(side(first), side(second)).flips == ()


def test_a_groups_items_are_those_of_its_members_and_rows_of_random_draws_are_not_guessed() -> None:
    stop = Stop(8, 20, 2, 4, 0.99, "narrow enough")
    few = task((1.0, 1.0), name="small", items=hashes(2, 50), stop=stop)
    lost = task((1.0, 0.0), name="small", items=hashes(2, 50), stop=stop)
    first, second = (side(task(), each, grouped("rows", task(), each)) for each in (few, lost))
    found = held(first, second, tasks=("arc",), items=5)
    assert [(flip.task, flip.item, flip.row) for flip in found.flips] == [("small@0", hashes(1, 51)[0], None)]


def test_a_task_whose_figures_have_no_better_side_shows_its_first() -> None:
    column = {"min_k": ItemScores(SCORES)}
    undirected = Figure("min_k", 0.625, None, None, len(SCORES), "nats/token")
    alone = [task(figures=(undirected,), outcomes=Outcomes(hashes(len(SCORES)), column)) for _ in range(2)]
    found = held(side(alone[0]), side(alone[1]))
    assert [figure.figure for figure in found.figures] == ["min_k"]
    assert not [*_texts(match(side(alone[0]), side(alone[1])).cells)]
