"""Where a report goes: a file or standard output, in the format named or told by the file's ending."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from slmeval.api import Reporter
from slmeval.errors import UsageError
from slmeval.registry import pick
from slmeval.types import RunResult


def choose_reporter(form: str | None, output: str | None, known: Mapping[str, type[Reporter]]) -> Reporter:
    """The reporter named, else the one for the output's ending, else the table.

    :raises UnknownName: there is none of that name.
    """
    by_suffix = {reporter.suffix: name for name, reporter in known.items()}
    suffix = Path(output).suffix.removeprefix(".") if output else ""
    return pick("format", form or by_suffix.get(suffix, "table"), known)()


def check_output(output: str | None) -> None:
    """:raises UsageError: the report could not be written there; better known before a long run."""
    if output is None:
        return
    path = Path(output)
    if path.is_dir():
        raise UsageError(f"--output {output} is a folder: name a file")
    if not path.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {path.parent}")


def report(run: RunResult, reporter: Reporter, output: str | None) -> None:
    """Write the whole report at once.

    :raises UsageError: the file cannot be written.
    """
    written = io.StringIO()
    reporter.write(run, written)
    if output is None:
        print_text(written.getvalue())
        return
    try:
        Path(output).write_text(written.getvalue(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(
            f"--output {output} cannot be written ({error.strerror}); the run is kept: slmeval show {run.id}"
        ) from None


def print_text(text: str) -> None:
    """Print ``text`` as it is, whatever the console can show."""
    # a console that cannot show a sign (±, · on some Windows code pages) gets a plain one, not a traceback
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding), nl=False)
