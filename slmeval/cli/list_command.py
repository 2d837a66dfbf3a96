"""``slmeval list``: what the loaded plugins bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import click

from slmeval.api import Backend
from slmeval.cli.output import print_text
from slmeval.environments import python_of
from slmeval.errors import UnknownName
from slmeval.registry import Registry, load
from slmeval.types import Group

Rows = list[tuple[str, ...]]

#: members of a group that are listed by name
_SHOWN = 14


def _first_line(part: object) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def _backends(registry: Registry) -> Rows:
    return [
        (
            name,
            _here(part),
            ", ".join(sorted(part.capabilities)),
        )
        for name, part in registry.parts.backends.items()
    ]


def _here(part: type[Backend]) -> str:
    if python_of(part.name) is not None:
        return "in an environment of its own"
    return part.missing() or "ready"


def _converters(registry: Registry) -> Rows:
    return [
        (name, "ready" if (reason := part.missing()) is None else reason, ", ".join(part.forms))
        for name, part in registry.parts.converters.items()
    ]


def _tasks(registry: Registry) -> Rows:
    return [
        (
            name,
            task.version,
            task.kind,
            str(task.shots),
            "" if task.chance is None else f"{task.chance:.2g}",
            f"{task.dataset.rows:,}" if task.dataset.rows else "",
            task.dataset.source or task.dataset.hub or "",
            task.dataset.licence,
        )
        for name, task in registry.parts.tasks.items()
    ]


def _groups(registry: Registry) -> Rows:
    return [
        (name, _mean(group), "" if group.shots is None else str(group.shots), _members(group.members))
        for name, group in registry.parts.groups.items()
    ]


def _mean(group: Group) -> str:
    return f"{', '.join(group.average)} over {group.over}" if group.average else ""


def _members(names: Sequence[str]) -> str:
    """All of them, or the first and how many more."""
    more = len(names) - _SHOWN
    return f"{', '.join(names[:_SHOWN])} and {more} more" if more > 1 else ", ".join(names)


def _plugins(registry: Registry) -> Rows:
    return [(plugin.name, plugin.origin, plugin.broken or "loaded") for plugin in registry.plugins]


def _named(kind: str) -> Callable[[Registry], Rows]:
    def rows(registry: Registry) -> Rows:
        return [(name, _first_line(part)) for name, part in getattr(registry.parts, kind).items()]

    return rows


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Registry], Iterable[tuple[str, ...]]]]] = {
    "backends": (("backend", "here", "can"), _backends),
    "tasks": (("task", "version", "kind", "shots", "chance", "rows", "data", "licence"), _tasks),
    "groups": (("group", "mean of", "shots", "members"), _groups),
    "probes": (("probe", "what it measures"), _named("probes")),
    "metrics": (("metric", "what it is"), _named("metrics")),
    "filters": (("filter", "what it finds"), _named("filters")),
    "reporters": (("format", "what it writes"), _named("reporters")),
    "executors": (("executor", "where workers live"), _named("executors")),
    "converters": (("converter", "here", "writes"), _converters),
    "meters": (("meter", "what it reads"), _named("meters")),
    "plugins": (("plugin", "from", "state"), _plugins),
}


@click.command("list")
@click.argument("kind", metavar="|".join(_KINDS))
def command(kind: str) -> None:
    """List backends, tasks, metrics and all other parts that the installed plugins bring."""
    if kind not in _KINDS:
        raise UnknownName("kind of part", kind, _KINDS)
    registry = load()
    # a group's name stands where a task's can
    kinds = (kind, "groups") if kind == "tasks" else (kind,)
    print_text("\n".join(_listing(each, registry) for each in kinds))


def _listing(kind: str, registry: Registry) -> str:
    from tabulate import tabulate

    headers, rows = _KINDS[kind]
    found = list(rows(registry))
    if not found:
        return f"no {kind}: no installed plugin brings any\n"
    return tabulate(found, headers=headers, disable_numparse=True) + "\n"
