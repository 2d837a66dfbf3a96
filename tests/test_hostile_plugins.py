"""Plugins that are broken, or that break in the middle of a run: noted, and nobody else is harmed."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toys
from test_run import generating, options  # noqa: F401  fixtures

from slmeval import hookimpl
from slmeval.api import Filter, Metric
from slmeval.builtin.reporters.readable import TableReporter
from slmeval.builtin.reporters.text import interval_text, value_text
from slmeval.cli import run as command
from slmeval.errors import UsageError
from slmeval.registry import load
from slmeval.store import Store
from slmeval.tasks import FreeText, MultipleChoice
from slmeval.testing import evaluate
from slmeval.types import Answer, CellResult, DatasetSpec, Figure, RunOptions, RunResult, Use

HEAD = "from slmeval import hookimpl\nfrom slmeval.api import Backend, Metric, Task\n"


def hook(kind: str, body: str, marker: str = "@hookimpl", arguments: str = "") -> str:
    return f"{HEAD}{marker}\ndef slmeval_register_{kind}({arguments}):\n    {body}\n"


# ---- plugins that cannot be used ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        (hook("backend", "return []"), "unknown hook 'slmeval_register_backend'"),
        (hook("backends", "return []", arguments="config"), "can not be found in the hookspec"),
        (
            hook("backends", "raise ValueError('one\\ntwo')"),
            "slmeval_register_backends failed: ValueError: one",
        ),
        (hook("backends", "raise SystemExit"), "slmeval_register_backends failed: SystemExit"),
        (hook("backends", "return 7"), "'int' object is not iterable"),
        (hook("backends", "return 'abc'"), "backend 'a' is not a subclass of Backend"),
        (hook("metrics", "return [Backend]"), "is not a subclass of Metric"),
        (hook("tasks", "return [Task]"), "is not one of Task"),
        (hook("metrics", "return [type('M', (Metric,), {'score': None})]"), "has no name"),
        (hook("metrics", "return [type('M', (Metric,), {'name': 7, 'score': None})]"), "has no name"),
        (hook("metrics", "return [type('M', (Metric,), {'name': 'm'})]"), "metric 'm' lacks score"),
        (
            hook("tasks", "return [type('T', (Task,), {'name': 't', 'sample': None})()]"),
            "task 't' lacks version, kind, dataset",
        ),
        (
            hook("metrics", "return [type('M', (Metric,), {'name': 'm', 'score': None})] * 2"),
            "it brings two metrics named 'm'",
        ),
        (hook("groups", "return [('g', 'abc')]"), "group ('g', 'abc') is not a pair"),
        (hook("groups", "return ['ab']"), "group 'ab' is not a pair"),
        (hook("groups", "return [('g', (1,))]"), "is not a pair of a name and a tuple of task names"),
        (hook("commands", "raise ValueError('no')"), "slmeval_register_commands failed: ValueError: no"),
        (hook("commands", "return [print]"), "is not one of Command"),
        (hook("tasks", "yield", "@hookimpl(wrapper=True)"), "slmeval_register_tasks is a wrapper"),
        (hook("tasks", "yield", "@hookimpl(hookwrapper=True)"), "slmeval_register_tasks is a wrapper"),
    ],
)
def test_an_installed_plugin_that_is_broken_is_told_and_does_no_harm(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
    reason: str,
) -> None:
    toys.install(tmp_path, monkeypatch, module, name="hostile")
    registry = load()
    (record,) = [record for record in registry.plugins if record.name == "hostile"]
    assert reason in (record.broken or "")
    assert "\n" not in (record.broken or "")
    assert "hostile" not in [seat.name for seat in registry.seats]
    assert "reference" in registry.parts.backends
    assert command(["doctor"]) == 0
    assert "plugin hostile (hostile 1.0): " in capsys.readouterr().out


def test_a_plugin_given_by_hand_that_is_broken_is_refused() -> None:
    bad = SimpleNamespace(slmeval_register_metrics=hookimpl(lambda: 1 / 0))
    with pytest.raises(UsageError, match=r"plugin 'bad' cannot be used: .* ZeroDivisionError"):
        load(extra={"bad": bad}, installed=False)


def test_no_plugin_may_take_the_name_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, point in (("first", "same"), ("second", "same"), ("third", "metrics")):
        toys.install(tmp_path, monkeypatch, hook("groups", f"return [({name!r}, ())]"), name, point)
    registry = load()
    broken = {record.origin: record.broken for record in registry.plugins}
    assert broken["first 1.0"] is None
    assert broken["second 1.0"] == "another plugin is named 'same' already"
    assert broken["third 1.0"] == "another plugin is named 'metrics' already"
    assert {"first", "second", "third"} & set(registry.parts.groups) == {"first"}
    assert "acc" in registry.parts.metrics


# ---- plugins that watch ------------------------------------------------------------------------------


class Saboteur:
    """Raises in every hook, and changes what it is shown."""

    @hookimpl
    def slmeval_run_started(self) -> None:
        raise ValueError("at the\nstart")

    @hookimpl
    def slmeval_answer_scored(self, scores: dict[str, float | None]) -> None:
        scores.clear()
        raise SystemExit("at an answer")

    @hookimpl
    def slmeval_cell_finished(self, cell: CellResult) -> None:
        raise KeyError("at a cell")

    @hookimpl
    def slmeval_run_finished(self, run: RunResult) -> None:
        raise OSError("at the end")


class Witness:
    """Counts the answers that it is shown."""

    def __init__(self) -> None:
        self.seen = 0

    @hookimpl
    def slmeval_answer_scored(self) -> None:
        self.seen += 1


def test_a_watcher_that_fails_is_noted_once_for_each_hook_and_the_run_goes_on(
    options: RunOptions,  # noqa: F811
    tmp_path: Path,
) -> None:
    witness = Witness()
    store = tmp_path / "store.db"
    result = evaluate(options, store, {"a": Witness(), "saboteur": Saboteur(), "z": witness})
    assert result.status == "done"
    assert witness.seen == 12
    assert result.cells == evaluate(options, tmp_path / "quiet.db").cells
    notes = [note for note in result.models[0].notes if "saboteur" in note]
    assert [note.rpartition(": ")[2] for note in notes] == [
        "at the start",
        "at an answer",
        "'at a cell'",
        "at the end",
    ]
    with Store.open(store) as opened:
        assert opened.run(result.id) == result
    TableReporter().write(result, out := io.StringIO())
    assert "plugin 'saboteur' failed in slmeval_run_finished" in " ".join(out.getvalue().split())


# ---- metrics and filters -----------------------------------------------------------------------------


def with_metric(score: Callable[[Answer], Any], **more: Any) -> Any:
    """A plugin with a task that is scored by ``score``."""
    task = MultipleChoice(
        name="mine",
        version="1",
        dataset=DatasetSpec("arc_easy", "test", ("question",)),
        prompt=lambda row: row["question"],
        choices=lambda row: row["choices"]["text"],
        gold=lambda _: 0,
        metrics=(Use("my_metric"),),
    )
    metric = type("Mine", (Metric,), {"name": "my_metric", "score": lambda _, answer: score(answer), **more})
    return SimpleNamespace(
        slmeval_register_tasks=hookimpl(lambda: [task]), slmeval_register_metrics=hookimpl(lambda: [metric])
    )


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (with_metric(lambda _: 1 / 0), "metric 'my_metric' failed: ZeroDivisionError"),
        (with_metric(lambda _: math.nan), "its score is nan, not a finite number"),
        (with_metric(lambda _: -math.inf), "its score is -inf, not a finite number"),
        (with_metric(lambda _: "0.5"), "its score is '0.5', not a finite number"),
        (with_metric(lambda _: 1j), "its score is 1j, not a finite number"),
        (with_metric(lambda _: 10**400), "metric 'my_metric' failed: OverflowError"),
        (with_metric(lambda answer: 1e300 * answer.replies[0].logprob), "failed: OverflowError"),
        (with_metric(lambda _: 1.5, proportion=True), "a proportion's lies between 0 and 1"),
        (
            with_metric(lambda _: 1, total=lambda *_: 0.5),
            "its total is 0.5, not a figure",
        ),
        (
            with_metric(
                lambda _: 1,
                total=lambda _, name, *__: Figure(name, "high", None, None, 1, ""),  # type: ignore[arg-type]
            ),
            "value is 'high', not a finite number",
        ),
    ],
)
def test_a_metric_that_fails_costs_its_own_task_alone(
    options: RunOptions,  # noqa: F811
    tmp_path: Path,
    plugin: Any,
    reason: str,
) -> None:
    store = tmp_path / "store.db"
    result = evaluate(replace(options, tasks=("mine", "arc_easy")), store, {"mine": plugin})
    (failure,) = result.failures
    assert result.status == "failed"
    assert failure.reason.startswith("task 'mine': metric 'my_metric' failed: ")
    assert reason in failure.reason
    assert [cell.name for cell in result.cells] == ["arc_easy"]
    with Store.open(store) as opened:
        assert opened.run(result.id) == result


@pytest.mark.parametrize("score", [True, 1, 1.0, np.float32(1), np.int64(1), np.bool_(True)])
def test_a_score_may_be_any_real_number(
    options: RunOptions,  # noqa: F811
    tmp_path: Path,
    score: Any,
) -> None:
    plugin = with_metric(lambda _: score, proportion=True)
    result = evaluate(replace(options, tasks=("mine",)), tmp_path / "store.db", {"mine": plugin})
    (figure,) = result.cells[0].figures
    assert json.dumps([figure.value, figure.n]) == "[1.0, 12]"


@pytest.mark.parametrize("found", [7, ZeroDivisionError("no")])
def test_a_filter_that_fails_costs_its_own_task_alone(
    generating: RunOptions,  # noqa: F811
    tmp_path: Path,
    found: Any,
) -> None:
    class Bad(Filter):
        """Finds what is no text, or breaks."""

        name = "bad"

        def find(self, text: str) -> str | None:
            if isinstance(found, Exception):
                raise found
            return found  # type: ignore[no-any-return]

    task = FreeText(
        name="mine",
        version="1",
        dataset=DatasetSpec("gsm8k", "test", ("question",)),
        prompt=lambda row: row["question"],
        target=lambda row: row["answer"],
        stop=("\n",),
        filters=(Use("bad"),),
        metrics=(Use("exact_match"),),
    )
    plugin = SimpleNamespace(
        slmeval_register_tasks=hookimpl(lambda: [task]), slmeval_register_filters=hookimpl(lambda: [Bad])
    )
    result = evaluate(
        replace(generating, tasks=("mine", "gsm8k"), timeout=120), tmp_path / "store.db", {"mine": plugin}
    )
    (failure,) = result.failures
    assert failure.reason.startswith("task 'mine': filter 'bad' failed: ")
    assert [cell.name for cell in result.cells] == ["gsm8k"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_can_still_be_shown(value: float) -> None:
    figure = Figure("f", value, value, (-math.inf, math.inf), 3, "")
    assert value_text(figure) == f"unavailable (the value was {value})"
    assert interval_text(figure) == ""
    assert interval_text(replace(figure, ci95=(0.0, 5e-324))) == "[0, 4.94e-324]"
