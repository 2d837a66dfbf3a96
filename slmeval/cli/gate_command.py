"""``slmeval gate``: a run held against rules and a baseline; the exit code is the answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slmeval.cli import flags
from slmeval.cli.output import check_output, choose_reporter, complain, report_gate, reporters_into
from slmeval.cli.progress import Bar
from slmeval.errors import ExitCode, UsageError
from slmeval.types import RunResult
from slmeval.verdicts import GateReport

if TYPE_CHECKING:
    from slmeval.baselines import Baseline
    from slmeval.confirming import Confirmed
    from slmeval.references import Library
    from slmeval.registry import Registry
    from slmeval.rules import Rule

#: rules that are taken where none are named
_USUAL = Path("gates.toml")
_CODES = {"pass": ExitCode.DONE, "fail": ExitCode.GATE_FAILED, "inconclusive": ExitCode.INCONCLUSIVE}


@click.command("gate")
@click.argument("run")
@flags.with_options(
    click.option("--baseline", metavar="FILE", help="What the run is held against: a baseline, or a run."),
    click.option("--rules", "file", metavar="FILE", help="Rules of a TOML file; else ./gates.toml, if any."),
    click.option(
        "--rule",
        "texts",
        multiple=True,
        metavar="RULE",
        help="One more rule: 'arc_easy/acc_norm >= baseline - 1pt'.",
    ),
    click.option("--shared", is_flag=True, help="Hold what was not asked alike against what both have."),
    click.option(
        "--confirm",
        type=click.IntRange(min=0),
        metavar="N",
        help="Measure what is inconclusive again, up to N times, with more of it.",
    ),
    click.option(
        "--recovery-of",
        default="",
        metavar="MODEL",
        help="Hold the run's other models against this one of it: MODEL or BACKEND:MODEL.",
    ),
    click.option(
        "--against",
        metavar="MODEL|ENV",
        help="Timing rules: time this other model, or the same in this environment, in turn.",
    ),
    click.option("--pairs", type=int, metavar="N", help="With --against: N pairs of timings at the most."),
    click.option("--update-baseline", is_flag=True, help="Make the run the baseline in FILE; judge nothing."),
    click.option(
        "--format",
        "form",
        metavar="NAME",
        help="table, md, json, junit, bmf or github; by the file's ending, or table.",
    ),
    flags.OUTPUT,
    click.option(
        "--report",
        "reports",
        multiple=True,
        metavar="FILE",
        help="Write a further report, in the format of FILE's ending.",
    ),
    flags.STORE,
)
def command(
    run: str,
    baseline: str | None,
    file: str | None,
    texts: tuple[str, ...],
    shared: bool,
    confirm: int | None,
    recovery_of: str,
    against: str | None,
    pairs: int | None,
    update_baseline: bool,
    form: str | None,
    output: str | None,
    reports: tuple[str, ...],
    store: str | None,
) -> int:
    """Hold RUN to rules: each is answered pass, fail or inconclusive, and why.

    RUN is `last`, a run's id or the beginning of it, or a file of `slmeval export`. Without rules no accuracy
    may be lower than the baseline's. Exit code: 0 all pass, 1 one fails, 4 one is inconclusive, 2 the gate
    cannot be judged as it is given, 3 a measurement failed.
    """
    from slmeval.references import open_library
    from slmeval.registry import load

    _check_together(baseline, confirm, recovery_of, against, update_baseline)
    if pairs is not None and against is None:
        raise UsageError("--pairs is for --against: how often both sides are timed")
    check_output(output)
    with open_library(store) as library:
        found = _run(library, run)
        if update_baseline:
            return _update(found, Path(str(baseline)))
        registry = load(found.options.blocked_plugins)
        known = registry.parts.reporters
        reporter = choose_reporter(form, output, known, "gate")
        further = reporters_into(reports, known, "gate")
        asked = _asked(file, texts, found, _baseline(library, baseline), recovery_of)
        asked = replace(asked, shared=shared or asked.shared)
        times = asked.confirm if confirm is None else confirm
        confirmed = _held(found, asked, times, registry, library, against, pairs)
    told = _told(confirmed.report, baseline, asked.note)
    for each, place in ((reporter, output), *further):
        report_gate(told, each, place)
    for failure in confirmed.failures:
        complain(f"{failure.backend}:{failure.model} failed: {failure.reason}")
    return ExitCode.JOB_FAILED if confirmed.failures else _CODES[confirmed.report.answer]


def _check_together(
    baseline: str | None, confirm: int | None, recovery_of: str, against: str | None, update: bool
) -> None:
    """:raises UsageError: what was asked for cannot be had together."""
    if update and baseline is None:
        raise UsageError("--update-baseline needs --baseline FILE: where the baseline is to be")
    if update and (confirm or recovery_of or against):
        raise UsageError("--update-baseline judges nothing: leave out --confirm, --recovery-of and --against")
    if recovery_of and baseline is not None:
        raise UsageError("--recovery-of and --baseline name two things to hold the run against: give one")
    if recovery_of and against:
        raise UsageError("--recovery-of and --against name two models to hold the run against: give one")


# ---- what is held against what ---------------------------------------------------------------------------


def _run(library: Library, reference: str) -> RunResult:
    found = library.find(reference)
    if not isinstance(found, RunResult):
        raise UsageError(f"{reference} is a baseline: name the run that is to be held against it")
    return found


def _baseline(library: Library, reference: str | None) -> RunResult | Baseline | None:
    if reference is None:
        return None
    path = Path(reference)
    if path.suffix and not path.exists():
        raise UsageError(
            f"there is no baseline {reference} yet: the same command with --update-baseline makes it"
        )
    return library.find(reference)


@dataclass(frozen=True)
class _Asked:
    """What is to be held against what; ``note`` says where the rules come from, if nobody named them."""

    rules: Sequence[Rule]
    baseline: RunResult | Baseline | None
    recovery_of: str
    shared: bool = False
    confirm: int = 0
    note: str = ""


def _asked(
    file: str | None,
    texts: Sequence[str],
    run: RunResult,
    baseline: RunResult | Baseline | None,
    recovery_of: str,
) -> _Asked:
    """The rules of the file and of the command line; else those of gates.toml; else the default ones."""
    from slmeval.default_rules import default_rules, forgotten
    from slmeval.rules import parse_rule, read_rules

    rules = {rule.text: rule for rule in map(parse_rule, texts)}
    usual = file is None and not texts and _USUAL.is_file()
    if file is None and not usual:
        if rules:
            return _Asked(tuple(rules.values()), baseline, recovery_of)
        found = default_rules(run, baseline, recovery_of)
        usual_ones = "no rules were given: no main figure may be worse than the baseline's"
        note = "; ".join((usual_ones, *forgotten(run, baseline, recovery_of)))
        return _Asked(found, baseline, recovery_of, note=note)
    read = read_rules(_USUAL if file is None else Path(file))
    rules = {**{rule.text: rule for rule in read.rules}, **rules}
    note = f"no rules were given: those of {_USUAL} in this folder are taken" if usual else ""
    shared, confirm = bool(read.shared), read.confirm or 0
    return _Asked(tuple(rules.values()), baseline, recovery_of, shared, confirm, note)


def _update(run: RunResult, path: Path) -> int:
    """Write the run as a baseline, in the place of another baseline or of nothing."""
    from slmeval.baselines import baseline_of, read_baseline, write_baseline

    if run.status != "done":
        raise UsageError(f"run {run.id} is {run.status}: a baseline is made of a run that is done")
    before = ""
    if path.exists():
        try:
            before = f", in the place of run {read_baseline(path).run}"
        except UsageError as error:
            raise UsageError(f"{error}: remove {path}, if it is to be written anew") from None
    write_baseline(baseline_of(run), path)
    complain(f"run {run.id} is the baseline in {path} now{before}")
    return ExitCode.DONE


# ---- judging ---------------------------------------------------------------------------------------------


def _held(
    run: RunResult,
    asked: _Asked,
    times: int,
    registry: Registry,
    library: Library,
    against: str | None,
    pairs: int | None,
) -> Confirmed:
    from slmeval.confirming import Bench, Confirmed, Gate, confirm

    gate = Gate(asked.rules, asked.baseline, asked.shared, asked.recovery_of)
    if not times and against is None:
        return Confirmed(gate.judge(run))
    if library.store.is_uploaded(run.id):
        raise UsageError(
            f"run {run.id} was uploaded, and its options are another machine's: "
            "leave out --confirm and --against"
        )
    bench = Bench(registry, library.store, Bar(sys.stderr))
    if against is None:
        return confirm(run, gate, times, bench)
    from slmeval.gate_turns import judge_in_turn

    return judge_in_turn(run, gate, against, times, bench, pairs)


def _told(report: GateReport, baseline: str | None, note: str) -> GateReport:
    """The report with the name of the baseline's file, and where the rules come from."""
    named = (
        f"{baseline} (run {report.baseline})" if baseline and report.baseline != baseline else report.baseline
    )
    return replace(report, baseline=named, notes=(*((note,) if note else ()), *report.notes))
