"""``slmeval doctor``: what this machine can run, and the command that adds each missing part."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from slmeval import __version__
from slmeval.api import Backend
from slmeval.cli.flags import named_values
from slmeval.cli.output import complain, print_text
from slmeval.environments import make, python_of, remember, trouble_with
from slmeval.errors import UsageError
from slmeval.machine import this_machine
from slmeval.presence import way_to
from slmeval.registry import PluginRecord, load, pick


@click.command("doctor")
@click.option(
    "--make", "wanted", metavar="BACKEND", help="Make the environment that an engine wants for itself."
)
@click.option("--with", "more", multiple=True, metavar="PACKAGE", help="What to install in it as well.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    callback=named_values,
    metavar="BACKEND=PATH",
    help="Remember another interpreter for an engine.",
)
def command(wanted: str | None, more: tuple[str, ...], pythons: dict[str, str]) -> None:
    """Say what this machine can run, and what adds the rest."""
    backends = load().parts.backends
    if more and wanted is None:
        raise UsageError("--with says what goes into an environment: add --make BACKEND")
    for name, python in pythons.items():
        # the interpreter of an environment is a link: where it leads to is another one
        place = Path(shutil.which(python) or python).absolute()
        remember(pick("backend", name, backends).name, place)
    if wanted is not None:
        python_made = make(pick("backend", wanted, backends), more, complain)
        complain(f"backend {wanted!r} runs under {python_made} from now on")
    if wanted is None:
        print_text("\n".join(_lines()) + "\n")


def _lines() -> list[str]:
    from slmeval.store import default_path

    machine = this_machine()
    registry = load()
    gib = f"{machine.memory / 2**30:.1f} GiB" if machine.memory else "memory unknown"
    return [
        f"slmeval {__version__}, Python {machine.python} at {sys.executable}",
        f"{machine.system}, {machine.processor}, {machine.cores} cores, {gib}",
        *(f"accelerator: {name}" for name in machine.accelerators),
        f"store: {default_path()}",
        "",
        *(_backend_line(backend) for backend in registry.parts.backends.values()),
        _libraries_line(),
        *(_plugin_line(plugin) for plugin in registry.plugins if plugin.broken),
    ]


def _backend_line(backend: type[Backend]) -> str:
    python = python_of(backend.name)
    reason = backend.missing() if python is None else trouble_with(backend.name, python)
    place = f", under {python}" if python is not None else ""
    if reason is None:
        return f"backend {backend.name}: ready{place}"
    way = way_to(backend)
    return f"backend {backend.name}: {reason}{place}{f'; add it: {way}' if way else ''}"


def _libraries_line() -> str:
    absent = [name for name in ("huggingface_hub", "pyarrow") if find_spec(name) is None]
    state = (
        f"{' and '.join(absent)} not installed; add it: pip install 'slmeval[data]'" if absent else "ready"
    )
    return f"rows from the hub and from Parquet: {state}"


def _plugin_line(plugin: PluginRecord) -> str:
    return f"plugin {plugin.name} ({plugin.origin}): {plugin.broken}"
