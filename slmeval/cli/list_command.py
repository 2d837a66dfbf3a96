"""``slmeval list``: what the loaded plugins bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from slmeval.cli.output import print_text
from slmeval.errors import UnknownName
from slmeval.registry import Registry, load

Rows = list[tuple[str, ...]]


def _first_line(part: object) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def _backends(registry: Registry) -> Rows:
    return [
        (
            name,
            "ready" if (reason := part.missing()) is None else reason,
            ", ".join(sorted(part.capabilities)),
        )
        for name, part in registry.parts.backends.items()
    ]


def _tasks(registry: Registry) -> Rows:
    rows: Rows = [
        (
            name,
            task.version,
            task.kind,
            str(task.shots),
            str(task.dataset.rows or ""),
            task.dataset.hub or "",
            task.dataset.licence,
        )
        for name, task in registry.parts.tasks.items()
    ]
    groups: Rows = [
        (name, "", "group", "", "", ", ".join(members), "") for name, members in registry.parts.groups.items()
    ]
    return rows + groups


def _plugins(registry: Registry) -> Rows:
    return [(plugin.name, plugin.origin, plugin.broken or "loaded") for plugin in registry.plugins]


def _named(kind: str) -> Callable[[Registry], Rows]:
    def rows(registry: Registry) -> Rows:
        return [(name, _first_line(part)) for name, part in getattr(registry.parts, kind).items()]

    return rows


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Registry], Iterable[tuple[str, ...]]]]] = {
    "backends": (("backend", "here", "can"), _backends),
    "tasks": (("task", "version", "kind", "shots", "rows", "data", "licence"), _tasks),
    "probes": (("probe", "what it measures"), _named("probes")),
    "metrics": (("metric", "what it is"), _named("metrics")),
    "filters": (("filter", "what it finds"), _named("filters")),
    "reporters": (("format", "what it writes"), _named("reporters")),
    "executors": (("executor", "where workers live"), _named("executors")),
    "meters": (("meter", "what it reads"), _named("meters")),
    "plugins": (("plugin", "from", "state"), _plugins),
}


@click.command("list")
@click.argument("kind", metavar="|".join(_KINDS))
def command(kind: str) -> None:
    """List backends, tasks, metrics and all other parts that the installed plugins bring."""
    if kind not in _KINDS:
        raise UnknownName("kind of part", kind, _KINDS)
    from tabulate import tabulate

    headers, rows = _KINDS[kind]
    found = list(rows(load()))
    if not found:
        print_text(f"no {kind}: no installed plugin brings any\n")
        return
    print_text(tabulate(found, headers=headers, disable_numparse=True) + "\n")
