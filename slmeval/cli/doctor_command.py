"""``slmeval doctor``: what this machine can run, and the command that adds each missing part."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import click

from slmeval import __version__
from slmeval.api import Backend
from slmeval.cli.output import print_text
from slmeval.machine import this_machine
from slmeval.registry import PluginRecord, load


@click.command("doctor")
def command() -> None:
    """Say what this machine can run, and what adds the rest."""
    from slmeval.store import default_path

    machine = this_machine()
    registry = load()
    gib = f"{machine.memory / 2**30:.1f} GiB" if machine.memory else "memory unknown"
    lines = [
        f"slmeval {__version__}, Python {machine.python} at {sys.executable}",
        f"{machine.system}, {machine.processor}, {machine.cores} cores, {gib}",
        *(f"accelerator: {name}" for name in machine.accelerators),
        f"store: {default_path()}",
        "",
        *(_backend_line(backend) for backend in registry.parts.backends.values()),
        _libraries_line(),
        *(_plugin_line(plugin) for plugin in registry.plugins if plugin.broken),
    ]
    print_text("\n".join(lines) + "\n")


def _backend_line(backend: type[Backend]) -> str:
    reason = backend.missing()
    if reason is None:
        return f"backend {backend.name}: ready"
    add = f"; add it: pip install 'slmeval[{backend.extra}]'" if backend.extra else ""
    return f"backend {backend.name}: {reason}{add}"


def _libraries_line() -> str:
    absent = [name for name in ("huggingface_hub", "pyarrow") if find_spec(name) is None]
    state = (
        f"{' and '.join(absent)} not installed; add it: pip install 'slmeval[data]'" if absent else "ready"
    )
    return f"rows from the hub and from Parquet: {state}"


def _plugin_line(plugin: PluginRecord) -> str:
    return f"plugin {plugin.name} ({plugin.origin}): {plugin.broken}"
