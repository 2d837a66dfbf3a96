"""Timing rules of a gate are measured on two sides in turn, and its other rules are judged beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gate_runs import of, probe, scored, scores, weights

from slmeval.cli import run as slmeval
from slmeval.errors import JobFailed
from slmeval.medians import median_figure
from slmeval.rules import Rule
from slmeval.store import Store
from slmeval.types import RunOptions
from slmeval.verdicts import Judged

RATE = median_figure("tokens_per_s", [50.0, 51, 52, 53, 54, 55], unit="tokens/s", higher_is_better=True)
RUN = of(scored("arc_easy", scores(400, 0.5)), probe(RATE, name="decode"), probe(weights()))
TIMED = "decode/tok_s >= 0.95 * baseline"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was timed, in place of timing; in a folder whose store has the run."""
    seen: list[Any] = []

    def timed(
        options: RunOptions, other: str, rules: Sequence[Rule], *_: object, **told: object
    ) -> list[Judged]:
        seen.append((options, other, [rule.text for rule in rules], told))
        if other == "broken":
            raise JobFailed("reference:tiny: it was killed")
        return [
            Judged(rule.text, "pass", "as fast", rule.task, None, rule.figure, "reference", "tiny")
            for rule in rules
        ]

    monkeypatch.setattr("slmeval.gate_turns.against", timed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLMEVAL_STORE", str(tmp_path / "store.db"))
    with Store.open(tmp_path / "store.db") as store:
        store.finish_run(RUN)
    return seen


def gate(*arguments: str, other: str = "models/other") -> int:
    return slmeval(["gate", "last", "--against", other, *arguments])


def rules(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--rule", text)]


def test_times_are_measured_and_the_rest_is_judged_in_the_order_of_the_rules(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(*rules("arc_easy/acc >= 0.3", TIMED, "memory/weights <= 30 MiB")) == 0
    assert asked == [(RUN.options, "models/other", [TIMED], {})]
    out = capsys.readouterr().out
    places = [out.index(text) for text in ("arc_easy/acc", TIMED, "memory/weights")]
    assert places == sorted(places)
    assert "times were measured in turn with models/other, anew" in out


def test_the_number_of_pairs_goes_along(asked: list[Any]) -> None:
    assert gate(*rules(TIMED), "--pairs", "30") == 0
    assert asked[0][3] == {"pairs": 30}


def test_a_probe_that_the_run_has_not_can_be_timed(asked: list[Any]) -> None:
    assert gate(*rules("prefill/tok_s >= 0.95 * baseline")) == 0
    assert asked[0][2] == ["prefill/tok_s >= 0.95 * baseline"]


def test_a_side_that_fails_leaves_the_others_their_answers(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(*rules("arc_easy/acc >= 0.9", TIMED), other="broken") == 3
    captured = capsys.readouterr()
    assert "1 failed, 1 inconclusive" in captured.out
    assert "not decided: it could not be timed: reference:tiny: it was killed" in " ".join(
        captured.out.split()
    )
    assert "it was killed" in captured.err
    assert asked


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (rules("arc_easy/acc >= 0.3"), "no rule holds one against baseline"),
        (rules("decode/tok_s >= 20"), "no rule holds one against baseline"),
        (rules(TIMED, "arc_easy/acc >= baseline"), "name one with --baseline FILE"),
        ([*rules(TIMED), "--recovery-of", "tiny"], "two models to hold the run against"),
        ([*rules(TIMED), "--update-baseline", "--baseline", "b.json"], "leave out"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_timed(
    asked: list[Any], capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert gate(*arguments) == 2
    assert told in capsys.readouterr().err
    assert not asked


def test_pairs_are_for_two_sides(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert slmeval(["gate", "last", "--pairs", "30", *rules("arc_easy/acc >= 0.3")]) == 2
    assert "--pairs is for --against" in capsys.readouterr().err
    assert not asked
