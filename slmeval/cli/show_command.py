"""``slmeval show``: a run's report again."""

from __future__ import annotations

from pathlib import Path

import click

from slmeval.cli.output import choose_reporter, report


@click.command("show")
@click.argument("run")
@click.option("--format", "form", metavar="NAME", help="table, md, json, csv, junit, bmf or github.")
@click.option("--store", metavar="PATH", help="Where answers and runs are kept.")
def command(run: str, form: str | None, store: str | None) -> None:
    """Show the report of RUN (`last`, `last~1`, an id, or the beginning of one) again."""
    from slmeval.registry import load
    from slmeval.store import Store, default_path

    reporter = choose_reporter(form, None, load().parts.reporters)
    with Store.open(Path(store) if store else default_path(), must_exist=bool(store)) as opened:
        report(opened.run(run), reporter, None)
