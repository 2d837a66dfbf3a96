"""The command line: one module per command. Only this package prints or exits."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from slmeval import __version__
from slmeval.cli.output import complain
from slmeval.errors import ExitCode, SlmevalError, UnknownName

#: each lives in a module of its name, imported when it is asked for
_COMMANDS = (
    "run",
    "parity",
    "convert",
    "list",
    "doctor",
    "inspect",
    "runs",
    "show",
    "rescore",
    "compare",
    "gate",
    "export",
    "data",
    "serve",
    "worker",
    "token",
)


class Commands(click.Group):
    """Our commands, imported one at a time, and those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return [*_COMMANDS, *_plugin_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in _COMMANDS:
            module = importlib.import_module(f"slmeval.cli.{cmd_name}_command")
            command: click.Command = module.command
            return command
        return _plugin_commands().get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            raise UnknownName("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def _plugin_commands() -> Mapping[str, click.Command]:
    from slmeval.registry import load

    brought = load().parts.commands
    return {name: brought[name] for name in brought if name not in _COMMANDS}


@click.group(
    cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="slmeval")
@click.pass_context
def cli(context: click.Context, /) -> None:
    """Measure small language models: what they can do and what they cost, on any engine.

    Try it without any model: slmeval run --tasks arc,hellaswag
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; the one place where an error becomes a line and an exit code."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """The command line as a function: its exit code."""
    try:
        code: Any = cli.main(args=None if args is None else list(args), standalone_mode=False)
    except click.ClickException as error:
        complain(error.format_message())
        return ExitCode.USAGE
    except SlmevalError as error:
        if os.environ.get("SLMEVAL_TRACEBACK"):
            raise
        complain(str(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        return ExitCode.INTERRUPTED
    return int(code or 0)
