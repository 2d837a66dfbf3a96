"""Where a report goes: a file or standard output, in the format named or told by the file's ending."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import click

from slmeval.api import Reporter
from slmeval.differences import Comparison
from slmeval.errors import JobFailed, UsageError
from slmeval.registry import pick
from slmeval.text import clean
from slmeval.types import RunResult
from slmeval.verdicts import GateReport

#: what a reporter may write, in words
_KINDS = {"run": "runs", "comparison": "comparisons", "gate": "gates"}


def choose_reporter(
    form: str | None, output: str | None, known: Mapping[str, type[Reporter]], kind: str = "run"
) -> Reporter:
    """The reporter named, else the one for the output's ending, else the table; it writes ``kind``.

    :raises UsageError: there is none of that name or for that ending, or it does not write ``kind``.
    """
    fit = {name: reporter for name, reporter in known.items() if kind in reporter.writes}
    name = form if form is not None else _by_ending(output, known, fit)
    chosen = pick("format", name, known)
    if name not in fit:
        others = ", ".join(fit)
        raise UsageError(
            f"format {name!r} does not write {_KINDS[kind]}: name another with --format ({others})"
        )
    return chosen()


def reporters_into(
    files: Sequence[str], known: Mapping[str, type[Reporter]], kind: str = "run"
) -> list[tuple[Reporter, str]]:
    """A reporter for each of several files, by their endings.

    :raises UsageError: one of them could not be written, or has an ending that tells no format of ``kind``.
    """
    for file in files:
        check_output(file)
    return [(choose_reporter(None, file, known, kind), file) for file in files]


def _by_ending(
    output: str | None, known: Mapping[str, type[Reporter]], fit: Mapping[str, type[Reporter]]
) -> str:
    """The name of the format with the longest ending that is the file's; the table for a file without one."""
    file = Path(output).name.lower() if output else ""
    found = [name for name, reporter in known.items() if file.endswith(f".{reporter.suffix}")]
    if found:
        return max(found, key=lambda name: len(known[name].suffix))
    if ending := Path(file).suffix:
        endings = ", ".join(sorted(f".{reporter.suffix}" for reporter in fit.values()))
        raise UsageError(f"--output {output}: no format ends in {ending} ({endings}): name one with --format")
    return "table"


def check_output(output: str | None) -> None:
    """:raises UsageError: the report could not be written there; better known before a long run."""
    if output is None:
        return
    path = Path(output)
    try:
        if path.is_dir():
            raise UsageError(f"--output {output} is a folder: name a file")
        if not path.parent.is_dir():
            raise UsageError(f"--output {output}: there is no folder {path.parent}")
        _try(path)
    except OSError as error:
        raise UsageError(f"--output {output} cannot be written: {error.strerror}") from None


def _try(path: Path) -> None:
    """Permissions do not tell all of a place: a file is tried, and nothing is left there."""
    new = not path.exists()
    # whoever reads a pipe would take this for its end
    if new or path.is_file():
        path.open("ab").close()
    if new:
        path.unlink()


def report(run: RunResult, reporter: Reporter, output: str | None) -> None:
    """Write the whole report of a run at once.

    :raises JobFailed: it cannot be written; the run is in the store.
    """
    _deliver(lambda out: reporter.write(run, out), output, f"slmeval show {run.id}")


def report_comparisons(comparisons: Sequence[Comparison], reporter: Reporter, output: str | None) -> None:
    """Write all that was compared at once.

    :raises JobFailed: it cannot be written.
    """
    _deliver(lambda out: reporter.write_comparisons(comparisons, out), output, "compare once more")


def report_gate(gate: GateReport, reporter: Reporter, output: str | None) -> None:
    """Write how all rules were answered at once.

    :raises JobFailed: it cannot be written.
    """
    _deliver(lambda out: reporter.write_gate(gate, out), output, f"slmeval gate {gate.run}")


def _deliver(write: Callable[[TextIO], None], output: str | None, otherwise: str) -> None:
    """What ``write`` writes, to a file or to standard output; ``otherwise`` says how else to get it."""
    written = io.StringIO()
    write(written)
    if output is None:
        print_text(written.getvalue())
        return
    try:
        Path(output).write_text(written.getvalue(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise JobFailed(f"{output} cannot be written ({error.strerror}): {otherwise}") from None


def print_text(text: str) -> None:
    """Print ``text``, whatever the console can show; a reader who has gone (``| head``) is no error.

    :raises JobFailed: standard output cannot be written.
    """
    if sys.stdout is None:  # closed before we began
        return
    # a console that cannot show a sign (±, · on some code pages) gets a plain one, not a traceback
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # what is left in the buffer would fail again when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise JobFailed(f"standard output cannot be written ({error.strerror})") from None


def complain(message: str) -> None:
    """One line on stderr, with nothing in it that a terminal would obey: it may quote a file or an engine."""
    with suppress(OSError):  # where stderr cannot be written, the exit code must do
        click.echo(f"slmeval: {clean(message)}", err=True)
