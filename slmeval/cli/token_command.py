"""``slmeval token``: who may reach a server: tokens made, listed and removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slmeval.cli import flags
from slmeval.cli.output import complain, print_text
from slmeval.errors import UsageError

if TYPE_CHECKING:
    from slmeval.service.keys import Tokens

_NAME = click.argument("name")


@click.group("token", invoke_without_command=True)
@click.pass_context
def command(context: click.Context, /) -> None:
    """Say who may reach a server: make tokens, list and remove them. A running server knows at once."""
    if context.invoked_subcommand is None:
        print_text(context.get_help() + "\n")


@command.command("add")
@_NAME
@click.option(
    "--scopes",
    callback=flags.names,
    required=True,
    metavar="A,B",
    help="read: look; submit: and start runs; work: be a device, and nothing else; admin: everything.",
)
@flags.STORE
def add(name: str, scopes: tuple[str, ...], store: str | None) -> None:
    """Make a token and print it, this once: the store keeps its hash alone."""
    with _tokens(store, make=True) as tokens:
        token = tokens.add(name, scopes)
    complain(f"token {name!r} for {', '.join(scopes)}; it is shown this once:")
    print_text(token + "\n")


@command.command("list")
@flags.STORE
def list_(store: str | None) -> None:
    """Show names, scopes and ages; what is secret is nowhere."""
    from tabulate import tabulate

    with _tokens(store) as tokens:
        rows = [(each.name, ",".join(each.scopes), each.created) for each in tokens.listed()]
    if not rows:
        print_text("no tokens yet: slmeval token add NAME --scopes submit\n")
        return
    print_text(tabulate(rows, headers=("name", "scopes", "made (UTC)"), disable_numparse=True) + "\n")


@command.command("remove")
@_NAME
@flags.STORE
def remove(name: str, store: str | None) -> None:
    """End a token, and the sessions that were opened with it."""
    with _tokens(store) as tokens:
        if not tokens.remove(name):
            raise UsageError(f"there is no token {name!r}: slmeval token list")


@contextmanager
def _tokens(store: str | None, *, make: bool = False) -> Iterator[Tokens]:
    from slmeval.service.keys import Tokens
    from slmeval.store import Store, default_path

    path = Path(store) if store else default_path()
    with Store.open(path, must_exist=bool(store) and not make) as opened:
        yield Tokens(opened)
