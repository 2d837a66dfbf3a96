"""Gates as tests of pytest: outcomes, baselines, mistakes, several processes, what an unused plugin costs."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from slmeval import pytest_marks, pytest_runs
from slmeval.baselines import baseline_of, read_baseline, write_baseline
from slmeval.rules import parse_rule
from slmeval.types import Failure, RunOptions, RunResult

pytest_plugins = ("pytester",)

#: eight bundled rows, which the demo model answers all right: 100%, with an interval from 67.6% on
RUN = 'backend="reference", tasks="arc_easy", limit=8, executor="local"'
SURE, WRONG, UNSURE = "arc_easy/acc >= 0.5", "arc_easy/acc <= 0.5", "arc_easy/acc >= 0.9"
SAME, BETTER = "arc_easy/acc >= baseline - 1pt", "arc_easy/acc >= baseline + 5pt"
HEAD = f"import pytest\npytestmark = pytest.mark.slmeval({RUN})\n"


@pytest.fixture(scope="module")
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a gate imports late: a session within this process forgets what it was the first to import."""
    runs = pytest_runs.Runs(tmp_path_factory.mktemp("imported"))
    run = runs.run(RunOptions(("reference",), tasks=("arc_easy",), limit=8, executor="local"))
    write_baseline(baseline_of(run), runs.folder / "base.json")
    rules = (parse_rule(UNSURE), parse_rule(BETTER))
    runs.judged(run, pytest_runs.Asked(rules, runs.folder / "base.json"))


@pytest.fixture
def tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, _imported: None) -> pytest.Pytester:
    """A project whose configuration knows of no gates."""
    # it would be imported anew by each session
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")
    pytester.makeini("[pytest]\naddopts = --strict-markers -ra")
    return pytester


def gated(
    *rules: str, body: str = "...", name: str = "test_quality", fixture: str = "", more: str = ""
) -> str:
    """A test with a gate of these rules."""
    return f"@pytest.mark.slmeval(gate={[*rules]}{more})\ndef {name}({fixture}):\n    {body}\n"


def write(tests: pytest.Pytester, *parts: str) -> Path:
    return tests.makepyfile(test_it="\n".join((HEAD, *parts)))


@pytest.fixture
def runs_made(monkeypatch: pytest.MonkeyPatch) -> list[RunResult]:
    """The runs that are made in this process."""
    made: list[RunResult] = []
    evaluate = pytest_runs.evaluate

    def counted(*given: Any) -> RunResult:
        made.append(evaluate(*given))
        return made[-1]

    monkeypatch.setattr(pytest_runs, "evaluate", counted)
    return made


# ---- outcomes ---------------------------------------------------------------------------------------------


def test_each_rule_is_a_test_and_the_run_is_made_once(
    tests: pytest.Pytester, runs_made: list[RunResult]
) -> None:
    write(tests, gated(SURE, WRONG, UNSURE), gated(SURE, name="test_again"))
    result = tests.runpytest("-v")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 2, "failed": 1, "inconclusive": 1}
    result.stdout.fnmatch_lines(
        [
            f"*::test_quality[[]{SURE}] PASSED *",
            f"*::test_quality[[]{WRONG}] FAILED *",
            f"*::test_quality[[]{UNSURE}] INCONCLUSIVE *",
            f"*::test_again[[]{SURE}] PASSED *",
        ]
    )
    assert len(runs_made) == 1


def test_a_gate_that_fails_says_why_and_shows_nothing_of_ours(tests: pytest.Pytester) -> None:
    write(tests, gated(WRONG))
    result = tests.runpytest()
    result.stdout.fnmatch_lines(
        [
            "arc_easy@0/acc of demo on reference: 100% *",
            f"  rule         {WRONG} (fail)",
            "  value        1.0000",
            "  limit        0.5000",
            "  above limit  0.5000, 95% interval 0.1756 to 0.5000, n = 8",
            "rules: 1 failed",
        ]
    )
    for trace in ("Traceback", "pytest_gates.py", "pytest_plugin.py", "During handling"):
        assert trace not in result.stdout.str()


def test_what_cannot_be_decided_is_shown_apart_and_fails_where_that_is_wanted(tests: pytest.Pytester) -> None:
    write(tests, gated(UNSURE))
    shown = tests.runpytest()
    assert (shown.ret, shown.parseoutcomes()) == (pytest.ExitCode.OK, {"inconclusive": 1})
    shown.stdout.fnmatch_lines(
        ["rules: 1 inconclusive", "INCONCLUSIVE test_it.py::*", "  arc_easy@0/acc of demo*"]
    )
    strict = tests.runpytest("--slmeval-inconclusive=fail")
    assert (strict.ret, strict.parseoutcomes()) == (pytest.ExitCode.TESTS_FAILED, {"failed": 1})
    strict.stdout.fnmatch_lines([f"  rule         {UNSURE} (inconclusive)", "INCONCLUSIVE test_it.py::*"])
    tests.makeini("[pytest]\nslmeval_inconclusive = fail")
    assert tests.runpytest().ret == pytest.ExitCode.TESTS_FAILED
    assert tests.runpytest("--slmeval-inconclusive=show").ret == pytest.ExitCode.OK


def test_a_body_may_look_at_the_run_and_the_report_and_ends_the_test_first(tests: pytest.Pytester) -> None:
    look = "assert (slmeval_gate.run.cells[0].n, slmeval_gate.report.count('pass')) == (8, 1)"
    write(
        tests,
        gated(SURE, fixture="slmeval_gate", body=look),
        gated(WRONG, fixture="slmeval_gate", body="raise OSError('mine')", name="test_body"),
        gated(SURE, body="pytest.skip('not today')", name="test_skipped"),
        "@pytest.mark.xfail(strict=True)\n" + gated(WRONG, name="test_expected"),
    )
    result = tests.runpytest()
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "skipped": 1, "xfailed": 1}
    result.stdout.fnmatch_lines(["E * OSError: mine"])


def test_methods_of_classes_and_of_unittest_have_gates_too(tests: pytest.Pytester) -> None:
    method = "    def test_it(self): ...\n"
    write(
        tests,
        f"import unittest\n@pytest.mark.slmeval(gate={WRONG!r})\nclass TestPlain:\n{method}",
        f"@pytest.mark.slmeval(gate={[SURE, WRONG]})\nclass TestUnit(unittest.TestCase):\n{method}",
    )
    result = tests.runpytest("-v")
    assert result.parseoutcomes() == {"failed": 2}
    result.stdout.fnmatch_lines([f"*TestPlain::test_it[[]{WRONG}] FAILED*", "*TestUnit::test_it FAILED*"])
    result.stdout.fnmatch_lines(["rules: 1 passed, 2 failed"])


def test_markers_go_together_and_rules_add_up(tests: pytest.Pytester, runs_made: list[RunResult]) -> None:
    own = f'pytest.param(2, marks=pytest.mark.slmeval(limit=16, gate="{WRONG}"))'
    write(tests, f'@pytest.mark.parametrize("n", [1, {own}])', gated(SURE, fixture="n", more=", limit=6"))
    result = tests.runpytest("-v")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["*-1] PASSED*", "*-2] FAILED*", "rules: 2 passed, 1 failed"])
    assert sorted(run.cells[0].n for run in runs_made) == [6, 16]


def test_rules_that_are_added_after_tests_are_made_are_answered_too(tests: pytest.Pytester) -> None:
    added = f"item.add_marker(pytest.mark.slmeval(gate='{WRONG}'))"
    tests.makeconftest(
        f"import pytest\ndef pytest_collection_modifyitems(items):\n    for item in items:\n        {added}\n"
    )
    write(tests, gated(SURE), "def test_plain(): ...\n")
    result = tests.runpytest()
    assert result.parseoutcomes() == {"failed": 2}
    result.stdout.fnmatch_lines(["rules: 1 passed, 2 failed"])


def test_a_gate_asked_after_its_test_is_refused_for_nobody_would_see_a_doubt(tests: pytest.Pytester) -> None:
    late = "@pytest.fixture\ndef late(slmeval_gate):\n    yield\n"
    late += f"    slmeval_gate(slmeval_gate.run, '{UNSURE}')\n"
    write(tests, late, "def test_it(late): ...\n")
    result = tests.runpytest()
    assert result.parseoutcomes() == {"passed": 1, "errors": 1}
    result.stdout.fnmatch_lines(["slmeval_gate(run, ...) is called after the test: *"])


def test_what_is_not_decided_is_measured_again_where_that_is_asked(tests: pytest.Pytester) -> None:
    tests.makefile(".toml", gates='rules = ["arc_easy/acc >= 0.8"]\n[gate]\nconfirm = 2\n')
    write(tests, "@pytest.mark.slmeval(gate='gates.toml', confirm=0)\ndef test_once(): ...\n")
    assert tests.runpytest().parseoutcomes() == {"inconclusive": 1}
    body = "assert slmeval_gate.run.cells[0].n == 8"
    write(tests, f"@pytest.mark.slmeval(gate='gates.toml')\ndef test_it(slmeval_gate):\n    {body}\n")
    result = tests.runpytest()
    assert result.parseoutcomes() == {"passed": 1}
    result.stdout.fnmatch_lines(["rules: 1 passed", "note: what was not decided was measured again as run *"])


# ---- baselines --------------------------------------------------------------------------------------------


@pytest.fixture
def worse(tests: pytest.Pytester, demo_model: Path) -> Path:
    """The demo model with the rows of its weights in another order."""
    folder = tests.path / "worse"
    shutil.copytree(demo_model, folder)
    weights = load_file(folder / "model.safetensors")
    random = np.random.default_rng(0)
    save_file(
        {name: random.permutation(each) for name, each in weights.items()}, folder / "model.safetensors"
    )
    return folder


def test_a_baseline_is_written_then_holds_and_catches_a_model_that_got_worse(
    tests: pytest.Pytester, worse: Path
) -> None:
    write(tests, gated(SAME, SURE))
    missing = tests.runpytest("--slmeval-baseline=kept/base.json")
    assert missing.parseoutcomes() == {"passed": 1, "errors": 1}
    missing.stdout.fnmatch_lines(
        ["there is no baseline *kept/base.json yet: write it with --slmeval-update-baseline"]
    )
    update = tests.runpytest("--slmeval-baseline=kept/base.json", "--slmeval-update-baseline")
    assert (update.ret, update.parseoutcomes()) == (pytest.ExitCode.OK, {"passed": 1, "skipped": 1})
    update.stdout.fnmatch_lines(
        ["baseline written: *base.json (1 result)", "SKIPPED*test_it.py:*the baseline is written anew*"]
    )
    assert tests.runpytest("--slmeval-baseline=kept/base.json").parseoutcomes() == {"passed": 2}
    write(tests, gated(SAME, more=", model='worse', sample=True, limit=64"))
    refused = tests.runpytest("--slmeval-baseline=kept/base.json")
    assert refused.parseoutcomes() == {"errors": 1}
    refused.stdout.fnmatch_lines(["*items: 8 and 64, of which 8 are the same*"])
    write(tests, gated(SAME, more=", model='worse', sample=True, baseline='kept/base.json'"))
    caught = tests.runpytest()
    assert caught.parseoutcomes() == {"failed": 1}
    caught.stdout.fnmatch_lines(["  baseline     1.0000"])


def test_who_names_no_baseline_is_told_how(tests: pytest.Pytester) -> None:
    write(tests, gated(SAME))
    for arguments, needing in (((), f"rule '{SAME}'"), (("--slmeval-update-baseline",),) * 2):
        result = tests.runpytest(*arguments)
        assert result.parseoutcomes() == {"errors": 1}
        said = needing if isinstance(needing, str) else needing[0]
        assert f"{said} needs a" in result.stdout.str()
        assert "name one with --slmeval-baseline FILE" in result.stdout.str()


def test_a_session_of_some_tests_leaves_the_rest_of_the_baseline(tests: pytest.Pytester) -> None:
    tests.makeini("[pytest]\nslmeval_baseline = base.json")
    other = gated("hellaswag/acc >= baseline", name="test_other", more=", tasks='hellaswag'")
    write(tests, gated(BETTER), other)
    assert tests.runpytest("--slmeval-update-baseline").parseoutcomes() == {"skipped": 2}
    before = read_baseline(tests.path / "base.json")
    assert [cell.name for cell in before.cells] == ["arc_easy", "hellaswag"]
    write(tests, gated(BETTER, more=", limit=9"), other)
    result = tests.runpytest("--slmeval-update-baseline", "-k", "test_quality")
    result.stdout.fnmatch_lines(["baseline written: *base.json (2 results, of which 1 as before)"])
    after = read_baseline(tests.path / "base.json")
    assert [cell.n for cell in after.cells] == [9, 8]
    assert after.cells[1] == before.cells[1]
    assert tests.runpytest().parseoutcomes() == {"failed": 1, "passed": 1}


def test_two_ways_of_asking_do_not_share_a_baseline(tests: pytest.Pytester) -> None:
    write(tests, gated(SAME), gated(SAME, name="test_more", more=", limit=9"))
    result = tests.runpytest("--slmeval-baseline=base.json", "--slmeval-update-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["baseline not written: *arc_easy@0 of demo on reference was asked in two ways (items: 8 and 9, *"]
    )
    assert not (tests.path / "base.json").exists()
    write(tests, gated(SAME), gated(SAME, name="test_more", more=", limit=9, baseline='more.json'"))
    assert tests.runpytest("--slmeval-baseline=base.json", "--slmeval-update-baseline").ret == 0
    assert tests.runpytest("--slmeval-baseline=base.json").parseoutcomes() == {"passed": 2}


def test_a_file_of_another_kind_is_not_written_over(
    tests: pytest.Pytester, runs_made: list[RunResult]
) -> None:
    write(tests, gated(SAME))
    (tests.path / "package.json").write_text('{"name": "mine"}')
    result = tests.runpytest("--slmeval-baseline=package.json", "--slmeval-update-baseline")
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["*package.json: no baseline: it has no schema*"])
    assert (tests.path / "package.json").read_text() == '{"name": "mine"}'
    assert not runs_made


def test_a_baseline_that_no_rule_needs_is_not_read(tests: pytest.Pytester) -> None:
    write(tests, gated(SURE), gated(SAME, name="test_same"))
    (tests.path / "base.json").write_text("{")
    result = tests.runpytest("--slmeval-baseline=base.json")
    assert result.parseoutcomes() == {"passed": 1, "errors": 1}
    result.stdout.fnmatch_lines(["*base.json is no JSON: *"])


def test_a_rule_about_nothing_is_seen_when_the_baseline_is_written(tests: pytest.Pytester) -> None:
    write(tests, gated("arc_easy/acc_norm_ >= baseline"))
    result = tests.runpytest("--slmeval-baseline=base.json", "--slmeval-update-baseline")
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["*did you mean 'arc_easy/acc_norm'?*", "no baseline written: no test*"])


# ---- runs of the test's own -------------------------------------------------------------------------------


def test_any_run_can_be_held_to_rules(tests: pytest.Pytester) -> None:
    run = "run = slmeval_run(backends=('reference',), tasks=('arc_easy',), limit=8, executor='local')"
    call = f"{run}\n    slmeval_gate(run, {{}})"
    parts = [
        f"def test_{name}(slmeval_run, slmeval_gate):\n    {call.format(rules)}\n"
        for name, rules in (
            ("pass", f"{SURE!r}, {SAME!r}, baseline='base.json'"),
            ("fail", f"{SURE!r}, {WRONG!r}"),
            ("unsure", f"{UNSURE!r}"),
            ("none", ""),
            ("wrong", "'acc > 0.5'"),
        )
    ]
    tests.makepyfile(test_it="\n".join(parts))
    update = tests.runpytest("--slmeval-update-baseline", "-k", "pass")
    assert update.parseoutcomes() == {"skipped": 1, "deselected": 4}
    result = tests.runpytest()
    assert result.parseoutcomes() == {"passed": 1, "failed": 3, "inconclusive": 1}
    result.stdout.fnmatch_lines(
        [
            "*has no rule: a gate without one would always pass*",
            "*'acc' is not TASK/FIGURE*",
            "rules: 3 passed, 1 failed, 1 inconclusive",
        ]
    )


def test_the_callable_that_was_there_before_is_for_the_whole_session(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session")
        def measured(slmeval_run):
            options = dict(backends=("reference",), tasks=("arc_easy",), limit=4, executor="local")
            return [slmeval_run(**options) for _ in "ab"]

        def test_it(measured):
            assert [(run.asked > 0, run.reused > 0) for run in measured] == [(True, False), (False, True)]
        """
    )
    assert tests.runpytest().parseoutcomes() == {"passed": 1}


def test_who_asks_for_a_run_that_nothing_describes_is_told_so(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        f"""
        import pytest

        def test_plain(slmeval_gate):
            slmeval_gate.run

        @pytest.mark.slmeval(gate="{SURE}")
        def test_gate(): ...
        """
    )
    result = tests.runpytest()
    assert result.parseoutcomes() == {"failed": 1, "errors": 1}
    assert result.stdout.str().count("no marker slmeval says what to run: add tasks=...") >= 2


# ---- mistakes ---------------------------------------------------------------------------------------------

MISTAKES = {
    "bakend='hf'": "unknown key of marker slmeval 'bakend': did you mean 'backend'?",
    "'arc_easy'": "'arc_easy' has no name: write tasks=..., gate=... and so on",
    "backend='hf', backends='hf'": "backends and backends are the same: give one",
    "limit='8'": "marker slmeval: limit is '8', not a whole number",
    "shots='few'": "marker slmeval: shots is 'few', not a list",
    "shots=[0, 'x']": "marker slmeval: shots[1] is 'x', not a whole number",
    "tasks=7": "marker slmeval: tasks is 7, not a text or a list of texts",
    "options='n_ctx=1'": "marker slmeval: engine_options is 'n_ctx=1', not a dictionary",
    "shared=1": "marker slmeval: shared is 1, not True or False",
    "gate=0.3": "marker slmeval: gate is 0.3, not a text or a list of texts",
    "gate=[None]": "marker slmeval: gate has None in it, which is no text (arc_easy/acc_norm >= baseline",
    "gate='arc_easy/acc = 1'": "there is no >=, <=, > or < in it",
    "gate='gone.toml'": "file of rules gone.toml cannot be read: No such file or directory",
    "gate=[]": "marker slmeval: gate is [], without a rule: it would always pass",
    "gate=iter(['arc_easy/acc >= 1'])": "not a text or a list of texts",
    "confirm=True": "marker slmeval: confirm is True, not a number of times",
    "gate='empty.toml'": "rules must be a list of one text or more",
}


@pytest.mark.parametrize(("said", "told"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_in_a_marker_is_one_sentence_before_anything_runs(
    tests: pytest.Pytester, said: str, told: str
) -> None:
    (tests.path / "empty.toml").write_text("rules = []")
    tests.makepyfile(test_it=f"import pytest\n@pytest.mark.slmeval({said})\ndef test_it(): ...\n")
    result = tests.runpytest()
    assert result.parseoutcomes() == {"errors": 1}
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert told in result.stdout.str()
    assert "test_it.py::test_it: " in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_setting_that_nobody_understands_is_refused(tests: pytest.Pytester) -> None:
    tests.makeini("[pytest]\nslmeval_inconclusive = perhaps")
    result = tests.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: slmeval_inconclusive = perhaps: write show or fail"])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (", tasks='arc_esy'", "did you mean 'arc_easy'?"),
        (", model='./nowhere.gguf', sample=True", "nowhere.gguf"),
        (", backend='refrence'", "did you mean 'reference'?"),
        (", options={'n_ctx': 8}", "unknown option 'n_ctx'"),
    ],
)
def test_a_run_that_cannot_be_had_is_one_sentence(tests: pytest.Pytester, more: str, told: str) -> None:
    write(tests, gated(SURE, more=more))
    result = tests.runpytest()
    assert result.parseoutcomes() == {"errors": 1}
    assert told in result.stdout.str()
    assert "slmeval/" not in result.stdout.str()


def test_a_job_that_failed_is_an_error_and_not_a_doubt(
    tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, runs_made: list[RunResult]
) -> None:
    counted = pytest_runs.evaluate
    failure = Failure("reference", "demo", "the engine is gone")

    def broken(*given: Any) -> RunResult:
        return replace(counted(*given), status="failed", failures=(failure,), cells=())

    monkeypatch.setattr(pytest_runs, "evaluate", broken)
    write(tests, gated(SURE, UNSURE))
    result = tests.runpytest()
    assert (result.ret, result.parseoutcomes()) == (pytest.ExitCode.TESTS_FAILED, {"errors": 2})
    result.stdout.fnmatch_lines(["reference:demo failed: the engine is gone"])
    assert len(runs_made) == 1


def test_who_interrupts_a_run_interrupts_the_session(
    tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = pytest_runs.evaluate
    monkeypatch.setattr(
        pytest_runs, "evaluate", lambda *given: replace(evaluate(*given), status="interrupted", cells=())
    )
    write(tests, gated(SURE, UNSURE))
    result = tests.runpytest_inprocess(no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "passed" not in result.parseoutcomes()


# ---- beside the rest of pytest ----------------------------------------------------------------------------


def test_tests_are_chosen_listed_and_repeated_by_their_rules(tests: pytest.Pytester) -> None:
    write(tests, gated(SURE, WRONG, UNSURE))
    listed = tests.runpytest("--collect-only", "-q")
    listed.stdout.fnmatch_lines([f"test_it.py::test_quality[[]{rule}]" for rule in (SURE, WRONG, UNSURE)])
    assert tests.runpytest("-k", "0.9").parseoutcomes() == {"inconclusive": 1, "deselected": 2}
    assert tests.runpytest(f"test_it.py::test_quality[{SURE}]").parseoutcomes() == {"passed": 1}
    assert tests.runpytest().parseoutcomes() == {"passed": 1, "failed": 1, "inconclusive": 1}
    assert tests.runpytest("--lf").parseoutcomes() == {"failed": 1}


def test_rules_may_stand_in_a_file_and_paths_begin_where_the_configuration_lies(
    tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tests.path / "gates.toml").write_text(f'rules = ["{SURE}", "{UNSURE}"]\n')
    write(tests, "@pytest.mark.slmeval(gate='gates.toml')\ndef test_quality(): ...\n")
    (tests.path / "deeper").mkdir()
    monkeypatch.chdir(tests.path / "deeper")
    result = tests.runpytest("..")
    assert result.parseoutcomes() == {"passed": 1, "inconclusive": 1}


def test_junit_has_the_numbers_and_what_is_not_decided_is_skipped_there(tests: pytest.Pytester) -> None:
    write(tests, gated(SURE, UNSURE))
    tests.runpytest("--junitxml=report.xml")
    first, second = ElementTree.parse(tests.path / "report.xml").getroot().iter("testcase")
    told = {each.attrib["name"]: each.attrib["value"] for each in first.iter("property")}
    assert {name: told[f"slmeval_{name}"] for name in ("rule", "answer", "value", "limit", "model")} == {
        "rule": SURE,
        "answer": "pass",
        "value": "1.0",
        "limit": "0.5",
        "model": "demo on reference",
    }
    assert float(told["slmeval_excess_low"]) == pytest.approx(0.1756, abs=1e-4)
    assert first.find("skipped") is None
    (skipped,) = second.iter("skipped")
    assert skipped.attrib["message"].startswith("arc_easy@0/acc of demo on reference: 100%")
    assert "test_it.py:" in (skipped.text or "")


def test_a_session_without_the_plugin_is_as_ever(tests: pytest.Pytester) -> None:
    tests.makepyfile("def test_it(): ...")
    assert tests.runpytest("-p", "no:slmeval").parseoutcomes() == {"passed": 1}


UNUSED = """
import sys

def pytest_sessionfinish(session):
    here = {name for name in sys.modules if name.startswith("slmeval")}
    heavy = {name for name in ("numpy", "scipy", "tokenizers", "pluggy_is_not") if name in sys.modules}
    print("IMPORTED", sorted(here), sorted(heavy))
"""


def imported(result: pytest.RunResult) -> tuple[set[str], str]:
    """Modules of slmeval, and heavy ones, at the end of a session."""
    found = re.search(r"IMPORTED (\[.*\]) (\[.*\])", result.stdout.str())
    assert found
    return set(re.findall(r"'([^']+)'", found[1])), found[2]


def test_a_session_that_has_no_use_for_it_imports_nothing(tests: pytest.Pytester) -> None:
    tests.makeconftest(UNUSED)
    tests.makepyfile("def test_it(): ...")
    ours, heavy = imported(tests.runpytest_subprocess("-s"))
    assert ours == {"slmeval", "slmeval.hookspecs", "slmeval.pytest_plugin"}
    assert heavy == "[]"


def test_listing_gates_loads_no_library(tests: pytest.Pytester) -> None:
    tests.makeconftest(UNUSED)
    write(tests, gated(SURE))
    ours, heavy = imported(tests.runpytest_subprocess("-s", "--collect-only"))
    assert "slmeval.pytest_marks" in ours
    assert not ours & {"slmeval.testing", "slmeval.pytest_gates", "slmeval.planner"}
    assert heavy == "[]"


# ---- several processes ------------------------------------------------------------------------------------


def test_processes_share_runs_and_lose_no_cell_of_the_baseline(tests: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    own = {name: f"{name}/acc >= baseline" for name in ("arc_easy", "hellaswag", "piqa", "arc_challenge")}
    parts = [gated(rule, name=f"test_{name}", more=f", tasks='{name}'") for name, rule in own.items()]
    write(tests, *parts, gated(SURE, UNSURE, WRONG, name="test_more"), gated(SAME, name="test_same"))
    options = ("-n2", "--slmeval-baseline=base.json", f"--basetemp={tests.path / 'temp'}")
    update = tests.runpytest_subprocess(*options, "--slmeval-update-baseline")
    assert update.parseoutcomes() == {"skipped": 5, "passed": 1, "failed": 1, "inconclusive": 1}
    update.stdout.fnmatch_lines(
        ["rules: 1 passed, 1 failed, 1 inconclusive", "baseline written: * (4 results)"]
    )
    assert sorted(cell.name for cell in read_baseline(tests.path / "base.json").cells) == sorted(own)
    result = tests.runpytest_subprocess(*options)
    assert result.parseoutcomes() == {"passed": 6, "failed": 1, "inconclusive": 1}
    result.stdout.fnmatch_lines(
        ["rules: 6 passed, 1 failed, 1 inconclusive", "INCONCLUSIVE test_it.py::test_more*"]
    )
    with closing(sqlite3.connect(tests.path / "temp" / "slmeval" / "store.db")) as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (4,)


@pytest.mark.slow
def test_processes_that_begin_at_once_share_the_store(tests: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    run = "slmeval_run(backends=('reference',), tasks=('arc_easy',), limit=4, executor='local')"
    body = f"run = {run}\n    assert run.status == 'done'\n    assert run.asked + run.reused > 0"
    tests.makepyfile("\n".join(f"def test_{n}(slmeval_run):\n    {body}\n" for n in range(6)))
    options = ("-n3", f"--basetemp={tests.path / 'temp'}")
    assert tests.runpytest_subprocess(*options).parseoutcomes() == {"passed": 6}
    with closing(sqlite3.connect(tests.path / "temp" / "slmeval" / "store.db")) as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (6,)


# ---- the page ---------------------------------------------------------------------------------------------


def test_the_page_explains_every_key_option_and_property(tests: pytest.Pytester) -> None:
    page = (Path(__file__).parents[1] / "docs" / "pytest.md").read_text(encoding="utf-8")
    options = re.findall(r"--slmeval-[a-z-]+", tests.runpytest("--help").stdout.str())
    assert {"--slmeval-baseline", "--slmeval-update-baseline", "--slmeval-inconclusive"} <= set(options)
    assert not [option for option in options if option not in page and option != "--slmeval-option"]
    assert not [key for key in (*pytest_marks.CALLED, *pytest_marks.OWN) if f"`{key}" not in page]
    write(tests, gated("arc_easy/acc >= 0.5 * baseline"))
    tests.runpytest("--slmeval-baseline=base.json", "--slmeval-update-baseline")
    tests.runpytest("--slmeval-baseline=base.json", "--junitxml=report.xml")
    properties = {
        each.attrib["name"] for each in ElementTree.parse(tests.path / "report.xml").iter("property")
    }
    assert "slmeval_baseline" in properties
    assert not [name for name in properties if f"`{name}`" not in page]
