"""``slmeval compare``: runs held against each other, item by item."""

from __future__ import annotations

import re

import click

from slmeval.cli import flags
from slmeval.cli.output import check_output, choose_reporter, report_comparisons
from slmeval.errors import UsageError

#: items of each task that are listed unless a number is given
_LISTED = 20
#: more digits are the beginning of a run's id
_COUNT = re.compile("[0-9]{1,6}")


class _Counted(click.Command):
    """``--items`` alone means the usual number, and never takes the name of a run for one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after = [*args[1:], ""]
        bare = [arg == "--items" and not _COUNT.fullmatch(after[place]) for place, arg in enumerate(args)]
        pairs = zip(args, bare, strict=True)
        return super().parse_args(ctx, [f"--items={_LISTED}" if alone else arg for arg, alone in pairs])


@click.command("compare", cls=_Counted)
@click.argument("runs", nargs=-1, required=True, metavar="A B [C...]")
@flags.with_options(
    click.option("--tasks", callback=flags.names, metavar="NAMES", help="These tasks alone: names or globs."),
    click.option(
        "--figures",
        "--figure",
        "figures",
        callback=flags.names,
        metavar="NAMES",
        help="These figures, or all; else each task's main ones.",
    ),
    click.option("--shared", is_flag=True, help="Compare runs that were not asked alike on what they share."),
    click.option(
        "--items",
        type=int,
        metavar="[N]",
        help=f"List items that changed, N of each task ({_LISTED} unless told).",
    ),
    flags.DATA,
    click.option("--format", "form", metavar="NAME", help="table, md or json."),
    flags.OUTPUT,
    flags.STORE,
)
def command(
    runs: tuple[str, ...],
    tasks: tuple[str, ...],
    figures: tuple[str, ...],
    shared: bool,
    items: int | None,
    data: str | None,
    form: str | None,
    output: str | None,
    store: str | None,
) -> None:
    """Hold B (and C...) against A, item by item: what changed, and whether chance explains it.

    A, B, C: `last`, `last~1`, a run's id or the beginning of it, a file of `slmeval export` or a baseline;
    RUN#BACKEND or RUN#BACKEND:MODEL where a run has several models. One run alone: its first model against
    the others.
    """
    from slmeval.comparison import Wanted, compare
    from slmeval.prompts import with_prompts
    from slmeval.references import open_library
    from slmeval.registry import load
    from slmeval.sides import opposite

    if items is not None and items < 1:
        raise UsageError(f"--items {items}: 1 or more")
    check_output(output)
    registry = load()
    reporter = choose_reporter(form, output, registry.parts.reporters, "comparison")
    with open_library(store) as library:
        pairs, alone = opposite([library.sides(run) for run in runs])
    found = compare(pairs, Wanted(tasks, figures, shared, items), alone)
    if items is not None:
        found = [with_prompts(each, pair, registry, data) for each, pair in zip(found, pairs, strict=True)]
    report_comparisons(found, reporter, output)
