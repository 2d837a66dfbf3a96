"""The worker that is started while a run is planned: it is used once, or ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys

from slmeval.api import Channel, Executor, Launch
from slmeval.builtin.executors import ProcessChannel, ProcessExecutor
from slmeval.errors import SlmevalError, UsageError
from slmeval.head_start import HeadStart
from slmeval.planner import plan
from slmeval.registry import load
from slmeval.run import execute
from slmeval.store import Store
from slmeval.testing import Silent
from slmeval.types import RunOptions, RunResult


class Counting(Executor):
    """Starts processes, keeps their channels, and counts those that are there as another one starts."""

    name = "process"
    started: list[ProcessChannel]
    beside: list[int]

    def __init__(self) -> None:
        self.started, self.beside = [], []

    def start(self, launch: Launch) -> Channel:
        self.beside.append(sum(not is_gone(each) for each in self.started))
        channel = ProcessExecutor().start(launch)
        assert isinstance(channel, ProcessChannel)
        self.started.append(channel)
        return channel


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    (tmp_path / "plugin").mkdir()
    toys.install(tmp_path / "plugin", monkeypatch)
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    with Store.open(tmp_path / "store.db") as store:
        yield store


def run(store: Store, executor: Executor, **changes: Any) -> RunResult:
    options = RunOptions(
        **{"backends": ("toy",), "tasks": ("arc_easy",), "sample": True, "limit": 3, **changes}
    )
    registry = load(())
    with HeadStart(executor) as head_start:
        planned = plan(options, registry.parts, store.file_hash, head_start)
        return execute(planned, registry, store, Silent(), head_start=head_start)


def is_gone(channel: ProcessChannel) -> bool:
    try:
        os.kill(channel.pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_first_job_takes_the_worker_and_starts_no_other(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = Counting()
    monkeypatch.setattr("slmeval.run.executor_of", lambda *_: executor)
    result = run(opened, executor)
    assert (result.status, result.asked > 0) == ("done", True)
    assert len(executor.started) == 1
    assert all(map(is_gone, executor.started))


def test_another_job_starts_its_own(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Counting()
    monkeypatch.setattr("slmeval.run.executor_of", lambda *_: executor)
    result = run(opened, executor, backends=("toy", "reference"))
    assert result.status == "done"
    assert len(executor.started) == 2
    assert all(map(is_gone, executor.started))


def test_what_is_timed_from_its_start_starts_alone(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Counting()
    monkeypatch.setattr("slmeval.run.executor_of", lambda *_: executor)
    result = run(opened, executor, tasks=("load",), engine_options={"file_cache": "as_is"})
    assert result.status == "done"
    # the one that was started ahead, and the probe's own
    assert executor.beside == [0] * 7


def test_a_job_of_another_engine_has_none_beside_its_own(opened: Store) -> None:
    backends = load(()).parts.backends
    executor = Counting()
    with HeadStart(executor) as head_start:
        head_start.begin(backends["toy"], {"trouble": "none", "pace": 0.0}, sys.executable, ())
        (channel,) = executor.started
        job: Any = SimpleNamespace(
            backend=backends["reference"], options={}, blocked=(), python=sys.executable
        )
        assert head_start.take(job) is None
        assert is_gone(channel)


def test_a_mistake_that_the_plan_finds_ends_the_worker(opened: Store) -> None:
    executor = Counting()
    with pytest.raises(SlmevalError, match="no model folder"):
        run(opened, executor, models=("./no-such-folder",))
    (channel,) = executor.started
    assert is_gone(channel)


def test_a_mistake_in_an_option_starts_none(opened: Store) -> None:
    executor = Counting()
    with pytest.raises(UsageError):
        run(opened, executor, engine_options={"no_such": "1"})
    assert not executor.started


def test_a_worker_that_cannot_be_started_is_told_of_by_its_job(opened: Store, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("no program")
    program.chmod(0o755)
    result = run(opened, ProcessExecutor(), pythons={"toy": str(program)})
    (failure,) = result.failures
    assert "cannot start a worker" in failure.reason
