"""``slmeval export``: a run as a file."""

from __future__ import annotations

from pathlib import Path

import click

from slmeval.cli.output import check_output, choose_reporter, report

#: no reporter's: a reporter writes what people and other programs read
_BASELINE = "baseline"


@click.command("export")
@click.argument("run")
@click.argument("file")
@click.option(
    "--format",
    "form",
    metavar="NAME",
    help="table, md, json, csv, junit, bmf or github, by the file's ending; or baseline.",
)
@click.option("--store", metavar="PATH", help="Where answers and runs are kept.")
def command(run: str, file: str, form: str | None, store: str | None) -> None:
    """Write RUN (`last`, an id, or the beginning of one) to FILE, in the format of FILE's ending.

    A baseline is what later runs are held against: small enough to be committed.
    """
    from slmeval.baselines import baseline_of, write_baseline
    from slmeval.registry import load
    from slmeval.store import Store, default_path

    check_output(file)
    reporter = None if form == _BASELINE else choose_reporter(form, file, load().parts.reporters)
    with Store.open(Path(store) if store else default_path(), must_exist=bool(store)) as opened:
        found = opened.run(run)
    if reporter is None:
        write_baseline(baseline_of(found), Path(file))
    else:
        report(found, reporter, file)
