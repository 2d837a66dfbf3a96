"""The benchmark that kills servers and devices: it sees what it looks for, and two kills of each go well."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import service_kills
from service_kills import WANTED, Outcome, Undisturbed, Work, judged, outcome, right

from slmeval.service.ledger import Ledger, Submission
from slmeval.store import Store
from slmeval.types import RunOptions

WORK = Work(limit=2, shots=0)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A store with one undisturbed run."""
    path = tmp_path_factory.mktemp("undisturbed") / "store.db"
    return path, Undisturbed(WORK, path).of(5)


@pytest.fixture
def expected(alone: tuple[Path, Outcome]) -> Outcome:
    return alone[1]


@pytest.fixture
def made(alone: tuple[Path, Outcome], tmp_path: Path) -> tuple[Path, str]:
    """A copy of the store, where the run is one of the service's."""
    path = tmp_path / "store.db"
    shutil.copy(alone[0], path)
    with Store.open(path) as store:
        run = store.full_id("last")
        ledger = Ledger(store)
        ledger.submit([Submission(run, "b", "2026-01-01", "", "queued", RunOptions(), "reference")])
        ledger.start(run, "device")
        ledger.finish(run, "done")
    return path, run


def lose_an_item(store: Store, run: str) -> None:
    with store.writing() as db:
        db.execute("DELETE FROM cell_items WHERE run = ? AND cell = 1 AND item = 1", (run,))


def lose_an_answer(store: Store, run: str) -> None:
    with store.writing() as db:
        db.execute("DELETE FROM answers WHERE key = (SELECT min(key) FROM answers)")


def change_an_answer(store: Store, run: str) -> None:
    with store.writing() as db:
        db.execute("UPDATE answers SET logprob = logprob * (1 + 3e-16) WHERE kind = 'score'")


def change_a_figure(store: Store, run: str) -> None:
    result = store.run(run)
    cell = result.cells[0]
    figures = tuple(replace(each, value=(each.value or 0.0) + 1e-15) for each in cell.figures)
    store.finish_run(replace(result, cells=(replace(cell, figures=figures), *result.cells[1:])))


def end_again(store: Store, run: str) -> None:
    Ledger(store).tell([(run, "done", {})])


def fail(store: Store, run: str) -> None:
    with store.writing() as db:
        db.execute("UPDATE submissions SET state = 'failed'")


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lose_an_item, {"items", "answers"}),
        (lose_an_answer, {"answers"}),
        (change_an_answer, {"answers"}),
        (change_a_figure, {"cells"}),
        (end_again, {"events"}),
        (fail, set(WANTED)),
    ],
)
def test_what_is_wrong_is_seen(
    damage: Callable[[Store, str], None], seen: set[str], made: tuple[Path, str], expected: Outcome
) -> None:
    path, run = made
    with Store.open(path) as store:
        before = judged(store, run, expected, 0)
        damage(store, run)
        after = judged(store, run, expected, 0)
    assert right(before)
    assert {name for name in WANTED if not after[name]} == seen
    assert not right(after)


def test_a_question_that_is_asked_again_is_seen(made: tuple[Path, str], expected: Outcome) -> None:
    path, run = made
    with Store.open(path) as store:
        assert outcome(store, run).asked == len(expected.answers)
        assert judged(store, run, expected, 1)["asked_once"], "the kill did not reach it"
        Ledger(store).tell([(run, "started", {"device": "device"})])
        assert not judged(store, run, expected, 1)["asked_once"]


def test_the_table_tells_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    trial: dict[str, Any] = {**dict.fromkeys(WANTED, True), "shares": [0.5, 0.0], "lived": 0.4, "seconds": 9}
    wrong = {**trial, "cells": False, "lived": float("inf")}
    kept = {"server": {"trials": [trial, wrong], "surroundings": {"processor": "p", "cores": "2"}}}
    monkeypatch.setattr(service_kills.pairs, "kept", lambda _: kept)
    line = service_kills.page().splitlines()[2]
    assert "| `slmeval serve` | 2 | 25% to 25% | 2 of 2 | 1 of 2 | 2 of 2 | 2 of 2 |" in line
    assert "inf" in line


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what a killed process leaves is found in /proc")
@pytest.mark.parametrize("who", service_kills.WHO)
def test_two_kills(who: str, capfd: pytest.CaptureFixture[str]) -> None:
    service_kills.main(["--smoke", "--who", who])
    assert f'"{who}": 2' in capfd.readouterr().out
