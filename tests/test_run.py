"""A run from Python: workers, their troubles, the store, and what comes out."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys
from random_models import TINY_LLAMA, write_model

from slmeval.agenda import without
from slmeval.api import Launch
from slmeval.builtin import executors
from slmeval.errors import JobFailed, UsageError
from slmeval.plan import ScoreUnit
from slmeval.prefixes import Budget
from slmeval.runner import JobRun
from slmeval.testing import evaluate
from slmeval.types import RunOptions, RunResult, ScoreGroup


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """A run of the toy engine over twelve made-up rows, three of them to a unit."""
    from test_tokenizing import words

    monkeypatch.setattr("slmeval.asking.SCORE_UNIT", Budget(4096, 3))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    plugin, model, rows = (tmp_path / name for name in ("plugin", "model", "data/arc_easy"))
    for folder in (plugin, rows):
        folder.mkdir(parents=True)
    toys.install(plugin, monkeypatch)
    write_model(model, TINY_LLAMA)
    words(model, bos=True)
    lines = [
        {
            "id": str(number),
            "question": "one " * number,
            "choices": {"text": ["two", "three"], "label": ["A", "B"]},
            "answerKey": "AB"[number % 2],
        }
        for number in range(12)
    ]
    for split in ("test", "train"):
        (rows / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return RunOptions(
        backends=("toy",), models=(str(model),), tasks=("arc_easy",), data=str(tmp_path / "data"), timeout=120
    )


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def run(options: RunOptions, **changes: Any) -> RunResult:
        return evaluate(replace(options, **changes), tmp_path / "store.db")

    return run


def asked(tmp_path: Path) -> int:
    log = tmp_path / "log"
    return sum(map(int, log.read_text().split())) if log.exists() else 0


@pytest.mark.parametrize("executor", ["process", "local"])
def test_a_run_asks_everything_once_and_reports_it(
    options: RunOptions, run: Any, tmp_path: Path, executor: str
) -> None:
    result = run(options, executor=executor)
    (cell,) = result.cells
    assert (result.status, cell.n, result.asked, result.reused) == ("done", 12, 24, 0)
    assert asked(tmp_path) == 24
    assert result.models[0].notes == ("a toy",)
    assert {figure.name for figure in cell.figures} >= {"acc", "acc_norm", "bits_per_byte", "chance"}


def test_what_the_engine_said_is_told_when_nothing_is_asked_again(
    options: RunOptions, run: Any, tmp_path: Path
) -> None:
    run(options)
    again = run(options)
    assert asked(tmp_path) == again.reused == 24
    assert again.models[0].notes == ("a toy",)


def test_the_executors_give_the_same_figures(options: RunOptions, tmp_path: Path) -> None:
    one, other = (
        evaluate(replace(options, executor=name), tmp_path / f"{name}.db") for name in ("process", "local")
    )
    assert one.cells == other.cells


def test_the_same_run_again_asks_nothing(options: RunOptions, run: Any, tmp_path: Path) -> None:
    first, second = run(options), run(options)
    assert second.cells == first.cells
    assert (second.asked, second.reused, asked(tmp_path)) == (0, 24, 24)


def test_more_rows_ask_only_what_is_new(options: RunOptions, run: Any, tmp_path: Path) -> None:
    run(options, limit=5)
    whole = run(options)
    assert (whole.asked, whole.reused, asked(tmp_path)) == (14, 10, 24)
    assert whole.cells == evaluate(options, tmp_path / "another.db").cells


def test_what_was_answered_before_a_crash_keeps_its_figures(
    options: RunOptions, run: Any, demo_model: Path
) -> None:
    bundled = replace(options, models=(str(demo_model),), data=None, sample=True, limit=9)
    result = run(bundled, tasks=("gsm8k", "arc_easy"), engine_options={"trouble": "crash"})
    assert result.status == "failed"
    assert [cell.name for cell in result.cells] == ["gsm8k"]
    (failure,) = result.failures
    assert "SIGSEGV" in failure.reason


def test_an_option_that_changes_numbers_is_another_question(options: RunOptions, run: Any) -> None:
    run(options)
    assert run(options, engine_options={"trouble": "other"}).asked == 24
    assert run(options, engine_options={"pace": "0.001"}).asked == 0


def test_another_model_is_never_served_the_first_ones_answers(
    options: RunOptions, run: Any, tmp_path: Path
) -> None:
    run(options)
    write_model(tmp_path / "model", TINY_LLAMA, seed=1)
    assert run(options).asked == 24


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("open", "no such weights"),
        ("tokenizer", "'a' is 1 here and 2 there"),
        ("crash", "SIGSEGV"),
        ("exit", "status 7; it said: last words on stdout"),
        ("error", "ValueError: one line"),
        ("nan", "log-probability of nan"),
        ("-inf", "log-probability of -inf"),
        ("positive", "log-probability of 0.5"),
        ("huge", "log-probability of -1000"),
        ("words", "log-probability of 'a'"),
        ("truth", "log-probability of False"),
        ("nothing", "an answer that does not fit its request: a reply of another shape"),
        ("greedy", "greedy is 'yes'"),
        ("info", "context is 'many', not int"),
        ("notes", "notes that are no list of texts: 'a toy'"),
        ("fingerprint", "a fingerprint that is no table"),
        ("few", "does not fit its request"),
        ("short", "gave 1 answers to a group of 2"),
        ("fewer", "gave 2 answers to 3 requests"),
    ],
)
def test_a_broken_engine_is_one_failed_job_with_its_reason(
    options: RunOptions, run: Any, trouble: str, reason: str
) -> None:
    result = run(options, engine_options={"trouble": trouble})
    assert result.status == "failed"
    assert not result.cells
    (failure,) = result.failures
    assert reason in failure.reason
    assert "\n" not in failure.reason
    assert run(options).status == "done", "nothing that cannot be true was kept"


def test_answers_to_another_number_of_groups_are_refused() -> None:
    talk: Any = SimpleNamespace(untrue=JobFailed)
    with pytest.raises(JobFailed, match="answers to 0 groups of 1"):
        list(JobRun._pairs(None, talk, ((),), ()))  # type: ignore[arg-type]


@pytest.fixture
def generating(options: RunOptions, tmp_path: Path) -> RunOptions:
    """The same, but one text is generated."""
    rows = tmp_path / "data" / "gsm8k"
    rows.mkdir()
    for split in ("test", "train"):
        (rows / f"{split}.jsonl").write_text(json.dumps({"question": "one", "answer": "#### 1"}) + "\n")
    (model := tmp_path / "model" / "config.json").write_text(
        model.read_text().replace('"max_position_embeddings": 64', '"max_position_embeddings": 512')
    )
    return replace(options, tasks=("gsm8k",), shots=(0,))


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("no text", "its text is None"),
        ("no ids", "a reply of another shape"),
        ("big id", "2147483648 is no token id"),
        ("half id", "1.5 is no token id"),
        ("reason", "its end is 'whatever', not one of stop, end, length"),
    ],
)
def test_a_text_that_cannot_be_kept_is_refused(
    generating: RunOptions, run: Any, trouble: str, reason: str
) -> None:
    (failure,) = run(generating, engine_options={"trouble": trouble}).failures
    assert reason in failure.reason


@pytest.mark.slow
def test_an_engine_that_hangs_is_ended_after_the_time_limit(options: RunOptions, run: Any) -> None:
    result = run(options, engine_options={"trouble": "hang"}, timeout=3)
    assert "no sign of life for 3 seconds" in result.failures[0].reason


@pytest.mark.slow
def test_a_slow_engine_that_answers_is_not_taken_for_a_hung_one(
    options: RunOptions, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a unit of twelve groups takes longer than the limit, but each answer is a sign of life
    monkeypatch.setattr("slmeval.asking.SCORE_UNIT", Budget(4096, 12))
    result = run(options, engine_options={"pace": "1.5"}, timeout=15)
    assert result.status == "done"


@pytest.mark.slow
def test_looking_for_stop_strings_is_a_sign_of_life(generating: RunOptions, run: Any) -> None:
    # forty looks, which take longer than the limit
    given = {"pace": "0.4"}
    assert run(generating, engine_options={**given, "trouble": "thinks"}, timeout=12).status == "done"
    hung = run(generating, engine_options={**given, "trouble": "broods"}, timeout=12)
    assert "no sign of life for 12 seconds" in hung.failures[0].reason


def test_one_failed_job_leaves_the_others_results(options: RunOptions, run: Any) -> None:
    result = run(options, backends=("toy", "reference"), engine_options={"trouble": "open"})
    assert [failure.backend for failure in result.failures] == ["toy"]
    assert [cell.backend for cell in result.cells] == ["reference"]


def test_an_interpreter_that_cannot_run_a_worker_says_why(options: RunOptions, run: Any) -> None:
    result = run(options, pythons={"toy": "/bin/false"})
    assert "status 1" in result.failures[0].reason
    with pytest.raises(UsageError, match="no such program"):
        run(options, pythons={"toy": "nowhere/python"})


def test_a_worker_of_another_version_is_refused(options: RunOptions, run: Any, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(
        "#!/bin/sh\n"
        f"exec {__import__('sys').executable} -c "
        '"import sys; from slmeval.frames import write_frame as w; from slmeval.protocol import encode as e; '
        "w(sys.stdout.buffer, e('hello', protocol=1, version='0.0.1')); sys.stdin.read()\"\n"
    )
    other.chmod(0o755)
    assert "is slmeval 0.0.1" in run(options, pythons={"toy": str(other)}).failures[0].reason


def test_a_worker_runs_nothing_of_the_current_folder(
    options: RunOptions, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "model"
    for name in ("numpy", "json", "slmeval", "toyplugin"):
        (here / f"{name}.py").write_text(
            f"open({str(tmp_path / 'planted')!r}, 'w').write({name!r})\nx = 1 / 0\n"
        )
    monkeypatch.chdir(here)
    assert run(options).status == "done"
    assert not (tmp_path / "planted").exists()


def test_what_is_read_from_a_worker_that_ends_late_is_closed_when_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "_GRACE", 0.01)
    ended = threading.Event()
    channel: Any = executors.LocalExecutor().start(Launch((), lambda *_: ended.wait(120), "toy"))
    channel.close()
    assert not channel._reader.closed
    ended.set()
    channel._listener.join(120)
    assert channel._reader.closed


def test_what_is_known_of_a_unit_is_not_asked_again() -> None:
    unit = ScoreUnit((ScoreGroup((1,), ((2,), (3,))), ScoreGroup((1, 4), ((2,),), 1)))
    asks = unit.asks()
    digests = [[ask.digest for ask in group] for group in asks]

    def left(*known: str) -> ScoreUnit | None:
        opened = without(unit, asks, set(known))
        if opened is not None:
            assert opened[0].asks() == opened[1]
        return opened and opened[0]

    assert left() is unit
    assert left(digests[0][0]) == ScoreUnit((ScoreGroup((1,), ((3,),)), ScoreGroup((1, 4), ((2,),), 1)))
    assert left(*digests[0]) == ScoreUnit((ScoreGroup((1, 4), ((2,),)),))
    assert left(*digests[0], *digests[1]) is None
