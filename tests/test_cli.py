"""The command line as a user meets it: what goes wrong is one clear line and the right exit code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import toys
from random_models import TINY_LLAMA, write_model

from slmeval.cli import run
from slmeval.errors import ExitCode
from slmeval.store import Store

ROW = {
    "id": "1",
    "question": "one two?",
    "choices": {"text": ["three", "four"], "label": ["A", "B"]},
    "answerKey": "A",
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of this test's own."""
    path = tmp_path / "store.db"
    monkeypatch.setenv("SLMEVAL_STORE", str(path))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny model with a tokenizer."""
    from test_tokenizing import words

    return words(write_model(tmp_path / "model", TINY_LLAMA), bos=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows of arc_easy, one good row in each split."""
    for split in ("test", "train"):
        rows = [{**ROW, "question": "one " * number} for number in range(1, 4)]
        write_rows(tmp_path / "data", rows, split=split)
    return tmp_path / "data"


def write_rows(data: Path, rows: list[object], *, split: str = "test") -> None:
    folder = data / "arc_easy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def base(model: Path, data: Path) -> list[str]:
    return [
        "run",
        "--backend",
        "reference",
        "--model",
        str(model),
        "--data",
        str(data),
        "--tasks",
        "arc_easy",
    ]


Complain = Callable[[list[str], str, int], None]


@pytest.fixture
def complains(store: Path, capsys: pytest.CaptureFixture[str]) -> Complain:
    """``complains(arguments, part of the line, exit code)``: exactly one line, on stderr, no results."""

    def check(arguments: list[str], part: str, code: int = ExitCode.USAGE) -> None:
        assert run(arguments) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.strip().splitlines()
        assert line.startswith("slmeval: ")
        assert part in line

    return check


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (["--tasks", "arc_eazy"], "did you mean 'arc_easy'?"),
        (["--tasks", "hela*"], "unknown task 'hela*'"),
        (["--tasks", ""], "no tasks named"),
        (["--backend", "referense"], "did you mean 'reference'?"),
        (["-o", "dtypo=1"], "unknown option 'dtypo'"),
        (["-o", "novalue"], "NAME=VALUE"),
        (["-p", "reference"], "no:NAME"),
        (["-p", "no:referense"], "did you mean 'reference'?"),
        (["--shots", "many"], "numbers, as in 0,5"),
        (["--shots", "-1"], "cannot be negative"),
        (["--shots", "3"], "ask for fewer with --shots"),
        (["--limit", "0"], "at least 1 row"),
        (["--limit", "x"], "not a valid integer"),
        (["--compat", "lm-evil"], "did you mean 'lm-eval'?"),
        (["--executor", "proces"], "did you mean 'process'?"),
        (["--format", "tabel"], "did you mean 'table'?"),
        (["--python", "hf=python3"], "backend of this run"),
        (["--sample"], "two sources of rows"),
        (["--model", "nowhere/at/all"], "no model folder nowhere/at/all"),
        (["--model", "referense=x"], "did you mean 'reference'?"),
        (["--tokenizer", "nowhere"], "tokenizer.json"),
        (["--data", "nowhere"], "nowhere"),
        (["--output", "nowhere/report.json"], "no folder nowhere"),
        (["--output", "report.html"], "no format ends in .html"),
        (["--output", "r" * 300 + ".md"], "cannot be written: File name too long"),
        (["--backend", ","], "names no engine"),
        (["--timeout", "nan"], "seconds, more than 0"),
        (["--timeout", "0"], "seconds, more than 0"),
        (["--resume"], "leave out --backend"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_option_is_one_line(
    complains: Complain, model: Path, data: Path, changes: list[str], part: str
) -> None:
    arguments = base(model, data)
    complains(arguments + changes, part, ExitCode.USAGE)


def test_an_unknown_command_names_the_nearest(complains: Complain) -> None:
    complains(["rum"], "did you mean 'run'?", ExitCode.USAGE)
    complains(["list", "backend"], "did you mean 'backends'?", ExitCode.USAGE)
    complains(["show", "2026"], "unknown run '2026'", ExitCode.USAGE)


def test_a_missing_extra_is_named_with_its_command(
    complains: Complain, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmeval_hf.find_spec", lambda _: None)
    complains(
        [*base(model, data), "--backend", "hf"],
        "backend 'hf' cannot run here (torch and transformers not installed): pip install 'slmeval[hf]'",
        ExitCode.USAGE,
    )


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda model: truncate(model / "model.safetensors"), "is cut short"),
        (lambda model: (model / "model.safetensors").write_bytes(b"short"), "too few for its header"),
        (lambda model: (model / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"[]"), "its header"),
        (lambda model: (model / "model.safetensors").unlink(), "no weights"),
        (lambda model: (model / "config.json").unlink(), "no config.json"),
        (lambda model: (model / "config.json").write_text("{"), "config.json is damaged"),
        (lambda model: (model / "config.json").write_text("[1]"), "no JSON object"),
        (lambda model: (model / "tokenizer.json").unlink(), "--tokenizer"),
        (lambda model: (model / "tokenizer.json").write_text("{}"), "cannot be read as a tokenizer"),
        (
            lambda model: (model / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "gone"}}'
            ),
            "lacks gone",
        ),
        (shutil.rmtree, "no model folder"),
    ],
)
def test_a_damaged_model_is_one_line_before_any_weights_load(
    complains: Complain, model: Path, data: Path, damage: Callable[[Path], object], part: str
) -> None:
    damage(model)
    complains(base(model, data), part, ExitCode.USAGE)


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({**ROW, "answerKey": "E"}, "test.jsonl, line 2"),
        ({key: value for key, value in ROW.items() if key != "question"}, "question"),
        ({**ROW, "choices": {"text": [], "label": []}}, "test.jsonl, line 2"),
        ({**ROW, "choices": None}, "test.jsonl, line 2"),
        ([1, 2], "test.jsonl, line 2"),
        ({**ROW, "question": "half a pair \ud83d"}, "surrogates not allowed"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(
    complains: Complain, model: Path, data: Path, row: object, part: str
) -> None:
    write_rows(data, [ROW, row])
    complains(base(model, data), part, ExitCode.USAGE)


def test_a_bad_row_among_the_examples_is_told_from_the_question(
    complains: Complain, model: Path, data: Path
) -> None:
    write_rows(data, [{**ROW, "answerKey": "E"}] * 3, split="train")
    complains([*base(model, data), "--shots", "2"], "an example shown before", ExitCode.USAGE)


def test_a_folder_without_the_split_says_what_it_has(complains: Complain, model: Path, data: Path) -> None:
    (data / "arc_easy" / "test.jsonl").rename(data / "arc_easy" / "dev.jsonl")
    complains(base(model, data), "dev.jsonl", ExitCode.USAGE)


def test_a_task_without_bundled_rows_says_so(
    complains: Complain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, toys.TASK, name="toytask")
    complains(["run", "--tasks", "toy_task"], "no bundled rows", ExitCode.USAGE)


def test_a_store_that_is_not_one_is_refused(
    complains: Complain, store: Path, model: Path, data: Path
) -> None:
    store.write_text("this is a diary")
    complains(base(model, data), str(store), ExitCode.USAGE)
    assert store.read_text() == "this is a diary"


def test_a_store_of_a_newer_version_is_refused(
    complains: Complain, store: Path, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs"]) == 0
    capsys.readouterr()
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA user_version = 999")
    complains(base(model, data), "999", ExitCode.USAGE)


def test_a_locked_store_says_so(
    complains: Complain, store: Path, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["runs"]) == 0
    capsys.readouterr()
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        complains(base(model, data), "locked", ExitCode.USAGE)


def test_a_full_disk_stops_the_run_with_one_line_and_room_lets_it_go_on(
    model: Path, data: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = ["one " * (number % 40) + "two " * (number // 40) for number in range(400)]
    write_rows(data, [{**ROW, "question": question} for question in questions])
    store = ["--store", str(small_disk / "store.db"), "--format", "json"]
    assert run([*base(model, data), "--store", str(data / "elsewhere.db"), "--format", "json"]) == 0
    undisturbed = json.loads(capsys.readouterr().out)
    Store.open(small_disk / "store.db").close()
    ballast = small_disk / "ballast"
    # room enough for the run's own record with SQLite's index of its log, and not for the answers
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 150_000))
    capsys.readouterr()
    assert run([*base(model, data), *store]) == ExitCode.JOB_FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    *_, line = printed.err.strip().splitlines()
    assert "full" in line
    assert "--resume" in line
    ballast.unlink()
    assert run(["run", "--resume", *store]) == 0
    assert json.loads(capsys.readouterr().out)["cells"] == undisturbed["cells"]


def test_a_prompt_longer_than_the_context_is_counted_and_reported(
    store: Path, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(data, [ROW, {**ROW, "question": "one " * 500}])
    assert run([*base(model, data), "--format", "json"]) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert cell["counts"] == {"truncated": 2}
    assert run(base(model, data)) == 0
    assert "2 requests shortened to fit" in capsys.readouterr().out


def test_results_go_to_stdout_and_progress_to_stderr(store: Path, model: Path, data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slmeval", *base(model, data), "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["run"]["status"] == "done"
    assert "6/6" in done.stderr


def shell(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``slmeval ARGUMENTS`` with what the shell does to its streams."""
    line = " ".join(shlex.quote(part) for part in (sys.executable, "-m", "slmeval", *arguments))
    return subprocess.run(
        ["bash", "-c", command.replace("SLMEVAL", line)], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("SLMEVAL >&-", 0, ""),
        ("SLMEVAL 2>&-", 0, ""),
        ("SLMEVAL <&-", 0, ""),
        ("SLMEVAL 2>/dev/full", 0, ""),
        ("SLMEVAL | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("SLMEVAL >/dev/full", 3, "standard output cannot be written"),
        ("SLMEVAL --output /dev/full --format md", 3, "/dev/full cannot be written"),
        ("PYTHONIOENCODING=ascii SLMEVAL", 0, ""),
    ],
)
def test_streams_that_are_closed_full_or_gone_do_not_undo_a_run(
    store: Path, model: Path, data: Path, command: str, code: int, told: str
) -> None:
    done = shell(command, *base(model, data))
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert run(["runs"]) == 0
    with Store.open(store) as opened:
        assert [each.status for each in opened.runs()] == ["done"]


def test_two_models_of_one_name_are_told_apart_and_one_named_twice_runs_once(
    store: Path, model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other" / "model"
    shutil.copytree(model, other)
    write_model(other, TINY_LLAMA, seed=1)
    command = [*base(model, data), "--model", str(other), "--model", f"{model}/", "--format", "json"]
    assert run(command) == 0
    labels = [each["label"] for each in json.loads(capsys.readouterr().out)["models"]]
    assert len(labels) == 2
    assert all(label.startswith("model#") for label in labels)
    assert labels[0] != labels[1]


def test_a_run_means_the_same_when_it_is_resumed_from_another_folder(
    store: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = ["run", "--backend", "reference", "--model", "model", "--data", "data", "--tasks", "arc_easy"]
    monkeypatch.setattr("slmeval.run.Run._run_job", interrupt)
    assert run(nothing) == ExitCode.INTERRUPTED
    monkeypatch.undo()
    monkeypatch.setenv("SLMEVAL_STORE", str(store))
    monkeypatch.chdir(tmp_path / "data")
    assert run(["run", "--resume", "--timeout", "60"]) == 0


def interrupt(*_: object) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_run_goes_on_only_with_what_it_began_with(
    store: Path,
    model: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    complains: Complain,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("slmeval.run.Run._run_job", interrupt)
        assert run(base(model, data)) == ExitCode.INTERRUPTED
    with Store.open(store) as opened:
        (begun,) = opened.runs()
    write_rows(data, [ROW])
    capsys.readouterr()
    complains(["run", "--resume", begun.id[:17]], "rows of arc_easy@0 changed since it began", ExitCode.USAGE)
    write_rows(data, [{**ROW, "question": "one " * number} for number in range(1, 4)])
    assert run(["run", "--resume", begun.id[:17]]) == 0


def test_a_run_that_is_done_is_not_resumed(
    model: Path, data: Path, store: Path, complains: Complain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*base(model, data), "--format", "json"]) == 0
    done = json.loads(capsys.readouterr().out)["run"]["id"]
    complains(["run", "--resume", done], "is done", ExitCode.USAGE)
    complains(["run", "--resume"], "no run is unfinished", ExitCode.USAGE)


def test_a_plugin_that_cannot_be_loaded_is_told_and_the_run_goes_on(
    store: Path,
    model: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "plugin").mkdir()
    toys.install(tmp_path / "plugin", monkeypatch, "import nothing_of_that_name", name="broken")
    assert run(base(model, data)) == 0
    assert "plugin 'broken' (broken 1.0) is left out: " in capsys.readouterr().err
    assert run([*base(model, data), "-p", "no:broken"]) == 0
    assert "broken" not in capsys.readouterr().err


def test_a_mistyped_store_is_not_made(complains: Complain, tmp_path: Path) -> None:
    complains(["runs", "--store", str(tmp_path / "none.db")], "there is no store", ExitCode.USAGE)
    assert not (tmp_path / "none.db").exists()


def test_slmeval_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_a_run_can_be_listed_shown_and_exported(
    store: Path, model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*base(model, data), "--output", str(tmp_path / "run.json")]) == 0
    document = json.loads((tmp_path / "run.json").read_text())
    capsys.readouterr()
    assert run(["runs"]) == 0
    assert document["run"]["id"] in capsys.readouterr().out
    assert run(["show", document["run"]["id"][:15], "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    for ending in ("csv", "md", "json"):
        target = tmp_path / f"exported.{ending}"
        assert run(["export", document["run"]["id"], str(target)]) == 0
        assert target.stat().st_size > 0


@pytest.mark.parametrize(
    "kind", ["backends", "tasks", "metrics", "filters", "reporters", "executors", "plugins"]
)
def test_every_kind_of_part_is_listed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", kind]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 2


def test_what_no_plugin_brings_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "meters"]) == 0
    assert "no meters" in capsys.readouterr().out


def test_the_doctor_names_every_backend(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "backend reference: ready" in printed
    assert "backend hf: " in printed


def test_families_of_tasks_are_one_line_unless_all_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "tasks"]) == 0
    short = capsys.readouterr().out
    assert re.search(r"^mmlu_\.\.\. \(57\) .* 14,042 ", short, re.MULTILINE)
    assert "mmlu_anatomy " not in short
    assert run(["list", "tasks", "--all"]) == 0
    whole = capsys.readouterr().out
    assert re.search(r"^mmlu_anatomy .* 135 ", whole, re.MULTILINE)
    assert " more" not in whole
