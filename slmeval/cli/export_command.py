"""``slmeval export``: a run as a file."""

from __future__ import annotations

from pathlib import Path

import click

from slmeval.cli.output import check_output, choose_reporter, report


@click.command("export")
@click.argument("run")
@click.argument("file")
@click.option("--format", "form", metavar="NAME", help="table, md, json or csv; by the file's ending.")
@click.option("--store", metavar="PATH", help="Where answers and runs are kept.")
def command(run: str, file: str, form: str | None, store: str | None) -> None:
    """Write RUN (its id, or the beginning of it) to FILE, in the format of FILE's ending."""
    from slmeval.registry import load
    from slmeval.store import Store, default_path

    check_output(file)
    reporter = choose_reporter(form, file, load().parts.reporters)
    with Store.open(Path(store) if store else default_path(), must_exist=bool(store)) as opened:
        report(opened.run(run), reporter, file)
