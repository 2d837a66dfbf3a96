"""What a plugin may watch: every event of a run, with frozen values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from test_run import options  # noqa: F401  a fixture

from slmeval import hookimpl
from slmeval.testing import evaluate
from slmeval.types import Answer, CellResult, RunOptions, RunResult


class Watcher:
    """Writes down what it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    @hookimpl
    def slmeval_run_started(self, run_id: str, cells: tuple[str, ...]) -> None:
        self.seen.append(("started", cells))

    @hookimpl
    def slmeval_answer_scored(self, index: int, answer: Answer, scores: dict[str, float | None]) -> None:
        self.seen.append(("scored", (index, answer, scores)))

    @hookimpl
    def slmeval_cell_finished(self, cell: CellResult) -> None:
        self.seen.append(("cell", cell))

    @hookimpl
    def slmeval_run_finished(self, run: RunResult) -> None:
        self.seen.append(("finished", run))


def test_a_watcher_sees_the_whole_run(options: RunOptions, tmp_path: Path) -> None:  # noqa: F811
    watcher = Watcher()
    result = evaluate(options, tmp_path / "store.db", {"watcher": watcher})
    assert [kind for kind, _ in watcher.seen] == ["started", *["scored"] * 12, "cell", "finished"]
    assert watcher.seen[0][1] == ("arc_easy@0 on toy:model",)
    index, answer, scores = watcher.seen[3][1]
    assert index == 2
    assert scores["acc"] in (0.0, 1.0)
    with pytest.raises(FrozenInstanceError):
        answer.found = "mine"
    assert watcher.seen[-1][1] == result
