"""``slmeval compare`` as a user meets it: runs by name and by file, what is refused, the list of items."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from slmeval.cli import run
from slmeval.store import Store

#: runs of the store, the oldest first
PLAIN, WORSE, SHOTS, FEWER, PAIR = range(5)


def worse(folder: Path, source: Path) -> Path:
    """A copy of a model with less precise weights."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    step = {name: np.float32(np.abs(each).max() / 3) for name, each in tensors.items()}
    coarse = {name: np.round(each / step[name]) * step[name] for name, each in tensors.items()}
    save_file(coarse, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> Path:
    """A folder with a store of five runs; the rows of the first two lie beside it."""
    folder = tmp_path_factory.mktemp("compare")
    shutil.copytree(demo_model.parent / "rows", folder / "rows")
    coarse = worse(folder / "coarse" / "model", demo_model)
    common = (
        "run",
        "--backend",
        "reference",
        "--data",
        str(folder / "rows"),
        "--store",
        str(folder / "s.db"),
    )
    asked = ("--tasks", "arc_easy,hellaswag", "--limit", "40")
    for more in (
        ("--model", str(demo_model), *asked),
        ("--model", str(coarse), *asked),
        ("--model", str(demo_model), "--tasks", "arc_easy", "--limit", "40", "--shots", "2"),
        ("--model", str(demo_model), "--tasks", "arc_easy", "--limit", "20"),
        ("--model", str(demo_model), "--model", str(coarse), "--tasks", "arc_easy", "--limit", "20"),
    ):
        assert run([*common, *more, "--output", str(folder / "report.md")]) == 0
    return folder


@pytest.fixture
def compare(
    kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """The command on that store: exit code, output, complaints. A number stands for that run's id."""
    monkeypatch.setenv("SLMEVAL_STORE", str(kept / "s.db"))

    def call(*args: str | int) -> tuple[int, str, str]:
        ids = ids_of(kept)
        code = run(["compare", *(ids[arg] if isinstance(arg, int) else arg for arg in args)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def read_rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def ids_of(folder: Path) -> list[str]:
    """The ids of the runs, the oldest first."""
    with Store.open(folder / "s.db") as store:
        return [each.id for each in reversed(store.runs())]


Compare = Callable[..., tuple[int, str, str]]


def as_json(compare: Compare, *args: str | int) -> list[dict[str, Any]]:
    code, out, err = compare(*args, "--format", "json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)["comparisons"]
    return found


def test_a_worse_model_is_seen_task_by_task(compare: Compare) -> None:
    (found,) = as_json(compare, PLAIN, WORSE)
    labels = [each["label"] for each in found["figures"]]
    assert labels == ["arc_easy@0/acc", "arc_easy@0/acc_norm", "hellaswag@0/acc", "hellaswag@0/acc_norm"]
    acc = found["figures"][0]
    assert acc["change"]["value"] == pytest.approx(acc["second"] - acc["first"])
    assert acc["change"]["high"] < 0
    assert acc["p"] < 0.01
    assert acc["p"] <= acc["p_holm"] < 0.02
    assert acc["lost"] - acc["gained"] == pytest.approx(-40 * acc["change"]["value"])
    code, out, _ = compare(PLAIN, WORSE)
    assert code == 0
    assert "Worse: arc_easy@0/acc" in out
    (back,) = as_json(compare, WORSE, PLAIN)
    assert back["figures"][0]["change"]["value"] == -acc["change"]["value"]


def test_a_run_is_as_itself(compare: Compare) -> None:
    (found,) = as_json(compare, PLAIN, PLAIN, "--figures", "all", "--items")
    changes = [each["change"] for each in found["figures"] if each["change"]]
    assert len(changes) > 8
    assert {each["value"] for each in changes} == {0.0}
    assert found["flips"] == []


def test_a_file_called_last_does_not_stand_before_the_newest_run(
    compare: Compare, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["export", ids_of(kept)[PLAIN], "old.json"]) == 0
    shutil.copy("old.json", "last")
    found = as_json(compare, "last#reference", "./last", "--shared")
    assert {each["first"]["run"] for each in found} == {ids_of(kept)[PAIR]}
    assert {each["second"]["run"] for each in found} == {ids_of(kept)[PLAIN]}


def test_a_side_is_named_of_a_file_with_the_mark_in_its_name(
    compare: Compare, kept: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a#b.json"
    assert run(["export", ids_of(kept)[PLAIN], str(file)]) == 0
    (found,) = as_json(compare, f"{file}#reference", str(file))
    assert found["first"]["run"] == found["second"]["run"] == ids_of(kept)[PLAIN]


def test_last_is_the_newest_run(compare: Compare, kept: Path) -> None:
    (found,) = as_json(compare, "last~4", "last~3")
    (same,) = as_json(compare, PLAIN, WORSE)
    assert found == same
    code, _, err = compare("last~5", "last")
    assert code == 2
    assert "there is no run last~5: the store" in err
    assert err.strip().endswith("holds 5")
    for command in (["show", "last~1"], ["export", "last~1", str(kept / "again.md")]):
        assert run(command) == 0
    with Store.open(kept / "s.db") as store:
        assert store.run("last").id == store.runs()[0].id


def test_runs_of_files_compare_as_those_of_the_store(
    compare: Compare, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of(kept)
    whole, baseline = tmp_path / "whole.json", tmp_path / "baseline.json"
    for file, form in ((whole, "json"), (baseline, "baseline")):
        assert run(["export", ids[PLAIN], str(file), "--format", form]) == 0
    (wanted,) = as_json(compare, PLAIN, WORSE)
    for file in (whole, baseline):
        (found,) = as_json(compare, str(file), WORSE)
        assert found["figures"] == wanted["figures"]
    monkeypatch.setenv("SLMEVAL_STORE", str(tmp_path / "none" / "s.db"))
    assert run(["compare", str(whole), str(baseline)]) == 0
    assert not (tmp_path / "none").exists(), "nothing of the store was needed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"schema": "slmeval.run/1", "run": {', "is no JSON"),
        ("[]", "is neither a run nor a baseline of slmeval: it has no schema"),
        ('{"schema": "other/1"}', "is neither a run nor a baseline of slmeval: its schema is 'other'"),
        ('{"schema": "slmeval.run/1"}', "lacks 'cells'"),
        ('{"schema": "slmeval.run/9"}', "upgrade slmeval"),
        ('{"schema": "slmeval.baseline/9"}', "upgrade slmeval"),
    ],
)
def test_a_file_that_is_no_run_is_told_in_one_sentence(
    compare: Compare, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "odd.json"
    file.write_text(text)
    code, _, err = compare(PLAIN, str(file))
    assert code == 2
    assert err.count("\n") == 1
    assert str(file) in err
    assert message in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((PLAIN, SHOTS), "are not comparable: shots: 0 and 2 (arc_easy@0): --shared"),
        ((PLAIN, FEWER), "items: 40 and 20, of which 20 are the same (arc_easy@0)"),
        ((PLAIN,), "has nothing to be compared with: name a second run"),
        ((PLAIN, "nothing"), "unknown run 'nothing'"),
        ((PLAIN, "nothing.json"), "nothing.json cannot be read"),
        ((PLAIN, WORSE, "--tasks", "piqa"), "unknown task 'piqa'"),
        ((PLAIN, WORSE, "--figure", "acc_nrm"), "unknown figure 'acc_nrm': did you mean 'acc_norm'?"),
        ((PLAIN, WORSE, "--items", "0"), "--items 0: 1 or more"),
        ((PLAIN, "--items", "20260801"), "'20260801'"),
        ((PLAIN, WORSE, "--format", "csv"), "format 'csv' does not write comparisons"),
        ((PLAIN, WORSE, "--output", "report.xyz"), "no format ends in .xyz"),
        (("last#hf", WORSE), "unknown side 'hf'"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    compare: Compare, args: tuple[str | int, ...], message: str
) -> None:
    code, out, err = compare(*args)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_what_is_shared_is_compared_when_asked(compare: Compare) -> None:
    (shots,) = as_json(compare, PLAIN, SHOTS, "--shared", "--tasks", "arc_easy")
    assert shots["figures"][0]["n"] == 40
    assert "shots: 0 and 2 (arc_easy@0)" in " ".join(shots["notes"])
    (fewer,) = as_json(compare, PLAIN, FEWER, "--shared")
    assert [each["n"] for each in fewer["figures"]] == [20, 20]
    assert {each["change"]["value"] for each in fewer["figures"]} == {0.0}


def test_a_run_with_several_models_holds_the_first_against_the_others(compare: Compare) -> None:
    (found,) = as_json(compare, PAIR)
    assert found["first"]["model"] != found["second"]["model"]
    assert found["figures"][0]["lost"] > 0
    code, out, err = compare(f"last#reference:{found['second']['model']}", FEWER)
    assert (code, err) == (0, "")
    assert "Better: arc_easy@0/acc" in out


def test_items_are_listed_with_prompts_and_margins(compare: Compare, kept: Path) -> None:
    rows = read_rows(kept / "rows" / "arc_easy" / "test.jsonl")
    (found,) = as_json(compare, "--items", PLAIN, WORSE, "--tasks", "arc_easy")
    flips = found["flips"]
    assert len(flips) == min(20, found["figures"][0]["lost"] + found["figures"][0]["gained"])
    for flip in flips:
        assert rows[flip["row"]]["question"] in flip["prompt"]
        assert {flip["before"], flip["after"]} == {0.0, 1.0}
        assert (flip["margin_before"] > 0) == (flip["before"] == 1)
    code, out, _ = compare(PLAIN, WORSE, "--tasks", "arc_easy", "--items", "1")
    assert code == 0
    assert "1 item with another score" in out
    assert "1 of each task are listed (--items N), and more changed: " in out


def test_items_are_listed_without_prompts_where_their_rows_are_gone(
    compare: Compare, kept: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "rows"
    (kept / "rows").rename(moved)
    try:
        (found,) = as_json(compare, PLAIN, WORSE, "--items", "2")
        (again,) = as_json(compare, PLAIN, WORSE, "--items", "2", "--data", str(moved))
    finally:
        moved.rename(kept / "rows")
    assert {flip["prompt"] for flip in found["flips"]} == {None}
    assert {len(flip["item"]) for flip in found["flips"]} == {12}
    assert found["notes"][-1].startswith("no prompts of arc_easy@0, hellaswag@0: there is no folder")
    assert None not in {flip["prompt"] for flip in again["flips"]}


def test_a_baseline_says_nothing_of_where_rows_lie_and_a_run_beside_it_does(
    compare: Compare, kept: Path, tmp_path: Path
) -> None:
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file, run_id in zip(files, ids_of(kept), strict=False):
        assert run(["export", run_id, str(file), "--format", "baseline"]) == 0
    (alone,) = as_json(compare, *map(str, files), "--items", "1")
    assert {flip["prompt"] for flip in alone["flips"]} == {None}
    assert alone["notes"][-1].endswith("a baseline does not tell where its rows lie")
    (beside,) = as_json(compare, str(files[1]), SHOTS, "--shared", "--items", "1")
    assert "Question" in beside["flips"][0]["prompt"]


def test_items_of_other_rows_are_not_given_their_prompts(
    compare: Compare, kept: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(kept / "rows", other)
    file = other / "arc_easy" / "test.jsonl"
    rows = read_rows(file)
    file.write_text("".join(json.dumps({**row, "question": f"Not {row['question']}"}) + "\n" for row in rows))
    args = (PLAIN, WORSE, "--tasks", "arc_easy", "--items", "--data", str(other))
    (found,) = as_json(compare, *args)
    assert {flip["prompt"] for flip in found["flips"]} == {None}
    assert found["notes"][-1] == (
        "no prompts of arc_easy@0: the rows that are there now are not those that were asked"
    )


def test_the_report_goes_to_a_file_in_the_format_of_its_ending(compare: Compare, tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    code, out, _ = compare(PLAIN, WORSE, "--output", str(file))
    assert (code, out) == (0, "")
    assert "| arc_easy@0/acc" in file.read_text()
