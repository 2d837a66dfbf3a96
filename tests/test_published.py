"""Examples of others: found without running anything, from a folder first, and told where there are none."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from slmeval.datasets import DataSource, open_folder, open_sample
from slmeval.errors import DataError
from slmeval.published import Examples, definition, published_rows, returned_by, samples
from slmeval.types import DatasetSpec

pytest.importorskip("yaml", reason="PyYAML, which comes with lm-evaluation-harness, is not installed")

SPEC = DatasetSpec("toy_cot", "examples", ("question", "target"))
YAML = """
include: base_yaml
task: toy
process: !function utils.boom
fewshot_config:
  samples:
  - {question: "How many?", target: "One."}
"""
PYTHON = """
raise SystemExit("it was run")
def others(): return []
def shown() -> list[dict]:
    return [{"question": "2 - 1?", "target": "It is $1$."}]
"""


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that looks like lm-evaluation-harness, and ends whoever runs it."""
    folder = tmp_path / "lm_eval"
    (folder / "tasks" / "toy").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('it was run')")
    (folder / "tasks" / "toy" / "toy.yaml").write_text(YAML)
    (folder / "tasks" / "toy" / "base_yaml").write_text("task: base\ndescription: 'Count.'\n")
    (folder / "tasks" / "toy" / "utils.py").write_text(PYTHON)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "lm_eval", raising=False)
    return folder / "tasks" / "toy"


def empty(tmp_path: Path) -> DataSource:
    (tmp_path / "data").mkdir()
    return open_folder(tmp_path / "data")


def test_examples_are_read_from_yaml_and_from_a_function_and_nothing_is_run(
    harness: Path, tmp_path: Path
) -> None:
    source = empty(tmp_path)
    found = published_rows(source, SPEC, "examples", "toy/toy.yaml")
    assert found.rows == ({"question": "How many?", "target": "One."},)
    assert found.source.startswith("lm-evaluation-harness ")
    assert found.source.endswith(" toy/toy.yaml")
    other = published_rows(source, SPEC, "examples", "toy/utils.py", returned_by("shown"))
    assert other.rows == ({"question": "2 - 1?", "target": "It is $1$."},)
    assert found.sha256 != other.sha256
    assert "lm_eval" not in sys.modules


def test_a_definition_has_what_it_includes_and_its_own_first(harness: Path) -> None:
    assert {"task": "toy", "description": "Count.", "process": None}.items() <= definition(
        "toy/toy.yaml", "toy"
    ).items()


def test_a_folder_that_has_them_goes_first(harness: Path, tmp_path: Path) -> None:
    source = empty(tmp_path)
    (tmp_path / "data" / "toy_cot").mkdir()
    row = {"question": "own", "target": "yes"}
    (tmp_path / "data" / "toy_cot" / "examples.jsonl").write_text(json.dumps(row))
    found = Examples("toy_cot", "toy/toy.yaml", ("question", "target")).load(source)
    assert (found.rows, found.source) == ((row,), "folder toy_cot/examples.jsonl")


def test_rows_of_the_data_set_itself_never_stand_in_for_examples(harness: Path, tmp_path: Path) -> None:
    source = empty(tmp_path)
    (tmp_path / "data" / "toy_cot").mkdir()
    (tmp_path / "data" / "toy_cot" / "fewshot.jsonl").write_text('{"question": "a", "target": "b"}')
    spec = DatasetSpec("toy_cot", "test", ("question", "target"), shots="examples", hub="a/b")
    assert published_rows(source, spec, "examples", "toy/toy.yaml").rows[0]["target"] == "One."


def test_without_the_harness_the_ways_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> importlib.machinery.ModuleSpec | None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    with pytest.raises(
        DataError, match=r"it is not installed.*pip install lm-eval==.*toy_cot/examples\.jsonl"
    ):
        published_rows(open_sample(), SPEC, "examples", "toy/toy.yaml")


@pytest.mark.parametrize(
    ("file", "reader", "trouble"),
    [
        ("toy/none.yaml", samples, "has no toy/none.yaml"),
        ("toy/utils.py", returned_by("absent"), "no list of examples that absent returns"),
        ("toy/utils.py", returned_by("others"), "no list of examples"),
        ("toy/base_yaml", samples, "no list of examples"),
        ("toy/utils.py", samples, "cannot be read|is no mapping"),
    ],
)
def test_what_has_no_examples_is_told(
    file: str, reader: Any, trouble: str, harness: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=trouble) as told:
        published_rows(empty(tmp_path), SPEC, "examples", file, reader)
    assert str(tmp_path) not in str(told.value)


def test_an_example_without_a_field_is_told(harness: Path, tmp_path: Path) -> None:
    spec = DatasetSpec("toy_cot", "examples", ("question", "answer"))
    with pytest.raises(DataError, match=r"example 1 of .* has no answer"):
        published_rows(empty(tmp_path), spec, "examples", "toy/toy.yaml")
