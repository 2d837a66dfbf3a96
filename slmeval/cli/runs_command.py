"""``slmeval runs``: the runs in the store."""

from __future__ import annotations

from pathlib import Path

import click

from slmeval.cli.output import print_text
from slmeval.text import clean


@click.command("runs")
@click.option("--store", metavar="PATH", help="Where answers and runs are kept.")
def command(store: str | None) -> None:
    """List the runs in the store, the newest first."""
    from tabulate import tabulate

    from slmeval.store import Store, default_path

    with Store.open(Path(store) if store else default_path(), must_exist=bool(store)) as opened:
        rows = [
            (
                run.id,
                run.started,
                run.status,
                clean(",".join(run.options.backends)) or "default",
                clean(",".join(run.options.models)) or "demo",
                clean(",".join(run.options.tasks)),
            )
            for run in opened.runs()
        ]
    if not rows:
        print_text("no runs yet: slmeval run --tasks arc,hellaswag\n")
        return
    headers = ("run", "started (UTC)", "status", "backends", "models", "tasks")
    print_text(tabulate(rows, headers=headers, disable_numparse=True) + "\n")
