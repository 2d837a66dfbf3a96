"""Flags that several commands have: said once, so that they mean the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from slmeval.errors import UsageError

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
OptionOf = Callable[[CommandT], CommandT]


def with_options(*options: OptionOf[Any]) -> OptionOf[CommandT]:
    """Give a command all of ``options``, in this order in its help."""

    def give(command: CommandT) -> CommandT:
        for option in reversed(options):
            command = option(command)
        return command

    return give


# ---- from text to values -----------------------------------------------------------------------------


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """``a,b`` as its parts."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def parts(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """``a,b`` of each value, all together."""
    return tuple(part.strip() for value in values for part in value.split(","))


def counts(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``0,5`` as numbers."""
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise UsageError(f"--{parameter.name} {value}: numbers, as in 0,5") from None


def named_values(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Each ``NAME=VALUE``; of a name given twice the last counts."""
    found = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name:
            raise UsageError(f"{parameter.opts[-1]} {value}: write it as NAME=VALUE")
        found[name] = rest
    return found


def blocked(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Each ``no:NAME`` as its name."""
    for value in values:
        if not value.startswith("no:"):
            raise UsageError(f"-p {value}: write it as no:NAME")
    return tuple(value.removeprefix("no:") for value in values)


# ---- the options -------------------------------------------------------------------------------------

BACKENDS = click.option(
    "--backend",
    "--backends",
    "backends",
    callback=names,
    metavar="NAMES",
    help="Engines; all are asked the same.",
)
MODELS = click.option(
    "--model",
    "models",
    multiple=True,
    metavar="REF",
    help="Folder, GGUF file, hub id, server, or BACKEND=REF.",
)
SHOTS = click.option("--shots", callback=counts, metavar="N,N", help="Examples shown before each question.")
DATA = click.option(
    "--data",
    metavar="PATH",
    help="Rows from PATH/DATASET/SPLIT.jsonl or .parquet, or a packed archive.",
)
SAMPLE = click.option("--sample", is_flag=True, help="Rows from the bundled sample.")
DTYPE = click.option(
    "--dtype", metavar="DTYPE", help="Number format of the weights, where the engine has a choice."
)
SEED = click.option(
    "--seed", type=int, default=1234, show_default=True, help="Seed of the shots, and of what is drawn."
)
TOKENIZER = click.option(
    "--tokenizer", metavar="PATH", help="A folder with, or a file that is, a tokenizer.json."
)
CHAT = with_options(
    click.option(
        "--chat-template",
        default="off",
        show_default=True,
        metavar="off|on|both",
        help="Ask by the model's own chat template, plainly, or both.",
    ),
    click.option(
        "--chat-shots",
        default="turns",
        show_default=True,
        metavar="turns|message",
        help="In a chat, examples are turns, or stand in one message with the question.",
    ),
    click.option(
        "--template-option",
        "template_options",
        multiple=True,
        callback=named_values,
        metavar="KEY=VALUE",
        help="What the template is told beside: enable_thinking=false, say.",
    ),
    click.option(
        "--thinking",
        default="auto",
        show_default=True,
        metavar="auto|off|MARKS",
        help="Marks around a thought, '<think>,</think>' say; auto: those of the chat template.",
    ),
)
WRITING = with_options(
    click.option("--max-tokens", type=int, metavar="N", help="Most tokens of a text, for every task."),
    click.option(
        "--temperature",
        type=float,
        default=0.0,
        show_default=True,
        metavar="T",
        help="Draw tokens at it; 0 takes the likeliest.",
    ),
    click.option(
        "--top-p",
        type=float,
        default=1.0,
        show_default=True,
        metavar="P",
        help="Draw from the likeliest tokens that have P together.",
    ),
    click.option(
        "--repeats",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="Texts for each question: pass@k and the majority's answer.",
    ),
)
EXECUTOR = click.option(
    "--executor", default="process", show_default=True, metavar="NAME", help="Where workers live."
)
PYTHONS = click.option(
    "--python",
    "pythons",
    multiple=True,
    callback=named_values,
    metavar="BACKEND=PATH",
    help="Another interpreter for an engine.",
)
ENGINE_OPTIONS = click.option(
    "-o",
    "engine_options",
    multiple=True,
    callback=named_values,
    metavar="[NAME.]KEY=VALUE",
    help="An option of the engines and probes that have it, or of one.",
)
BLOCKED = click.option(
    "-p", "blocked_plugins", multiple=True, callback=blocked, metavar="no:NAME", help="Switch a plugin off."
)
TIMEOUT = click.option(
    "--timeout",
    type=float,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long an engine may give no sign of life.",
)
OUTPUT = click.option("--output", metavar="FILE", help="Write the report to FILE.")
STORE = click.option("--store", metavar="PATH", help="Where answers and runs are kept.")
