"""``slmeval gate``: its exit code is the answer, and what it cannot judge is said in one sentence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gate_runs import of, probe, scored, scores, weights
from test_confirming import options  # noqa: F401  a fixture

from slmeval.baselines import baseline_of, write_baseline
from slmeval.cli import run as slmeval
from slmeval.document import to_json
from slmeval.store import UPLOADED, Store
from slmeval.testing import evaluate
from slmeval.types import Failure, Figure, RunOptions, RunResult

BEFORE = of(
    scored("arc_easy", scores(2000, 0.5)),
    probe(weights()),
    id="20260801-101500-aaaa",
    started="2026-08-01T10:15:00+00:00",
)


def now(lost: int = 0, gained: int = 0, **changes: object) -> RunResult:
    made = of(
        scored("arc_easy", scores(2000, 0.5, lost=lost, gained=gained)),
        probe(weights()),
        id="20260802-101500-bbbb",
        started="2026-08-02T10:15:00+00:00",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a baseline in it, and a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLMEVAL_STORE", str(tmp_path / "store.db"))
    write_baseline(baseline_of(BEFORE), tmp_path / "main.json")
    keep(tmp_path, BEFORE)
    return tmp_path


def keep(folder: Path, *runs: RunResult) -> None:
    with Store.open(folder / "store.db") as store:
        for run in runs:
            store.finish_run(run)


def gate(*arguments: str, baseline: str | None = "main.json") -> int:
    return slmeval(["gate", "last", *(["--baseline", baseline] if baseline else []), *arguments])


# ---- the answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "gained", "code", "word"), [(0, 0, 0, "pass"), (100, 40, 1, "fail"), (22, 20, 4, "inconclusive")]
)
def test_the_exit_code_is_the_answer(
    here: Path, capsys: pytest.CaptureFixture[str], lost: int, gained: int, code: int, word: str
) -> None:
    keep(here, now(lost, gained))
    assert gate("--rule", "arc_easy/acc >= baseline") == code
    out, err = capsys.readouterr()
    assert f"Gate: {word}" in out
    assert "main.json (run 20260801-101500-aaaa)" in out
    assert not err


def test_a_fail_goes_before_what_is_inconclusive(here: Path) -> None:
    keep(here, now(22, 20))
    rules = ("--rule", "arc_easy/acc >= baseline", "--rule", "memory/weights <= 20 MiB")
    assert gate(*rules) == 1


def test_a_figure_that_is_no_number_is_inconclusive(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nan = Figure("acc", math.nan, None, None, 2000, "", higher_is_better=True)
    keep(here, now(cells=(scored("arc_easy", scores(2000, 0.5), figures=(nan,)),)))
    assert gate("--rule", "arc_easy/acc >= baseline") == 4
    assert "the value was nan" in capsys.readouterr().out


def test_what_failed_in_the_run_is_inconclusive(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now(status="failed", cells=(), failures=(Failure("reference", "tiny", "it was killed"),)))
    assert gate("--rule", "arc_easy/acc >= baseline") == 4
    assert "it was killed" in capsys.readouterr().out


# ---- which rules -----------------------------------------------------------------------------------------


def test_without_rules_no_accuracy_may_be_lower(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now(100, 40))
    assert gate() == 1
    out = capsys.readouterr().out
    assert "arc_easy@0/acc >= baseline" in out
    assert "no rules were given: no main figure may be worse than the baseline's" in out


def test_without_rules_those_of_the_folder_are_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now(100, 40))
    (here / "gates.toml").write_text('rules = ["arc_easy/acc >= baseline - 5pt"]\n')
    assert gate() == 0
    assert "those of gates.toml in this folder are taken" in capsys.readouterr().out
    # what is named goes alone
    assert gate("--rule", "memory/weights <= baseline") == 0
    assert "gates.toml" not in capsys.readouterr().out


def test_rules_of_a_file_and_of_the_line_hold_together(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(here, now(100, 40))
    (here / "own.toml").write_text('rules = ["arc_easy/acc >= baseline - 5pt"]\n')
    assert gate("--rules", "own.toml", "--rule", "memory/weights <= 20 MiB") == 1
    assert "Gate: fail (1 failed, 1 passed)" in capsys.readouterr().out


def test_a_gate_with_nothing_to_hold_says_what_to_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(here, now())
    assert gate(baseline=None) == 2
    assert "a gate without rules needs --baseline FILE" in capsys.readouterr().err
    assert gate("--rule", "arc_easy/acc >= baseline", baseline=None) == 2
    assert "name one with --baseline FILE" in capsys.readouterr().err
    assert gate("--rule", "arc_easy/acc >= 0.3", baseline=None) == 0


def test_settings_of_the_file_count_where_the_line_has_none(here: Path) -> None:
    fewer = scored("arc_easy", scores(2000, 0.5)[:500])
    keep(here, now(cells=(fewer,)))
    (here / "own.toml").write_text('rules = ["arc_easy/acc >= baseline - 1pt"]\n[gate]\nshared = true\n')
    assert gate("--rules", "own.toml") == 0
    assert gate("--rule", "arc_easy/acc >= baseline - 1pt") == 2
    assert gate("--rule", "arc_easy/acc >= baseline - 1pt", "--shared") == 0


# ---- what cannot be judged -------------------------------------------------------------------------------


def test_a_rule_on_no_figure_tells_the_nearest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now())
    assert gate("--rule", "arc_easy/acc_nrm >= baseline") == 2
    assert "did you mean 'arc_easy/acc'?" in capsys.readouterr().err
    assert gate("--rule", "arc_easy/acc => baseline") == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "main.json"),
        ('{"schema": "slmeval.comparison/1"}', "its schema is 'slmeval.comparison"),
        ('{"schema": "slmeval.baseline/9"}', "slmeval.baseline/9"),
        ("[1, 2", "main.json"),
    ],
)
def test_a_baseline_that_is_none_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    keep(here, now())
    (here / "main.json").write_text(text)
    assert gate() == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_baseline_that_was_cut_or_is_of_other_items_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(here, now())
    whole = (here / "main.json").read_text()
    (here / "main.json").write_text(whole[: len(whole) // 2])
    assert gate() == 2
    others = replace(BEFORE.cells[0].outcomes, items=tuple(f"{9000 + n:012x}" for n in range(2000)))  # type: ignore[type-var]
    write_baseline(baseline_of(of(replace(BEFORE.cells[0], outcomes=others))), here / "main.json")
    capsys.readouterr()
    assert gate() == 2
    assert "items: 2,000 and 2,000, of which 0 are the same" in capsys.readouterr().err


def test_a_baseline_that_is_not_there_tells_how_to_make_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(here, now())
    assert gate(baseline="none.json") == 2
    assert "the same command with --update-baseline makes it" in capsys.readouterr().err


def test_a_run_may_be_a_file_but_no_baseline(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run.json").write_text(to_json(now()))
    assert slmeval(["gate", "run.json", "--baseline", "main.json"]) == 0
    assert slmeval(["gate", "run.json", "--baseline", "20260801"]) == 0
    assert slmeval(["gate", "main.json", "--baseline", "main.json"]) == 2
    assert "main.json is a baseline: name the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--recovery-of", "tiny", "--baseline", "main.json"),
        ("--update-baseline",),
        ("--update-baseline", "--baseline", "main.json", "--confirm", "2"),
        ("--confirm", "-1", "--baseline", "main.json"),
        ("--baseline", "main.json", "--format", "csv"),
    ],
)
def test_what_does_not_go_together_is_refused(here: Path, arguments: tuple[str, ...]) -> None:
    keep(here, now())
    assert slmeval(["gate", "last", *arguments]) == 2


# ---- baselines -------------------------------------------------------------------------------------------


def test_a_baseline_is_made_and_replaced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now(100, 40))
    assert gate("--update-baseline", baseline="new.json") == 0
    assert "run 20260802-101500-bbbb is the baseline in new.json now" in capsys.readouterr().err
    assert gate(baseline="new.json") == 0
    assert gate() == 1
    assert gate("--update-baseline") == 0
    assert "in the place of run 20260801-101500-aaaa" in capsys.readouterr().err
    assert gate() == 0


def test_nothing_but_a_baseline_is_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now())
    (here / "notes.json").write_text('{"mine": true}')
    assert gate("--update-baseline", baseline="notes.json") == 2
    assert "remove notes.json, if it is to be written anew" in capsys.readouterr().err
    assert (here / "notes.json").read_text() == '{"mine": true}'


def test_no_baseline_is_made_of_half_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now(status="interrupted"))
    assert gate("--update-baseline", baseline="new.json") == 2
    assert "is interrupted: a baseline is made of a run that is done" in capsys.readouterr().err
    assert not (here / "new.json").exists()


# ---- reports and further measurements --------------------------------------------------------------------


def test_reports_for_programs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(here, now(100, 40))
    rules = ("--rule", "arc_easy/acc >= baseline", "--rule", "memory/weights <= baseline")
    assert gate(*rules, "--format", "json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "slmeval.gate/1"
    assert gate(*rules, "--format", "junit", "--output", "gate.xml") == 1
    cases = ElementTree.parse(here / "gate.xml").getroot().iter("testcase")
    assert [len(case.findall("failure")) for case in cases] == [1, 0]


def test_recovery_in_one_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = scored("arc_easy", scores(2000, 0.5, lost=8, gained=6), model="tiny-q8", backend="llamacpp")
    keep(here, now(cells=(*now().cells, small)))
    assert gate("--recovery-of", "tiny", "--rule", "arc_easy/acc >= 97% * baseline", baseline=None) == 0
    assert "of it (95% interval" in capsys.readouterr().out


def test_what_is_inconclusive_is_measured_again(
    here: Path,
    options: RunOptions,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = evaluate(options, here / "store.db")
    assert gate("--rule", "arc_easy/acc >= 0.45", "--confirm", "3", baseline=None) in (0, 4)
    out = capsys.readouterr().out
    assert f"Run {run.id}" in out
    assert "measured again as run" in out
    broken = replace(run, options=replace(options, engine_options={"trouble": "error"}))
    (here / "broken.json").write_text(to_json(broken))
    assert slmeval(["gate", "broken.json", "--rule", "arc_easy/acc >= 0.5", "--confirm", "1"]) == 3
    captured = capsys.readouterr()
    assert "Gate: inconclusive" in captured.out
    assert "toy:model failed: ValueError: one line" in captured.err


@pytest.mark.parametrize("more", [("--confirm", "1"), ("--against", "model")])
def test_what_another_machine_s_options_name_is_not_run(
    here: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(here / "store.db") as store:
        store.finish_run(now(22, 20), {UPLOADED: "somebody"})
    assert gate(*more) == 2
    assert "was uploaded, and its options are another machine's" in capsys.readouterr().err
    assert gate() == 4
