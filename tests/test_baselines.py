"""Baselines: nothing that a gate needs is lost, nothing private is told, and damage is named."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import example_runs as examples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_document import changed, places

from slmeval import document
from slmeval.baselines import (
    SCHEMA,
    Baseline,
    BaselineModel,
    baseline_from,
    baseline_of,
    baseline_schema,
    read_baseline,
    to_json,
    write_baseline,
)
from slmeval.cli import run as slmeval
from slmeval.errors import DataError, JobFailed
from slmeval.item_scores import value_of
from slmeval.packing import float32
from slmeval.store import Store
from slmeval.types import (
    CellResult,
    Conditions,
    Figure,
    ItemScores,
    Machine,
    Outcomes,
    RunOptions,
    RunResult,
    Series,
    Stop,
)

HASHES = tuple(f"{number:012x}" for number in range(5))
SHARES = ItemScores((1.0, 0.0, 1.0, 1.0, 0.0))
NATS = ItemScores(float32((0.1, -2.5, 3.25, None or 0.0, 9.5)), (1.0, 2.0, 0.5, 1.0, 1.0), "exp")
GAPS = ItemScores((0.5, None, 0.25, None, 0.125))


def figures_of(columns: dict[str, ItemScores]) -> tuple[Figure, ...]:
    return tuple(Figure(name, value_of(column), 0.1, (-9e9, 9e9), 5, "") for name, column in columns.items())


COLUMNS = {"perplexity": NATS, "acc": SHARES, "margin": GAPS}
OUTCOMES = Outcomes(HASHES, COLUMNS, (0, 0, 1, 1, 2))
#: with everything in it that a run may hold
TASK = examples.cell(
    figures=(*figures_of(COLUMNS), examples.CHANCE),
    n=5,
    outcomes=OUTCOMES,
    stop=Stop(5, 20, 1, 4, 0.9999, "narrow enough"),
    notes=("read from /home/somebody/rows",),
)
PEAK = Figure(
    "peak", 812.5, 1.0, (810.0, 815.0), 6, "MiB", "measured", "of /home/somebody/model", False, {"p5": 1.0}
)
PROBE = examples.cell(
    "memory",
    kind="probe",
    figures=(PEAK, Figure("device_peak", None, None, None, 0, "MiB", "unavailable", "it is not told")),
    settings={"context": "512", "batch": 1},
    series=(Series("peak", "MiB", (810.0, 815.0)),),
    conditions=(
        Conditions(0.0, 2000.0, "performance", 0.5, yardstick={"multiply": (0.01, 0.011)}),
        Conditions(1.5, 2000.0, "performance", 0.5),
    ),
)
GROUP = examples.cell("arc", kind="group", members=("arc_easy", "arc_challenge"))
RUN = examples.run(
    cells=(PROBE, TASK, GROUP, replace(TASK, shots=5), replace(TASK, chat="on", repeats=4)),
    models=(
        examples.model(reference="/home/somebody/tiny", template_hash="e5" * 32),
        examples.model(backend="hf", info=None),
    ),
    options=RunOptions(
        models=("/home/somebody/tiny",),
        data="/home/somebody/rows",
        template_options={"b": "1", "a": "2"},
        max_tokens=9,
    ),
)
TEXT = to_json(baseline_of(RUN))
PLAIN = json.loads(TEXT)


def problems(document: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(baseline_schema()).iter_errors(document)]


def place_of(name: str, shots: int = 0, chat: str = "off") -> int:
    cells = baseline_of(RUN).cells
    return next(
        i for i, cell in enumerate(cells) if (cell.name, cell.shots, cell.chat) == (name, shots, chat)
    )


AT = place_of("arc_easy")


# ---- there and back ------------------------------------------------------------------------------------


def test_a_baseline_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    made = baseline_of(RUN)
    write_baseline(made, tmp_path / "baseline.json")
    assert read_baseline(tmp_path / "baseline.json") == made


def test_what_a_gate_needs_is_kept_and_the_rest_is_not() -> None:
    made = baseline_of(RUN)
    task, probe = made.cells[AT], made.cells[place_of("memory")]
    assert task.outcomes == OUTCOMES
    assert task.stop == TASK.stop
    assert {(f.name, f.value, f.ci95) for f in task.figures} == {
        (f.name, f.value, f.ci95) for f in TASK.figures
    }
    assert (probe.settings, probe.series, probe.conditions) == (
        PROBE.settings,
        (),
        (Conditions(0.0, yardstick={"multiply": (0.01, 0.011)}),),
    )
    assert [figure.value for figure in probe.figures] == [None, 812.5]
    assert made.cells[place_of("arc")].members == GROUP.members
    assert made.settings["max_tokens"] == 9
    assert made.models[1].template_hash == "e5" * 32


def test_nothing_tells_where_files_lie() -> None:
    assert "somebody" in document.to_json(RUN)
    assert "somebody" not in TEXT


@pytest.mark.parametrize(
    ("note", "kept"),
    [
        ("exact", "exact"),
        ("of /home/somebody/model", "of model"),
        ("no file (~/models/a/b.gguf)", "no file (b.gguf)"),
        (r"no file C:\Users\somebody\b.gguf", "no file b.gguf"),
        ("http://somebody:8000/v1 tells no times", "http:v1 tells no times"),
        ("8 tokens/s, and/or 3 / 4 of it; models/b.gguf", "8 tokens/s, and/or 3 / 4 of it; models/b.gguf"),
    ],
)
def test_notes_of_figures_are_kept_without_folders(note: str, kept: str) -> None:
    made = baseline_of(replace(RUN, cells=(replace(TASK, figures=(replace(PEAK, note=note),)),)))
    assert made.cells[0].figures[0].note == kept


def test_the_same_run_gives_the_same_bytes_in_whatever_order_it_was_asked() -> None:
    mixed = list(RUN.cells)
    random.Random(1).shuffle(mixed)
    options = replace(RUN.options, template_options={"a": "2", "b": "1"})
    cells = tuple(replace(cell, figures=cell.figures[::-1]) for cell in mixed)
    assert to_json(baseline_of(replace(RUN, cells=cells, models=RUN.models[::-1], options=options))) == TEXT


def test_a_changed_figure_changes_few_lines() -> None:
    figures = (replace(TASK.figures[0], stderr=0.2), *TASK.figures[1:])
    cells = tuple(replace(cell, figures=figures) if cell is TASK else cell for cell in RUN.cells)
    other = to_json(baseline_of(replace(RUN, cells=cells))).splitlines()
    assert sum(one != two for one, two in zip(TEXT.splitlines(), other, strict=True)) == 1
    assert TEXT.isascii()
    assert TEXT.endswith("}\n")


def test_outcomes_are_kept_of_the_figures_that_are_named() -> None:
    made = baseline_of(RUN, figures={"acc"})
    assert set(made.cells[AT].outcomes.columns) == {"acc"}  # type: ignore[union-attr]
    assert made.cells[AT].figures == baseline_of(RUN).cells[AT].figures
    assert len(to_json(made)) < len(TEXT)


def test_no_outcomes_are_kept_of_what_is_exact() -> None:
    chance = ItemScores((0.25, 0.25, 0.25, 0.25, 0.25))
    outcomes = replace(OUTCOMES, columns={**COLUMNS, "chance": chance})
    made = baseline_of(replace(RUN, cells=(replace(TASK, outcomes=outcomes),)))
    assert set(made.cells[0].outcomes.columns) == set(COLUMNS)  # type: ignore[union-attr]
    assert examples.CHANCE.value in [figure.value for figure in made.cells[0].figures]


@given(
    st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=5, max_size=5).filter(any),
    st.sampled_from(["mean", "bits"]),
)
def test_any_scores_come_back_exactly(scores: list[float | None], scale: Any) -> None:
    columns = {"x": ItemScores(tuple(scores), (), scale)}
    cell = replace(TASK, figures=figures_of(columns), outcomes=replace(OUTCOMES, columns=columns))
    made = baseline_of(replace(RUN, cells=(cell,)))
    assert baseline_from(json.loads(to_json(made)), "it") == made


def test_a_run_without_results_makes_no_baseline() -> None:
    with pytest.raises(DataError, match="has no results that a baseline could be made of"):
        baseline_of(replace(RUN, cells=()))


def test_a_whole_run_in_the_file_is_a_baseline_too(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(document.to_json(RUN))
    assert read_baseline(path) == baseline_of(RUN)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert read_baseline(path) == baseline_of(RUN)


@pytest.mark.parametrize("n", [2_376, 10_042])
def test_a_baseline_is_small_enough_to_be_committed(n: int) -> None:
    """Two shares and two figures in nats: 14 bytes an item and a third more for base64."""
    draw = random.Random(n)
    shares = [tuple(float(draw.random() < 0.5) for _ in range(n)) for _ in range(2)]
    nats = [float32([draw.gauss(0, 2) for _ in range(n)]) for _ in range(2)]
    names = ("acc", "acc_norm", "bits_per_byte", "margin")
    columns = {name: ItemScores(scores) for name, scores in zip(names, (*shares, *nats), strict=True)}
    items = tuple(f"{draw.getrandbits(48):012x}" for _ in range(n))
    cell = replace(TASK, n=n, figures=figures_of(columns), outcomes=Outcomes(items, columns), stop=None)
    size = len(to_json(baseline_of(replace(RUN, cells=(cell,)))))
    assert size < n * (6 + 2 / 8 + 8) * 4 / 3 + 4_000


# ---- the file ------------------------------------------------------------------------------------------


def test_writing_leaves_the_old_file_whole_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "baseline.json"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        JobFailed, match=r"baseline .*baseline.json cannot be written: No space left on device"
    ):
        write_baseline(baseline_of(RUN), path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["baseline.json"]


def test_writing_into_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match="cannot be written: No such file"):
        write_baseline(baseline_of(RUN), tmp_path / "none" / "baseline.json")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    link, real = tmp_path / "link.json", tmp_path / "real.json"
    real.write_text("old")
    try:
        link.symlink_to(real.name)
    except OSError:
        pytest.skip("no links here")
    write_baseline(baseline_of(RUN), link)
    assert link.is_symlink()
    assert read_baseline(real) == baseline_of(RUN)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.json", "real.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_file_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        write_baseline(baseline_of(examples.run(cells=(TASK,))), pipe)
        assert os.read(end, 20).startswith(b"{")
        assert pipe.is_fifo()
    finally:
        os.close(end)


def test_a_name_that_a_run_has_twice_leaves_no_file(tmp_path: Path) -> None:
    twice = replace(TASK, figures=(examples.BITS, examples.BITS))
    with pytest.raises(DataError, match="has two figures named 'bits_per_byte'"):
        write_baseline(baseline_of(replace(RUN, cells=(twice,))), tmp_path / "baseline.json")
    assert not [*tmp_path.iterdir()]


# ---- the schema ----------------------------------------------------------------------------------------


def test_the_schema_is_a_schema_and_what_is_written_keeps_to_it() -> None:
    Draft202012Validator.check_schema(baseline_schema())
    assert baseline_schema()["properties"]["schema"]["const"] == SCHEMA
    assert problems(PLAIN) == []
    assert problems(json.loads(to_json(baseline_of(examples.side_by_side())))) == []


@pytest.mark.parametrize(
    ("part", "kind", "elsewhere"),
    [
        ("model", BaselineModel, set()),
        ("cell", CellResult, {"counts", "notes", "series"}),
        ("figure", Figure, {"name", "percentiles"}),
        ("machine", Machine, set()),
        ("stop", Stop, set()),
    ],
)
def test_the_schema_describes_every_field_that_is_written(part: str, kind: type, elsewhere: set[str]) -> None:
    described = baseline_schema()["$defs"][part]
    assert set(described["properties"]) == {field.name for field in fields(kind)} - elsewhere
    assert described["additionalProperties"] is False
    assert all(len(property_["description"]) > 10 for property_ in described["properties"].values())


def test_the_schema_names_every_part_of_a_baseline() -> None:
    names = {field.name for field in fields(Baseline)} | {"schema"}
    assert set(baseline_schema()["properties"]) == set(baseline_schema()["required"]) == names


# ---- what is not right -----------------------------------------------------------------------------------


def shortened(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (TEXT[:-20].encode(), "is no JSON: .*: it is not all there"),
        (shortened(TEXT).encode(), "is no JSON: .*: it is not all there"),
        (b"<<<<<<< HEAD\n{}", "is no JSON: expecting value (line 1, column 1)$"),
        (b"\xff\xfe{", "is no JSON: it is not UTF-8, from byte 0 on"),
        (b"[" * 100_000, "is nested too deeply to be read"),
        (b'{"schema": "slmeval.baseline/1", "run": "a", "run": "b"}', "'run' is there twice"),
        (b'{"n": ' + b"9" * 5_000 + b"}", "no baseline: it has no schema|cannot be read"),
        (b"[]", "no baseline: it has no schema, not 'slmeval.baseline/1' (make one: slmeval export RUN"),
        (b'{"schema": "slmeval.parity/1"}', "no baseline: its schema is 'slmeval.parity/1'"),
        (b'{"schema": "slmeval.baseline/x"}', "no baseline: its schema is 'slmeval.baseline/x'"),
        (b'{"schema": ["slmeval.baseline/1"]}', "no baseline: it has no schema"),
        (b'{"schema": "slmeval.baseline/2"}', "this slmeval reads 'slmeval.baseline/1': upgrade slmeval"),
        (b'{"schema": "slmeval.run/2"}', "upgrade slmeval|no baseline: its schema is 'slmeval.run/2'"),
        (b'{"schema": "slmeval.baseline/1"}', "a damaged document: cells is no list with something in it"),
    ],
)
def test_what_is_no_baseline_is_told_with_the_file(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "main.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence.replace("(", r"\(").replace(")", r"\)")) as told:
        read_baseline(path)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json cannot be read: No such file"):
        read_baseline(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_baseline(tmp_path)


OUT = ("cells", AT, "outcomes")
ACC = (*OUT, "columns", "acc")
FIGURE = ("cells", AT, "figures", "acc")
SHORT_BITS = "gA=="


@pytest.mark.parametrize(
    ("at", "value", "sentence"),
    [
        (("more",), 1, "the document has an unknown 'more'"),
        (("run",), 5, "run is 5, not text"),
        (("cells",), [], "cells is no list with something in it"),
        (("cells", AT), 5, rf"cells\[{AT}\] is 5, not an object"),
        (("cells", AT, "n"), "500", rf"cells\[{AT}\].n is '500', not a whole number"),
        (("cells", AT, "kind"), "thing", rf"cells\[{AT}\].kind is 'thing', not one of task, probe, group"),
        (("cells", AT, "notes"), ["x"], rf"cells\[{AT}\] has 'notes', which is in no baseline"),
        (("cells", AT, "figures"), [], rf"cells\[{AT}\].figures is \[\], not an object"),
        ((*FIGURE, "value"), float("nan"), "value is nan, not a finite number"),
        ((*FIGURE, "value"), float("inf"), "value is inf, not a finite number"),
        ((*FIGURE, "value"), "Infinity", rf"cells\[{AT}\] \(arc_easy\): acc is no finite number"),
        ((*FIGURE, "ci95"), ["-Infinity", 1.0], r"\(arc_easy\): acc is no finite number"),
        ((*FIGURE, "value"), "0.5", "value is '0.5', not a finite number"),
        ((*FIGURE, "value"), 0.9, r"\(arc_easy\): acc is 0.9, and its items come to another one"),
        ((*FIGURE, "value"), None, r"\(arc_easy\): acc is None, and its items come to another one"),
        (OUT, 5, "outcomes: it is no object"),
        ((*OUT, "items"), 5, "outcomes: items: items is no text"),
        ((*OUT, "items"), "?", "outcomes: items: it is no base64"),
        ((*OUT, "items"), "AAAA", "outcomes: items: 3 bytes are no whole number of hashes"),
        ((*OUT, "items"), "A" * 40, "outcomes: items: one of them is there twice"),
        ((*OUT, "clusters"), "AAAAAA==", "outcomes: clusters: it holds 4 bytes, not 20"),
        ((*OUT, "columns"), [], "columns is no object"),
        ((*OUT, "more"), 1, "it has an unknown 'more'"),
        ((*ACC, "bits"), "", "outcomes: acc: it holds 0 bytes, not 1"),
        ((*ACC, "floats"), "AAAAAA==", "acc: it has no scores, or has them twice"),
        ((*ACC, "scale"), "cubes", "acc: its scale is 'cubes', not one of mean, exp, bits"),
        ((*OUT, "columns", "perplexity", "floats"), "AADAfw" * 4 + "AADAfw==", "perplexity: "),
        ((*OUT, "columns", "perplexity", "floats"), "AADAfwAAwH8AAMB/AADAfwAAwH8=", "a score is nan"),
        ((*OUT, "columns", "perplexity", "weights"), "AACAvwAAgL8AAIC/AACAvwAAgL8=", "a weight is below 0"),
        (("settings",), [], "settings is \\[\\], not an object"),
        (("settings", "temperature"), "hot", "settings.temperature is 'hot', not a finite number"),
        (("settings", "data"), "rows", "settings has 'data', which is in no baseline"),
        (("settings", "other"), "rows", "settings has an unknown 'other'"),
        (("models", 0, "label"), None, r"models\[0\].label is None, not text"),
    ],
)
def test_damage_is_told_with_its_place(at: tuple[Any, ...], value: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as told:
        baseline_from(changed(PLAIN, at, value), "main.json")
    assert str(told.value).startswith("main.json: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("what", ["cells", "models"])
def test_what_is_there_twice_is_refused(what: str) -> None:
    twice = copy.deepcopy(PLAIN)
    twice[what].append(twice[what][0])
    last = len(twice[what]) - 1
    with pytest.raises(DataError, match=rf"{what}\[{last}\] is {what}\[0\] once more"):
        baseline_from(twice, "main.json")


FEW = json.loads(to_json(baseline_of(replace(RUN, cells=(PROBE, TASK), models=RUN.models[:1]))))


@pytest.mark.parametrize("value", [None, True, -1, 1e300, "AAAA", [], {}, [[]]], ids=repr)
def test_no_damage_ends_in_a_traceback(value: Any) -> None:
    for at in places(FEW):
        with contextlib.suppress(DataError):
            baseline_from(changed(FEW, at, value), "main.json")


def test_no_missing_part_ends_in_a_traceback() -> None:
    for at in places(FEW):
        less = copy.deepcopy(FEW)
        holder = less
        for step in at[:-1]:
            holder = holder[step]
        del holder[at[-1]]
        with contextlib.suppress(DataError):
            baseline_from(less, "main.json")


# ---- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[RunResult], Path]:
    def save(run: RunResult) -> Path:
        path = tmp_path / "store.db"
        with Store.open(path) as store:
            store.begin_run(run.id, run.started, run.options)
            store.finish_run(run)
        return path

    return save


def test_a_run_of_the_store_is_exported_as_a_baseline(
    tmp_path: Path, stored: Callable[[RunResult], Path]
) -> None:
    file = tmp_path / "main.json"
    assert slmeval(["export", RUN.id, str(file), "--format", "baseline", "--store", str(stored(RUN))]) == 0
    assert read_baseline(file) == baseline_of(RUN)
