"""What a gate could not decide is measured again: more items, more texts, more values, and no further."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toys
from gate_runs import of, probe, scored, scores, weights
from random_models import TINY_LLAMA, write_model

from slmeval import endings
from slmeval.confirming import Bench, Confirmed, Gate, confirm
from slmeval.errors import UsageError
from slmeval.growing import Growth, further, growth_of
from slmeval.paired import Pairs, contrast
from slmeval.registry import load
from slmeval.rules import parse_rule
from slmeval.sequences import look_levels, look_levels_at
from slmeval.store import Store
from slmeval.testing import Silent, evaluate
from slmeval.types import (
    CellResult,
    DataOrigin,
    Figure,
    ItemScores,
    Outcomes,
    RunOptions,
    RunResult,
    Stop,
)

ROWS = 400
PROBE = '''
"""A probe whose values are others each time."""
import os
from pathlib import Path
from slmeval import hookimpl
from slmeval.api import Option, Probe
from slmeval.medians import median_figure
from slmeval.types import Measurement, Series

VALUES = [float(value) for value in os.environ.get("ROOM_VALUES", "1").split()]


class Room(Probe):
    name, version, needs, workers = "room", "1.0", frozenset(), 3
    options = (Option("walls", str, "thin", "of what they are"),)

    def demand(self, settings):
        return None

    def measure(self, session):
        log = Path(os.environ["ROOM_LOG"])
        seen = len(log.read_text()) if log.exists() else 0
        log.write_text("x" * (seen + 1))
        return Measurement((Series("room", "MiB", (VALUES[seen % len(VALUES)],)),))

    def figures(self, settings, series):
        return [median_figure("room", series["room"].values, unit="MiB", higher_is_better=False)]


@hookimpl
def slmeval_register_probes():
    return [Room()]
'''


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """A run of the toy engine over made-up rows."""
    from test_tokenizing import words

    plugin, model, rows = (tmp_path / name for name in ("plugin", "model", "data/arc_easy"))
    for folder in (plugin, rows):
        folder.mkdir(parents=True)
    monkeypatch.setenv("ROOM_LOG", str(tmp_path / "room"))
    monkeypatch.setenv("ROOM_VALUES", "180 200 190 189 188 189")
    toys.install(plugin, monkeypatch)
    toys.install(plugin, monkeypatch, PROBE, "roomplugin")
    write_model(model, TINY_LLAMA)
    words(model, bos=True)
    lines = [
        {
            "id": str(number),
            "question": " ".join(f"{digit}" for digit in f"{number}"),
            "choices": {"text": ["two", "three"], "label": ["A", "B"]},
            "answerKey": "AB"[number % 2],
        }
        for number in range(ROWS)
    ]
    for split in ("test", "train"):
        (rows / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return RunOptions(
        backends=("toy",),
        models=(str(model),),
        tasks=("arc_easy",),
        data=str(tmp_path / "data"),
        timeout=120,
        limit=50,
        executor="local",
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def bench(store: Path, options: RunOptions) -> Iterator[Bench]:
    with Store.open(store) as opened:
        yield Bench(load(()), opened, Silent())


def flipped(run: RunResult, gained: int, lost: int) -> RunResult:
    """The run as it was before so many of its items were gained, and so many lost, all over its rows."""
    (cell,) = run.cells
    assert cell.outcomes is not None
    before = [score or 0.0 for score in cell.outcomes.columns["acc"].scores]
    places = random.Random(5).sample(range(len(before)), len(before))
    for score, count in ((1.0, gained), (0.0, lost)):
        for place in [place for place in places if before[place] == score][:count]:
            before[place] = 1.0 - score
    outcomes = Outcomes(cell.outcomes.items, {"acc": ItemScores(tuple(before))})
    figures = tuple(
        replace(each, value=sum(before) / len(before)) if each.name == "acc" else each
        for each in cell.figures
    )
    return replace(run, id="before", cells=(replace(cell, figures=figures, outcomes=outcomes),))


def gate(*rules: str, baseline: RunResult | None = None, **options: Any) -> Gate:
    return Gate([parse_rule(rule) for rule in rules], baseline, **options)


def confirmed(options: RunOptions, bench: Bench, store: Path, times: int, before: Gate) -> Confirmed:
    return confirm(evaluate(options, store), before, times, bench)


# ---- more items ------------------------------------------------------------------------------------------


def test_more_items_are_asked_until_a_rule_is_decided(options: RunOptions, bench: Bench, store: Path) -> None:
    whole = evaluate(replace(options, limit=None), store)
    worse = flipped(whole, gained=0, lost=48)
    found = confirmed(
        options, bench, store, 3, gate("arc_easy/acc >= baseline - 1pt", baseline=worse, shared=True)
    )
    (judged,) = found.report.judged
    assert judged.answer == "fail"
    assert judged.excess is not None
    assert judged.excess.n in (100, 200, 400)
    assert not found.failures
    again = found.report.notes[-1].partition("measured again as run ")[2].partition(":")[0]
    made = bench.store.run(again)
    assert (made.status, made.asked) == ("done", 0)  # all its answers were in the store already
    assert made.cells[0].n == made.options.limit == judged.excess.n


def test_looks_that_are_used_up_are_told_with_their_wider_interval(
    options: RunOptions, bench: Bench, store: Path
) -> None:
    whole = evaluate(replace(options, limit=None), store)
    worse = flipped(whole, gained=20, lost=22)
    found = confirmed(options, bench, store, 2, gate("arc_easy/acc >= baseline", baseline=worse, shared=True))
    (judged,) = found.report.judged
    assert judged.answer == "inconclusive"
    assert judged.sentence.endswith("--confirm 2 is used up")
    assert judged.excess is not None
    assert judged.excess.n == 200
    assert judged.excess.level == look_levels_at((0.25, 0.5, 1.0))[2]
    assert sum("measured again as run" in note for note in found.report.notes) == 2


def test_all_items_asked_is_the_end(options: RunOptions, bench: Bench, store: Path) -> None:
    whole = evaluate(replace(options, limit=None), store)
    before = gate("arc_easy/acc >= baseline", baseline=flipped(whole, gained=20, lost=22), shared=True)
    found = confirmed(replace(options, limit=150), bench, store, 9, before)
    assert found.report.judged[0].sentence.endswith("the baseline has no more items")
    plain = confirmed(replace(options, limit=None), bench, store, 9, before)
    assert "there is no more to ask: all 400 items were asked" in plain.report.judged[0].sentence
    assert plain.report.judged[0].excess is not None
    assert plain.report.judged[0].excess.level == 0.95
    assert not any("again" in note for note in plain.report.notes)


def test_what_was_asked_in_chat_is_told_its_own_end(bench: Bench) -> None:
    run = of(scored("arc_easy", scores(60, 0.5)), scored("arc_easy", scores(40, 0.5), chat="on"))
    plain, chat = confirm(run, gate("arc_easy/acc >= 50%"), 0, bench).report.judged
    assert "all 60 items were asked" in plain.sentence
    assert "all 40 items were asked" in chat.sentence


def test_what_is_decided_is_not_measured_again(options: RunOptions, bench: Bench, store: Path) -> None:
    run = evaluate(options, store)
    found = confirm(run, gate("arc_easy/acc >= 0.001"), 3, bench)
    assert (found.report.answer, found.report.notes) == ("pass", ())
    assert len(bench.store.runs()) == 1


def test_the_last_run_is_the_users(options: RunOptions, bench: Bench, store: Path) -> None:
    run = evaluate(options, store)
    found = confirm(run, gate("arc_easy/acc >= 0.45"), 1, bench)
    assert len(bench.store.runs()) == 2
    again = next(each.id for each in bench.store.runs() if each.id != run.id)
    assert again in found.report.notes[0]
    assert bench.store.full_id("last") == run.id
    assert bench.store.run(again).id == again
    with pytest.raises(UsageError, match="there is no run last~1"):
        bench.store.full_id("last~1")


def test_rows_that_end_before_the_data_set_does_are_all_asked(
    options: RunOptions, bench: Bench, store: Path
) -> None:
    found = confirm(evaluate(replace(options, limit=300), store), gate("arc_easy/acc >= 0.5"), 1, bench)
    # the data set has 2,376 rows, and the folder 400
    assert "arc_easy@0 with 400 items" in found.report.notes[0]
    assert "all 400 items were asked" in found.report.judged[0].sentence
    assert found.report.judged[0].excess is not None
    assert found.report.judged[0].excess.level == look_levels_at((0.75, 1.0))[1]


def test_a_baseline_without_more_items_decides_no_more(
    options: RunOptions, bench: Bench, store: Path
) -> None:
    run = evaluate(options, store)
    found = confirm(run, gate("arc_easy/acc >= baseline", baseline=flipped(run, 5, 4)), 3, bench)
    assert found.report.answer == "inconclusive"
    assert found.report.judged[0].sentence.endswith("the baseline has no more items")


def test_a_model_that_is_gone_is_told(options: RunOptions, bench: Bench, store: Path, tmp_path: Path) -> None:
    run = evaluate(options, store)
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=f"--confirm cannot measure run {run.id} again"):
        confirm(run, gate("arc_easy/acc >= 0.5"), 1, bench)


def test_a_failure_on_the_way_is_told_beside_what_was_known(
    options: RunOptions, bench: Bench, store: Path
) -> None:
    run = evaluate(options, store)
    broken = replace(run, options=replace(options, engine_options={"trouble": "error"}))
    found = confirm(broken, gate("arc_easy/acc >= 0.5"), 2, bench)
    assert "ValueError: one line" in found.failures[0].reason
    assert found.report.answer == "inconclusive"


def test_a_task_of_a_file_is_asked_again_by_its_file(
    options: RunOptions, bench: Bench, store: Path, tmp_path: Path
) -> None:
    rows = [{"q": f"{number}", "a": ["two", "three"], "right": number % 2} for number in range(120)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file = tmp_path / "own.toml"
    file.write_text('rows = "rows.jsonl"\nprompt = "{q}"\nchoices = "{a}"\nanswer = "{right}"\n')
    run = evaluate(replace(options, tasks=(str(file),), data=None), store)
    found = confirm(run, gate("own/acc >= 0.5"), 1, bench)
    assert any("own@0 with 100 items" in note for note in found.report.notes)


# ---- more texts ------------------------------------------------------------------------------------------


def test_texts_that_are_drawn_are_asked_for_again(
    options: RunOptions, bench: Bench, store: Path, tmp_path: Path, demo_model: Path
) -> None:
    rows = [{"q": f"{number}", "a": "never"} for number in range(5)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file = tmp_path / "texts.toml"
    file.write_text('rows = "texts.jsonl"\nprompt = "{q}"\ntarget = "{a}"\nmax_tokens = 2\n')
    drawn = replace(
        options,
        backends=("reference",),
        models=(str(demo_model),),
        tasks=(str(file),),
        data=None,
        limit=None,
        temperature=0.7,
    )
    found = confirm(evaluate(drawn, store), gate("texts/exact_match/whole_text >= 0.2"), 2, bench)
    told = [note.rpartition(": ")[2] for note in found.report.notes]
    assert told == ["texts@0 with 2 texts for each question", "texts@0 with 4 texts for each question"]
    assert found.report.judged[0].sentence.endswith("--confirm 2 is used up")


# ---- more values of a probe ------------------------------------------------------------------------------


def test_a_probe_is_measured_again_and_its_values_join(
    options: RunOptions, bench: Bench, store: Path
) -> None:
    both = replace(options, tasks=("room", "arc_easy"), engine_options={"room.walls": "thick", "pace": "0"})
    run = evaluate(both, store)
    found = confirm(run, gate("room/room <= 210 MiB"), 1, bench)
    (judged,) = found.report.judged
    assert judged.answer == "pass"
    assert judged.excess is not None
    assert (judged.excess.n, judged.excess.level) == (6, look_levels(2)[1])
    made = bench.store.run(found.report.notes[-1].partition("as run ")[2].partition(":")[0])
    assert [cell.name for cell in made.cells] == ["room"]
    assert made.cells[0].settings["walls"] == "thick"


# ---- what more there is ----------------------------------------------------------------------------------


def task(n: int, rows: int, **changes: object) -> CellResult:
    return scored("arc_easy", scores(n, 0.5), data=DataOrigin("somewhere", "a1", rows), **changes)


def grown(cell: CellResult, times: int = 3, baseline: RunResult | None = None, **told: Any) -> Growth:
    run = of(cell, options=RunOptions(**{"tasks": ("arc_easy",), "limit": cell.n, **told}))
    return growth_of(cell, run, [parse_rule("arc_easy/acc >= baseline")], baseline, times)


def test_items_double_up_to_all_there_are() -> None:
    assert grown(task(100, 2000)).sizes == (100, 200, 400, 800)
    assert grown(task(100, 300)).sizes == (100, 200, 300)
    assert grown(task(100, 300)).levels == look_levels_at((1 / 3, 2 / 3, 1.0))
    assert grown(task(300, 300)).kind == "nothing"
    # without a limit all rows that count were asked, whatever the file holds
    assert grown(task(300, 900), limit=None).kind == "nothing"


def test_what_was_stopped_goes_on_to_its_end() -> None:
    level = look_levels(10)[2]
    ruled = grown(task(300, 1000, stop=Stop(300, 1000, 3, 10, level, "its rule is decided")))
    assert (ruled.sizes, ruled.levels) == ((300, 1000), (level, look_levels(10)[-1]))
    narrow = grown(task(300, 1000, stop=Stop(300, 1000, 3, 10, 0.95, "it is narrow")))
    assert narrow.levels == look_levels_at((0.3, 1.0))


def test_texts_that_are_drawn_are_drawn_more_often() -> None:
    tokens = Figure(next(iter(endings.NAMES)), 3.0, None, None, 300, "tokens")
    cell = task(300, 300, repeats=2)
    cell = replace(cell, figures=(*cell.figures, tokens))
    assert grown(cell, temperature=0.7).sizes == (2, 4, 8, 16)
    assert grown(cell, temperature=0.7).levels == look_levels(4)
    assert grown(cell).kind == "nothing"


def test_further_options_ask_for_what_is_wanted_alone() -> None:
    cell = task(100, 2000, shots=5)
    options = RunOptions(
        tasks=("arc_easy", "hellaswag", "memory"),
        shots=(0, 5),
        limit=100,
        target_ci=("1.5pt",),
        until_decided=True,
        rules=("arc_easy/acc >= baseline",),
        baseline="b.json",
        engine_options={"context": "512", "memory.batch": "2", "nothing.known": "1"},
    )
    run = of(cell, probe(weights()), options=options)
    growth = growth_of(cell, run, [parse_rule("arc_easy/acc >= 0.5")], None, 3)
    made = further(run, [growth], 2, load(()))
    assert (made.tasks, made.shots, made.limit) == (("arc_easy",), (5,), 400)
    assert (made.target_ci, made.until_decided, made.rules, made.baseline) == ((), False, (), None)
    # options of a probe that is left out would be refused
    assert made.engine_options == {"nothing.known": "1"}
    last = growth_of(cell, run, [parse_rule("arc_easy/acc >= 0.5")], None, 9)
    assert further(run, [last], last.looks - 1, load(())).limit is None


def test_who_looks_again_errs_no_more_often_than_who_looks_once() -> None:
    growth = grown(task(100, 2000))
    drawn = random.Random(7)
    trials, failed, unguarded = 300, 0, 0
    for _ in range(trials):
        first = [float(drawn.random() < 0.5) for _ in range(growth.sizes[-1])]
        second = [float(drawn.random() < 0.5) if drawn.random() < 0.4 else each for each in first]
        pairs = [Pairs(first[:size], second[:size]) for size in growth.sizes]
        failed += any(
            contrast(each, level=level).high < 0 for each, level in zip(pairs, growth.levels, strict=True)
        )
        unguarded += any(contrast(each).high < 0 for each in pairs)
    # one look's would be 2.5% on this side
    assert failed <= 0.05 * trials
    assert unguarded > 1.5 * failed
