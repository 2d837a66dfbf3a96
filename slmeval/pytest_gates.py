"""Gates as tests of pytest: what the fixture ``slmeval_gate`` gives, and how a test ends by its gate.

Imported where a test has the marker ``slmeval`` or takes the fixture, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest

from slmeval.baselines import baseline_of, read_baseline, write_baseline
from slmeval.errors import UsageError
from slmeval.pytest_marks import MadeFor, Wish, explained, rules_of, wish_of
from slmeval.pytest_runs import Asked, Runs, refuse_failures
from slmeval.pytest_words import lines_of, properties_of, sentence_of
from slmeval.rules import Rule, matching, parse_rule
from slmeval.types import RunResult
from slmeval.verdicts import GateReport, Judged

_NAME_IT = "name one with --slmeval-baseline FILE, or as slmeval_baseline in the configuration of pytest"
_WRITTEN_ANEW = "the baseline is written anew: there is nothing to hold it against"

# ---- the session's settings ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What options and the configuration file say. ``baseline`` is the session's, ``None`` where none is."""

    baseline: Path | None
    update: bool
    strict: bool


def settings_of(config: pytest.Config) -> Settings:
    """What was said on the command line goes before what is written in the configuration."""
    given, written = config.getoption("--slmeval-baseline"), config.getini("slmeval_baseline")
    baseline = Path(given) if given else config.rootpath / written if written else None
    inconclusive = config.getoption("--slmeval-inconclusive") or config.getini("slmeval_inconclusive")
    return Settings(baseline, config.getoption("--slmeval-update-baseline"), inconclusive == "fail")


# ---- one test's gate -------------------------------------------------------------------------------------


class Gate:
    """The marker's run, how its rule was answered, and a way to hold other runs to rules.

    A rule that fails ends its test after the body, where the body has not failed before; one that cannot be
    decided is shown apart.
    """

    def __init__(self, item: pytest.Item, runs: Runs, made_for: MadeFor | None) -> None:
        """``made_for`` is the rule that this test is made for, ``None`` where it answers all."""
        self._item = item
        self._runs = runs
        with explained():
            self._settings = settings_of(item.config)
            self._wish = wish_of(item)
            self._mine = rules_of(self._wish, made_for)
        self._judged: list[Judged] = []
        self._unheld = False
        self._inconclusive = self._skipped = self._ended = False
        self._notes: list[str] = []
        self._kept: list[list[str]] = []
        #: how the rules of this test were answered; ``None`` where its markers have none
        self.report: GateReport | None = None

    @cached_property
    def run(self) -> RunResult:
        """The run that the marker asks for, made once for all tests that ask for the same."""
        with explained():
            if not self._wish.asked:
                raise UsageError("no marker slmeval says what to run: add tasks=..., model=... and so on")
            return self._runs.run(self._wish.options)

    def __call__(
        self,
        run: RunResult,
        *rules: str,
        baseline: str | Path | None = None,
        shared: bool = False,
        confirm: int = 0,
    ) -> GateReport:
        """Hold any run to rules, of which one that fails ends the test; the rest is as in the marker."""
        named = "" if baseline is None else str(self._item.config.rootpath / baseline)
        with explained():
            if self._ended:
                raise UsageError("slmeval_gate(run, ...) is called after the test: a doubt would be lost")
            if not rules:
                raise UsageError("slmeval_gate(run, ...) has no rule: a gate without one would always pass")
            parsed = tuple(parse_rule(rule) for rule in rules)
            wish = Wish(run.options, parsed, named, shared, confirm)
            report = self._hold(run, wish, parsed)
        _end_if_failed(report.judged)
        return report

    def prepare(self) -> None:
        """Make the marker's run and judge it, before the test's body."""
        if not self._mine:
            return
        with explained():
            # what is missing is told before a long run, not after it
            self._against(self._wish, self._mine)
            self.report = self._hold(self.run, self._wish, self._mine)

    # ---- against what ------------------------------------------------------------------------------------

    def _file(self, wish: Wish) -> Path | None:
        return Path(wish.baseline) if wish.baseline else self._settings.baseline

    def _against(self, wish: Wish, mine: Sequence[Rule]) -> Path | None:
        """The file that rules are held against, ``None`` where none needs it, or where it is not there (yet).

        :raises UsageError: one of the rules in ``mine`` needs it, or it is to be written, and has no place.
        """
        path = self._file(wish)
        wanting = next((rule for rule in mine if rule.needs_baseline), None)
        if self._settings.update:
            _check_place(path)
            return None
        if path is not None and path.exists():
            return path if any(rule.needs_baseline for rule in wish.rules) else None
        if wanting is not None:
            raise UsageError(
                f"rule {wanting.text!r} needs a baseline: {_NAME_IT}"
                if path is None
                else f"there is no baseline {path} yet: write it with --slmeval-update-baseline"
            )
        return None

    # ---- judging -----------------------------------------------------------------------------------------

    def _hold(self, run: RunResult, wish: Wish, mine: Sequence[Rule]) -> GateReport:
        """The answers to the rules in ``mine``; all of the wish's are judged, for they are one gate."""
        refuse_failures(run.failures)
        baseline = self._against(wish, mine)
        if self._settings.update:
            self._check(run, wish)
            self._keep(run, wish)
            self._unheld |= any(rule.needs_baseline for rule in mine)
        rules = tuple(rule for rule in wish.rules if baseline is not None or not rule.needs_baseline)
        again = 0 if self._settings.update else wish.confirm
        report = self._runs.judged(run, Asked(rules, baseline, wish.shared, again))
        texts = {rule.text for rule in mine}
        found = replace(report, judged=tuple(each for each in report.judged if each.rule in texts))
        self._judged += found.judged
        self._notes += found.notes
        self._item.user_properties += [each for judged in found.judged for each in properties_of(judged)]
        return found

    def _check(self, run: RunResult, wish: Wish) -> None:
        """:raises UsageError: a rule is about nothing, which nobody would see before the next session."""
        for rule in wish.rules:
            matching(rule, run.cells)

    def _keep(self, run: RunResult, wish: Wish) -> None:
        """Put the run's outcomes where the end of the session finds them, in whichever process that is."""
        kept = self._runs.folder / f"{run.id}.baseline.json"
        if not kept.exists():
            write_baseline(baseline_of(run), kept)
        self._kept.append([str(kept), str(self._file(wish))])

    # ---- the test's end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """End the test as its gate says, after a body that went well."""
        self._ended = True
        _end_if_failed(self._judged)
        if unsure := [each for each in self._judged if each.answer == "inconclusive"]:
            self._inconclusive = True
            if self._settings.strict:
                pytest.fail(_told(unsure), pytrace=False)
            self._skip(" ".join(map(sentence_of, unsure)))
        if self._unheld:
            self._skip(_WRITTEN_ANEW)

    def _skip(self, reason: str) -> None:
        self._skipped = True
        pytest.skip(reason)

    def put_into(self, report: pytest.TestReport) -> None:
        """Let a report carry what came of it, as plain data that can travel to another process."""
        answers = [[each.answer, sentence_of(each)] for each in self._judged]
        told = {"answers": answers, "notes": self._notes, "kept": self._kept}
        report.slmeval_gate = told  # type: ignore[attr-defined]
        report.slmeval_inconclusive = self._inconclusive  # type: ignore[attr-defined]
        if self._skipped and isinstance(report.longrepr, tuple):
            # pytest names the line that skipped, which is ours
            path, line, _ = self._item.reportinfo()
            report.longrepr = (str(path), (line or 0) + 1, report.longrepr[2])


def _check_place(path: Path | None) -> None:
    """Better known before a long run than after it: where a baseline would go, and what must not be lost."""
    if path is None:
        raise UsageError(f"--slmeval-update-baseline needs a file: {_NAME_IT}")
    if path.exists():
        read_baseline(path)


def _end_if_failed(judged: Sequence[Judged]) -> None:
    if failed := [each for each in judged if each.answer == "fail"]:
        pytest.fail(_told(failed), pytrace=False)


def _told(judged: Sequence[Judged]) -> str:
    return "\n\n".join(lines_of(each) for each in judged)
