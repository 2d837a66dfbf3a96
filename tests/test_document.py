"""The run as a JSON document: nothing is lost, the schema holds, and damage is named."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import example_runs as examples
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from slmeval.document import (
    SCHEMA,
    document_schema,
    from_document,
    from_plain,
    to_document,
    to_json,
    to_plain,
)
from slmeval.errors import DataError
from slmeval.types import (
    CellResult,
    DataOrigin,
    Failure,
    Figure,
    Machine,
    ModelInfo,
    ModelReport,
    RunOptions,
    RunResult,
)

RUNS = {
    "one model": examples.run(),
    "demo": examples.run(demo=True, options=RunOptions()),
    "side by side": examples.side_by_side(),
    "nothing measured": examples.run(models=(), cells=(), status="interrupted"),
    "model never opened": examples.run(models=(examples.model(info=None),)),
}
FINITE = st.floats(allow_nan=False, allow_infinity=False)
FIGURES = st.builds(
    Figure,
    name=st.text(),
    value=FINITE,
    stderr=st.none() | FINITE,
    ci95=st.none() | st.tuples(FINITE, FINITE),
    n=st.integers(0, 2**40),
    unit=st.text(),
    source=st.sampled_from(["measured", "estimated"]),
    note=st.text(),
    higher_is_better=st.none() | st.booleans(),
)
OPTIONS = st.builds(
    RunOptions,
    models=st.lists(st.text()).map(tuple),
    shots=st.none() | st.lists(st.integers(0, 64)).map(tuple),
    limit=st.none() | st.integers(1, 10**6),
    seed=st.integers(),
    engine_options=st.dictionaries(st.text(), st.text()),
    timeout=FINITE | st.just(math.inf),
)


def problems(document: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(document_schema()).iter_errors(document)]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside a document."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*at, step)
        yield from places(inner, (*at, step))


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    holder = document
    for step in at[:-1]:
        holder = holder[step]
    holder[at[-1]] = value
    return document


# ---- there and back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_a_run_comes_back_from_json_text_as_it_was(name: str) -> None:
    assert from_document(json.loads(to_json(RUNS[name]))) == RUNS[name]


@given(figures=st.lists(FIGURES, unique_by=lambda figure: figure.name), options=OPTIONS)
def test_any_figure_and_any_option_come_back_exactly(figures: list[Figure], options: RunOptions) -> None:
    run = examples.run(cells=(examples.cell(figures=tuple(figures)),), options=options)
    text = to_json(run)
    assert from_document(json.loads(text)) == run
    assert problems(json.loads(text)) == []


def test_the_text_is_ascii_and_strict_json() -> None:
    run = examples.run(id="naïve \ud800", options=RunOptions(timeout=math.inf))
    text = to_json(run)
    assert text.isascii()
    assert "Infinity" not in text.replace('"Infinity"', "")
    assert from_document(json.loads(text, parse_constant=pytest.fail)) == run


def test_numbers_of_numpy_become_plain_ones() -> None:
    plain = to_plain(replace(examples.CHANCE, value=np.float32(0.25), n=np.int64(7)))  # type: ignore[arg-type]
    assert (type(plain["value"]), type(plain["n"])) == (float, int)
    assert (plain["value"], plain["n"]) == (0.25, 7)


def test_a_value_that_no_document_can_hold_is_a_defect_and_says_so() -> None:
    with pytest.raises(TypeError, match="cannot be written into a run document"):
        to_plain({"weights": object()})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_becomes_unavailable_with_a_reason(value: float) -> None:
    figure = Figure("perplexity", value, 0.1, (0.0, 1.0), 9, "", note="of the whole text")
    document = to_document(examples.run(cells=(examples.cell(figures=(figure,)),)))
    written = document["cells"][0]["figures"]["perplexity"]
    assert (written["value"], written["stderr"], written["ci95"]) == (None, None, None)
    assert written["source"] == "unavailable"
    assert written["note"] == f"of the whole text; the value was {value}"
    assert problems(document) == []


def test_an_error_that_is_no_number_is_left_out_and_the_value_stands() -> None:
    figure = replace(examples.BITS, stderr=math.inf, ci95=(-math.inf, math.inf))
    document = to_document(examples.run(cells=(examples.cell(figures=(figure,)),)))
    written = document["cells"][0]["figures"]["bits_per_byte"]
    assert (written["value"], written["stderr"], written["ci95"]) == (1.0625, None, None)
    assert written["note"] == "the error was not finite"


def test_two_figures_of_one_name_are_refused_rather_than_one_lost() -> None:
    run = examples.run(cells=(examples.cell(figures=(examples.BITS, examples.CHANCE, examples.CHANCE)),))
    with pytest.raises(DataError, match="arc_easy has two figures named 'chance'"):
        to_document(run)


# ---- the schema --------------------------------------------------------------------------------------


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(document_schema())
    assert document_schema()["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize("name", RUNS)
def test_every_document_keeps_to_the_schema(name: str) -> None:
    assert problems(to_document(RUNS[name])) == []


@pytest.mark.parametrize(
    ("part", "kind", "elsewhere"),
    [
        ("run", RunResult, {"machine", "models", "cells", "failures"}),
        ("options", RunOptions, set()),
        ("machine", Machine, set()),
        ("model", ModelReport, set()),
        ("model_info", ModelInfo, set()),
        ("cell", CellResult, set()),
        ("figure", Figure, {"name"}),
        ("data", DataOrigin, set()),
        ("failure", Failure, set()),
    ],
)
def test_the_schema_describes_every_field_that_is_written(part: str, kind: type, elsewhere: set[str]) -> None:
    described = document_schema()["$defs"][part]
    names = {field.name for field in fields(kind)} - elsewhere
    assert set(described["properties"]) == set(described["required"]) == names
    assert described["additionalProperties"] is False
    assert all(len(property_["description"]) > 10 for property_ in described["properties"].values())


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("more",), 1),
        (("run", "status"), "perhaps"),
        (("run", "asked"), -1),
        (("cells", 0, "n"), "500"),
        (("cells", 0, "more"), None),
        (("cells", 0, "figures", "acc", "value"), None),
        (("cells", 0, "figures", "acc", "ci95"), [0.1]),
        (("cells", 0, "figures", "acc", "source"), "guessed"),
        (("models", 0, "info"), {}),
    ],
)
def test_the_schema_refuses_what_is_wrong(at: tuple[Any, ...], value: Any) -> None:
    document = changed(to_document(examples.run()), at, value)
    assert problems(document) != []


# ---- reading what is not right -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"schema": "slmeval.run/2"}, "'slmeval.run/2', this slmeval reads 'slmeval.run/1': upgrade slmeval"),
        ({"schema": "slmeval.suite/1"}, "not an slmeval run: its schema is 'slmeval.suite/1'"),
        ({"results": {}}, "not an slmeval run: its schema is None"),
        ([], "not an slmeval run"),
        ({"schema": SCHEMA}, "the document lacks 'cells'"),
    ],
)
def test_another_kind_of_document_is_refused(document: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        from_document(document)


@pytest.mark.parametrize(
    ("at", "value", "sentence"),
    [
        (("cells", 0, "n"), "500", r"cells\[0\].n is '500', not a whole number"),
        (("cells", 0, "n"), True, r"cells\[0\].n is True, not a whole number"),
        (("cells", 0, "figures"), [], r"cells\[0\].figures is \[\], not an object"),
        (
            ("cells", 0, "figures", "acc", "value"),
            math.nan,
            r"figures\[0\].value is nan, not a finite number",
        ),
        (("cells", 0, "figures", "acc", "value"), 10**400, r"value is 10+\.\.\., not a finite number"),
        (("cells", 0, "figures", "acc", "ci95"), [0.1], r"ci95 is \[0.1\], not a list of 2"),
        (("run", "status"), "perhaps", "status is 'perhaps', not one of done, failed, interrupted"),
        (("run", "options", "shots"), "0,5", "options.shots is '0,5', not a list"),
        (("run", "options", "colour"), "red", "options has an unknown 'colour'"),
        (("models", 0, "options"), {"x": []}, r"models\[0\].options.x is \[\], not text"),
        (("machine",), "a laptop", "machine is 'a laptop', not an object"),
    ],
)
def test_damage_is_named_with_its_place(at: tuple[Any, ...], value: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        from_document(changed(to_document(examples.run()), at, value))


DOCUMENT = to_document(examples.side_by_side())
PLACES = list(places(DOCUMENT))


@given(data=st.data())
def test_no_damage_at_any_place_escapes_as_anything_but_a_data_error(data: st.DataObject) -> None:
    at = data.draw(st.sampled_from(PLACES))
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    wrong = data.draw(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
    with contextlib.suppress(DataError):
        assert isinstance(from_document(changed(DOCUMENT, at, wrong)), RunResult)


def test_a_field_that_came_later_may_be_missing_in_an_older_document() -> None:
    plain = to_plain(RunOptions(tasks=("arc",)))
    del plain["engine_options"]
    assert from_plain(RunOptions, plain, "options") == RunOptions(tasks=("arc",))


def test_a_field_that_was_always_there_may_not() -> None:
    plain = to_plain(examples.INFO)
    del plain["device"]
    with pytest.raises(DataError, match="info lacks 'device'"):
        from_plain(ModelInfo, plain, "info")
