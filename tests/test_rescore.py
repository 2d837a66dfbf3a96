"""Figures made anew from stored answers, without any model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slmeval.errors import DataError, UnknownName, UsageError
from slmeval.registry import load
from slmeval.rescoring import Extra, rescore
from slmeval.store import Store
from slmeval.testing import evaluate
from slmeval.types import CellResult, Failure, RunOptions, RunResult, Use

LAST = Use("regex", {"pattern": "[0-9]+", "occurrence": -1}, "last")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> tuple[Path, RunResult]:
    """A run of choices, texts, drawn texts, a group and a whole text; its model is no longer there."""
    folder = tmp_path_factory.mktemp("rescore")
    model, rows = folder / "model", folder / "rows"
    shutil.copytree(demo_model, model)
    shutil.copytree(demo_model.parent / "rows", rows)
    (rows / "wikitext").mkdir()
    (rows / "wikitext" / "test.jsonl").write_text(json.dumps({"page": "Snow lies. " * 900}))
    options = RunOptions(
        ("reference",), (str(model),), ("arc_easy", "gsm8k", "wikitext"), limit=3, data=str(rows)
    )
    result = evaluate(replace(options, max_tokens=24, temperature=0.7, repeats=3), folder / "store.db")
    assert result.status == "done", result.failures
    shutil.rmtree(model)
    return folder / "store.db", result


def again(kept: tuple[Path, RunResult], extra: Extra | None = None, **changes: Any) -> RunResult:
    store, old = kept
    with Store.open(store) as opened:
        return rescore(replace(old, **changes), extra or Extra(), load(()), opened)


def by_name(cell: CellResult) -> dict[str, Any]:
    return {figure.name: figure for figure in cell.figures}


def test_the_same_answers_have_the_same_figures_and_nothing_is_asked(kept: tuple[Path, RunResult]) -> None:
    made = again(kept)
    assert (made.status, made.asked, made.id != kept[1].id) == ("done", 0, True)
    assert made.reused == kept[1].asked
    assert made.cells == kept[1].cells
    assert f"scored again from the answers of run {kept[1].id}" in made.models[0].notes[-1]
    with Store.open(kept[0]) as opened:
        assert opened.run(made.id) == made
    assert again((kept[0], made)).cells == made.cells, "a run that was scored again can be once more"


def test_one_more_filter_and_metric_stand_beside_the_tasks_own(kept: tuple[Path, RunResult]) -> None:
    loose = Use("exact_match", {"regexes_to_ignore": (r"(?s).*#### ",)}, "loose")
    made = again(kept, Extra((LAST,), (loose,)))
    old, new = (by_name(run.cells[1]) for run in (kept[1], made))
    assert {name: new[name] for name in old} == old
    assert {
        "exact_match/last",
        "no_answer/last",
        "loose/last",
        "loose/strict-match",
    } <= new.keys() - old.keys()
    assert made.cells[0] == kept[1].cells[0], "choices are no texts"
    assert any("last = regex" in note for note in made.cells[1].notes)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (Extra((Use("regx", {}, "x"),)), "unknown filter 'regx'"),
        (Extra((Use("regex", {"pattern": "("}, "x"),)), "misuses filter 'regex'"),
        (Extra((Use("regex", {"no": 1}, "x"),)), "misuses filter 'regex'"),
        (Extra((), (Use("exact", {}, "x"),)), "unknown metric 'exact'"),
    ],
)
def test_parts_that_are_not_there_are_told(kept: tuple[Path, RunResult], extra: Extra, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        again(kept, extra)


def test_rows_that_changed_are_refused(kept: tuple[Path, RunResult], tmp_path: Path) -> None:
    _, old = kept
    rows = tmp_path / "rows"
    shutil.copytree(str(old.options.data), rows)
    options = replace(old.options, data=str(rows))
    assert again(kept, options=options).cells == old.cells, "the same rows elsewhere are the same"
    file = rows / "gsm8k" / "test.jsonl"
    file.write_text(file.read_text().replace("####", "#### 1", 1))
    with pytest.raises(
        DataError, match="the rows of gsm8k are not those that were asked: they have the hash"
    ):
        again(kept, options=options)


def test_a_task_that_is_gone_is_named(kept: tuple[Path, RunResult]) -> None:
    with pytest.raises(UnknownName, match="unknown task 'gone'"):
        again(kept, options=replace(kept[1].options, tasks=("gone",)))


def test_a_failing_metric_fails_its_own_cell(kept: tuple[Path, RunResult]) -> None:
    made = again(kept, Extra((), (Use("perplexity", {}, "odd"),)))
    assert made.status == "failed"
    assert [cell.name for cell in made.cells] == ["arc_easy", "wikitext"]
    assert "task 'gsm8k': metric 'odd/" in made.failures[0].reason


def test_a_run_that_scored_again_is_not_gone_on_with(kept: tuple[Path, RunResult]) -> None:
    made = again(kept, Extra((), (Use("perplexity", {}, "odd"),)))
    with Store.open(kept[0]) as opened:
        assert opened.unfinished() is None
        assert opened.rescored_from(made.id) == kept[1].id
        assert opened.rescored_from(kept[1].id) is None
    command = [sys.executable, "-m", "slmeval", "run", "--resume", made.id, "--store", str(kept[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"asked nothing, it scored answers again: slmeval rescore {kept[1].id}" in done.stderr


def test_what_is_broken_off_leaves_no_run_behind(
    kept: tuple[Path, RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from slmeval import rescoring

    def broken(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(rescoring, "draws_of", broken)
    with Store.open(kept[0]) as opened:
        before = [each.id for each in opened.runs()]
        with pytest.raises(KeyboardInterrupt):
            rescore(kept[1], Extra(), load(()), opened)
        assert [each.id for each in opened.runs()] == before


def test_what_failed_in_the_run_is_told_again(kept: tuple[Path, RunResult]) -> None:
    lost = Failure("hf", "model", "no such device")
    made = again(kept, failures=(lost,), status="failed")
    assert (made.status, made.failures) == ("failed", (lost,))
    assert again(kept, status="interrupted").status == "interrupted"


def test_answers_to_another_version_of_a_task_are_said_to_be_that(kept: tuple[Path, RunResult]) -> None:
    cells = tuple(replace(cell, version="0.9") if cell.name == "gsm8k" else cell for cell in kept[1].cells)
    first, second, _ = again(kept, cells=cells).cells
    assert "asked as version 0.9 of the task, scored as version 3.0" in second.notes
    assert first.notes == kept[1].cells[0].notes


def test_a_filter_for_a_run_without_texts_is_refused(kept: tuple[Path, RunResult]) -> None:
    cells = kept[1].cells[:1]
    assert again(kept, cells=cells).status == "done"
    with pytest.raises(UsageError, match="has no texts, which --filter and --metric are for"):
        again(kept, Extra((LAST,)), cells=cells)


def test_a_filter_of_a_label_that_is_taken_is_refused(kept: tuple[Path, RunResult]) -> None:
    with pytest.raises(UsageError, match="task 'gsm8k' has 2 filters named 'strict-match'"):
        again(kept, Extra((replace(LAST, label="strict-match"),)))


def test_a_filter_that_cannot_be_made_is_a_sentence(
    kept: tuple[Path, RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from slmeval.builtin import filters

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nsuch thing")

    monkeypatch.setattr(filters.Regex, "__init__", refuse)
    with pytest.raises(UsageError, match="filter 'regex' cannot be made: RuntimeError: no such thing"):
        again(kept)


def test_a_group_that_is_gone_is_named(kept: tuple[Path, RunResult]) -> None:
    group = replace(kept[1].cells[0], kind="group", name="lost")
    with pytest.raises(UsageError, match="group lost at 0 shots is no longer"):
        again(kept, cells=(*kept[1].cells, group))


def slmeval(store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slmeval", "rescore", *arguments, "--store", str(store)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_the_command_reports_the_new_run(kept: tuple[Path, RunResult]) -> None:
    told = json.dumps({"pattern": "[0-9]+", "occurrence": -1})
    done = slmeval(kept[0], kept[1].id, "--filter", f"last=regex:{told}", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    cells = json.loads(done.stdout)["cells"]
    assert "exact_match/last" in cells[1]["figures"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuchrun",), "unknown run 'nosuchrun'"),
        (("RUN", "--filter", "regex"), "--filter regex: write it as LABEL=NAME"),
        (("RUN", "--filter", "a=regex:{"), "the settings are not JSON"),
        (("RUN", "--metric", "a=regex:[]"), "the settings must be a JSON object, not []"),
        (("RUN", "--filter", "a=regex:" + "[" * 100_000), "the settings are not JSON"),
        (("RUN", "--data", "nowhere"), "there is no folder"),
    ],
)
def test_mistakes_are_one_sentence(
    kept: tuple[Path, RunResult], arguments: tuple[str, ...], message: str
) -> None:
    done = slmeval(kept[0], *(kept[1].id if each == "RUN" else each for each in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
