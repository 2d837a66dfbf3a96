"""``slmeval parity``: the same questions through several engines, what differs, and why."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slmeval.cli import flags
from slmeval.cli.output import check_output, complain, print_text
from slmeval.cli.progress import Bar
from slmeval.cli.run_command import anchored, warn_of_broken
from slmeval.errors import ExitCode, JobFailed, UsageError
from slmeval.types import RunOptions

if TYPE_CHECKING:
    from slmeval.parity.report import Parity

#: what is asked where no task is named: all of it is in the bundled sample
_TASKS = ("arc_easy", "arc_challenge", "hellaswag", "piqa", "gsm8k")
_LIMIT = 32
_FORMATS = ("md", "json")


@click.command("parity")
@flags.with_options(
    flags.BACKENDS,
    flags.MODELS,
    click.option(
        "--tasks",
        callback=flags.names,
        metavar="NAMES",
        help="Tasks; by default four of choices and one of texts.",
    ),
    flags.SHOTS,
    click.option(
        "--limit", type=int, default=_LIMIT, show_default=True, metavar="N", help="Ask the first N rows only."
    ),
    flags.DATA,
    flags.SAMPLE,
    flags.DTYPE,
    flags.SEED,
    flags.TOKENIZER,
    flags.EXECUTOR,
    flags.PYTHONS,
    flags.ENGINE_OPTIONS,
    flags.BLOCKED,
    flags.TIMEOUT,
    click.option(
        "--tolerance", type=float, metavar="NATS", help="Fail where a summed log-probability differs by more."
    ),
    click.option("--max-flips", type=int, metavar="N", help="Fail where more predictions change."),
    click.option("--format", "form", metavar="NAME", help="md or json; by the file's ending, or md."),
    flags.OUTPUT,
    flags.STORE,
)
def command(
    form: str | None,
    output: str | None,
    store: str | None,
    tolerance: float | None,
    max_flips: int | None,
    **given: object,
) -> int:
    """Ask several engines the same questions, and say what differs and why.

    The first engine, with its first model, is what the others are held against. Exit code 1: a stated
    tolerance is broken.
    """
    from slmeval.parity.compare import check_sides, compare
    from slmeval.parity.control import Asker
    from slmeval.planner import plan
    from slmeval.registry import load, refuse_unknown
    from slmeval.run import execute, executor_of
    from slmeval.store import Store, default_path

    options = _with_defaults(anchored(RunOptions(**given)))  # type: ignore[arg-type]  # click has typed each of them
    form = _format(form, output)
    _check_tolerances(tolerance, max_flips)
    check_output(output)
    registry = load(options.blocked_plugins)
    refuse_unknown(options.blocked_plugins, registry.plugins)
    warn_of_broken(registry.plugins)
    with Store.open(Path(store) if store else default_path()) as opened:
        planned = plan(options, registry.parts, opened.file_hash)
        check_sides(planned)
        bar = Bar(sys.stderr)
        result = execute(planned, registry, opened, bar)
        asker = Asker(executor_of(options, registry), opened, options.timeout, bar)
        found = compare(planned, result, asker, opened.file_hash, tolerance, max_flips)
    _write(found, form, output)
    return _tell(found)


def _with_defaults(options: RunOptions) -> RunOptions:
    """Where no task is named: those of the bundled sample, and its rows if no others are given."""
    if options.tasks:
        return options
    return replace(options, tasks=_TASKS, sample=options.data is None)


def _format(form: str | None, output: str | None) -> str:
    ending = Path(output).suffix.removeprefix(".").lower() if output else ""
    wanted = form or ending or "md"
    if wanted not in _FORMATS:
        raise UsageError(f"parity writes {' and '.join(_FORMATS)}, not {wanted!r}: name one with --format")
    return wanted


def _check_tolerances(tolerance: float | None, max_flips: int | None) -> None:
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(f"--tolerance {tolerance:g}: a finite number of nats, 0 or more")
    if max_flips is not None and max_flips < 0:
        raise UsageError(f"--max-flips {max_flips}: a number of predictions, 0 or more")


def _write(found: Parity, form: str, output: str | None) -> None:
    from slmeval.parity.document import to_json
    from slmeval.parity.markdown import to_markdown

    text = to_json(found) if form == "json" else to_markdown(found)
    if output is None:
        print_text(text)
        return
    try:
        Path(output).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise JobFailed(f"{output} cannot be written ({error.strerror}): run the same once more") from None


def _tell(found: Parity) -> int:
    """What failed and what was broken, on stderr; and the exit code, which is the worst of these."""
    for failure in found.failures:
        complain(f"{failure.backend}:{failure.model} failed: {failure.reason}")
    for gate in found.gates:
        if gate.verdict != "kept":
            told = (
                "nothing was compared"
                if gate.found is None
                else f"{gate.found:.3g} of at most {gate.allowed:g}"
            )
            complain(f"{gate.name.replace('_', '-')} {gate.verdict} by {gate.side}: {told}")
    if found.status == "interrupted":
        return ExitCode.INTERRUPTED
    if found.failures:
        return ExitCode.JOB_FAILED
    verdicts = {gate.verdict for gate in found.gates}
    if "broken" in verdicts:
        return ExitCode.GATE_FAILED
    return ExitCode.INCONCLUSIVE if "inconclusive" in verdicts else ExitCode.DONE
