"""What came of each item stands in the run: told apart by content, packed small, and nothing lost."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from slmeval.api import Metric
from slmeval.document import from_document, to_document, to_json
from slmeval.errors import DataError
from slmeval.identities import identified
from slmeval.item_scores import Column, outcomes_of, value_of
from slmeval.packed_outcomes import from_packed, to_packed
from slmeval.tasks import MultipleChoice
from slmeval.testing import evaluate
from slmeval.types import CellResult, DatasetSpec, Figure, ItemScores, Outcomes, RunOptions, RunResult, Sample

TASKS = ("arc_easy", "hellaswag", "gsm8k")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outcomes") / "store.db"


def run(store: Path, **options: Any) -> RunResult:
    return evaluate(
        RunOptions(**{"backends": ("reference",), "limit": 6, "executor": "local", **options}), store
    )


@pytest.fixture(scope="module")
def whole(store: Path) -> RunResult:
    return run(store, tasks=TASKS)


def outcomes(cell: CellResult) -> Outcomes:
    assert cell.outcomes is not None
    return cell.outcomes


def test_each_figure_of_a_task_is_what_its_items_come_to(whole: RunResult) -> None:
    for cell in whole.cells:
        if cell.kind == "task":
            found = outcomes(cell)
            assert len(found.items) == cell.n == len(set(found.items))
            for figure in cell.figures:
                if figure.name in found.columns:
                    value = value_of(found.columns[figure.name])
                    assert value is not None
                    assert figure.value == pytest.approx(value, rel=1e-5)


def test_the_accuracies_and_the_bits_per_byte_are_among_them(whole: RunResult) -> None:
    arc = next(cell for cell in whole.cells if cell.name == "arc_easy")
    assert {"acc", "acc_norm", "bits_per_byte", "margin"} <= set(outcomes(arc).columns)


def test_a_question_is_the_same_with_other_examples_and_in_a_part_of_the_rows(
    whole: RunResult, store: Path
) -> None:
    shown = run(store, tasks=("arc_easy",), shots=(2,), limit=4).cells[0]
    arc = next(cell for cell in whole.cells if cell.name == "arc_easy")
    assert outcomes(shown).items == outcomes(arc).items[:4]


def test_a_group_has_none_of_its_own(store: Path) -> None:
    cells = run(store, tasks=("arc",)).cells
    assert all((cell.outcomes is None) == (cell.kind == "group") for cell in cells)


def test_a_run_comes_back_from_its_document(whole: RunResult) -> None:
    assert from_document(json.loads(to_json(whole))) == whole


# ---- items -------------------------------------------------------------------------------------------


def toy(cluster: str = "") -> MultipleChoice:
    return MultipleChoice(
        name="toy",
        version="1.0",
        dataset=DatasetSpec("toy", "test", ("q", "a", "right")),
        prompt=lambda row: row["q"],
        choices=lambda row: row["a"],
        gold=lambda row: row["right"],
        cluster=cluster,
    )


def row(question: str, **more: Any) -> dict[str, Any]:
    return {"q": question, "a": ["x", "y"], "right": 0, **more}


def items(task: MultipleChoice, rows: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    asked = [task.sample(each, ()) for each in rows]
    return [(sample.item, sample.cluster) for sample in identified(task, rows, asked)]


def test_what_a_task_does_not_need_of_a_row_makes_no_other_item() -> None:
    assert items(toy(), [row("one", idx=1)]) == items(toy(), [row("one", idx=2)])


def test_rows_that_are_alike_are_told_apart_by_their_order() -> None:
    first, second, third = (item for item, _ in items(toy(), [row("one"), row("two"), row("one")]))
    assert len({first, second, third}) == 3
    assert [item for item, _ in items(toy(), [row("one"), row("one")])] == [first, third]


def test_rows_of_a_task_of_ones_own_are_told_apart_by_all_they_hold_if_they_lack_its_fields() -> None:
    one, other = ({"text": text} for text in ("one", "other"))
    asked = [toy().sample(row("x"), ())]
    first, second, again = (next(identified(toy(), [each], asked)).item for each in (one, other, one))
    assert first != second
    assert first == again


@pytest.mark.parametrize("odd", [{1: "a", "b": 2}, {(1, 2): "a"}, b"bytes", {"one", "two", "three"}])
def test_rows_may_hold_what_json_does_not_know(odd: object) -> None:
    asked = [row("one", a=["x", "y"])]
    told = [next(identified(toy("p"), [{**asked[0], "q": odd, "p": odd}], samples(asked))) for _ in range(2)]
    assert told[0] == told[1]
    assert told[0].item != items(toy(), asked)[0][0]


def samples(rows: list[dict[str, Any]]) -> list[Sample]:
    return [toy().sample(each, ()) for each in rows]


def test_sets_are_told_alike_in_every_process() -> None:
    code = (
        "from slmeval.identities import _told; print(_told({'q': {'one', 'two', 'three', 'four', 'five'}}))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1


def test_long_arrays_are_told_apart() -> None:
    zeros = numpy.zeros(5000)
    other = zeros.copy()
    other[2500] = 1
    asked = [row("one")]
    first, second = (
        next(identified(toy(), [{**asked[0], "q": each}], samples(asked))) for each in (zeros, other)
    )
    assert first.item != second.item


def test_a_cluster_may_be_called_0() -> None:
    rows = [row(str(at), subject=subject) for at, subject in enumerate((0, 0, 1, None, None))]
    assert [cluster for _, cluster in items(toy("subject"), rows)] == [0, 0, 1, 2, 3]


def test_rows_of_one_passage_are_of_one_cluster_and_rows_without_one_are_not() -> None:
    rows = [row("1", passage="a"), row("2", passage=""), row("3", passage="a"), row("4", passage="")]
    assert [cluster for _, cluster in items(toy("passage"), rows)] == [0, 1, 0, 2]


# ---- packed ------------------------------------------------------------------------------------------

SOME = Outcomes(
    ("0123456789ab", "ba9876543210", "00ff00ff00ff"),
    {
        "acc": ItemScores((1.0, 0.0, 1.0)),
        "margin": ItemScores((0.5, None, -2.25)),
        "ppl": ItemScores((1.5, 2.5, 3.5), (1.0, 2.0, 4.0), "exp"),
    },
    (0, 1, 0),
)


def test_what_is_packed_is_unpacked() -> None:
    assert from_packed(json.loads(json.dumps(to_packed(SOME)))) == SOME


def test_scales() -> None:
    assert value_of(SOME.columns["ppl"]) == pytest.approx(math.exp((1.5 + 5 + 14) / 7))
    assert value_of(ItemScores((1.0, 3.0), (), "bits")) == pytest.approx(2 / math.log(2))
    assert value_of(ItemScores((None, None))) is None


def test_ten_thousand_items_are_small() -> None:
    many = Outcomes(tuple(f"{number:012x}" for number in range(10_000)), {"acc": ItemScores((1.0,) * 10_000)})
    assert len(json.dumps(to_packed(many))) < 82_000


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"items": "###"}, "items: it is no base64"),
        ({"items": "AAAA"}, "no whole number of hashes"),
        ({"clusters": "AAAA"}, "clusters: it holds 3 bytes, not 12"),
        ({"columns": {"acc": {"bits": "AAAA"}}}, "acc: it holds 3 bytes, not 1"),
        ({"columns": {"acc": {}}}, "acc: it has no scores"),
        ({"columns": {"acc": {"floats": "AADAfwAAAAAAAAAA"}}}, "acc: a score is nan"),
        ({"columns": {"acc": {"bits": "oA==", "scale": "cube"}}}, "acc: its scale is 'cube'"),
        ({"columns": []}, "columns is no object"),
        ({"more": 1}, "unknown 'more'"),
    ],
)
def test_damage_is_said_with_its_place(whole: RunResult, damage: dict[str, Any], told: str) -> None:
    document = to_document(replace(whole, cells=(replace(whole.cells[0], outcomes=SOME),)))
    document["cells"][0]["outcomes"].update(damage)
    with pytest.raises(DataError, match=r"cells\[0\]\.outcomes") as caught:
        from_document(document)
    assert told in str(caught.value)


# ---- metrics of strangers ------------------------------------------------------------------------------


def test_a_total_that_is_no_mean_of_its_scores_is_left_out() -> None:
    class Largest(Metric):
        name = "largest"

        def score(self, answer: Any) -> float:
            return 1.0

    asked = {place: Sample((), 0, item=f"{place:012x}") for place in range(2)}
    column = Column(Largest(), {0: 1.0, 1: 3.0}, {0: 1.0, 1: 1.0})
    told = [Figure("largest", 3.0, None, None, 2, "")]
    assert outcomes_of(asked, told, {"largest": column}) == Outcomes(
        tuple(s.item for s in asked.values()), {}
    )
    told = [Figure("largest", 2.0, None, None, 2, "")]
    found = outcomes_of(asked, told, {"largest": column})
    assert found is not None
    assert found.columns["largest"].scores == (1.0, 3.0)


@pytest.mark.parametrize(("scale", "weight"), [("log", 1.0), ("mean", 1e-60)])
def test_a_metric_of_no_known_scale_or_with_weights_of_nothing_is_left_out(scale: Any, weight: float) -> None:
    class Strange(Metric):
        name = "strange"

        def score(self, answer: Any) -> float:
            return 1.0

    metric = Strange()
    metric.scale = scale  # type: ignore[misc]
    asked = {place: Sample((), 0, item=f"{place:012x}") for place in range(2)}
    column = Column(metric, {0: 1.0, 1: 0.0}, {0: weight, 1: weight})
    found = outcomes_of(asked, [Figure("strange", 0.5, None, None, 2, "")], {"strange": column})
    assert found is not None
    assert found.columns == {}
    assert value_of(ItemScores((1.0, 0.0), (0.0, 0.0))) is None
