"""Where a report goes: a file or standard output, in the format named or told by the file's ending."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from slmeval.api import Reporter
from slmeval.errors import JobFailed, UsageError
from slmeval.registry import pick
from slmeval.text import clean
from slmeval.types import RunResult


def choose_reporter(form: str | None, output: str | None, known: Mapping[str, type[Reporter]]) -> Reporter:
    """The reporter named, else the one for the output's ending, else the table.

    :raises UsageError: there is none of that name or for that ending.
    """
    if form is not None:
        return pick("format", form, known)()
    by_suffix = {reporter.suffix: name for name, reporter in known.items()}
    suffix = Path(output).suffix.removeprefix(".").lower() if output else ""
    if suffix and suffix not in by_suffix:
        endings = ", ".join(f".{each}" for each in sorted(by_suffix))
        raise UsageError(
            f"--output {output}: no format ends in .{suffix} ({endings}): name one with --format"
        )
    return pick("format", by_suffix.get(suffix, "table"), known)()


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
    """Write the whole report at once.

    :raises JobFailed: it cannot be written; the run is in the store.
    """
    written = io.StringIO()
    reporter.write(run, written)
    if output is None:
        print_text(written.getvalue())
        return
    try:
        Path(output).write_text(written.getvalue(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise JobFailed(f"{output} cannot be written ({error.strerror}): slmeval show {run.id}") from None


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
