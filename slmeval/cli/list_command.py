"""``slmeval list``: what the loaded plugins bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import click

from slmeval.api import Backend, Option, Task
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


def _every_task(registry: Registry) -> Rows:
    return [_task_line(name, [task]) for name, task in registry.parts.tasks.items()]


def _tasks(registry: Registry) -> Rows:
    families = _families(registry)
    lines: dict[str, tuple[str, ...]] = {}
    for name, task in registry.parts.tasks.items():
        family = families.get(name)
        alike = (
            [registry.parts.tasks[each] for each in families if families[each] == family]
            if family
            else [task]
        )
        lines.setdefault(
            family or name, _task_line(f"{family}_... ({len(alike)})" if family else name, alike)
        )
    return [*lines.values()]


def _task_line(name: str, tasks: Sequence[Task]) -> tuple[str, ...]:
    rows = sum(task.dataset.rows or 0 for task in tasks)
    return (
        name,
        _shared(task.version for task in tasks),
        _shared(task.kind for task in tasks),
        _shared(str(task.shots) for task in tasks),
        _shared("" if task.chance is None else f"{task.chance:.2g}" for task in tasks),
        f"{rows:,}" if rows else "",
        _shared(task.dataset.source or task.dataset.hub or "" for task in tasks),
        _shared(task.dataset.licence for task in tasks),
    )


def _shared(texts: Iterable[str]) -> str:
    first, *others = dict.fromkeys(texts)
    return "several" if others else first


def _families(registry: Registry) -> dict[str, str]:
    """Tasks that are shown in one line, with the group after which all of them are named."""
    families: dict[str, str] = {}
    for group in sorted(registry.parts.groups.values(), key=lambda group: len(group.name)):
        names = [name for name in group.members if name in registry.parts.tasks]
        names += [task for name in group.members for task in _within(registry, name)]
        if len(names) > _SHOWN and all(name.startswith(f"{group.name}_") for name in names):
            families.update(dict.fromkeys(names, group.name))
    return families


def _within(registry: Registry, name: str) -> Sequence[str]:
    return registry.parts.groups[name].members if name in registry.parts.groups else ()


def _groups(registry: Registry) -> Rows:
    return [
        (name, _mean(group), "" if group.shots is None else str(group.shots), _members(group.members))
        for name, group in registry.parts.groups.items()
    ]


def _every_member(registry: Registry) -> Rows:
    groups = registry.parts.groups
    return [(*line[:3], ", ".join(groups[line[0]].members)) for line in _groups(registry)]


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


def _probes(registry: Registry) -> Rows:
    return [
        (name, probe.version, _first_line(probe), " ".join(map(_default, probe.options)))
        for name, probe in registry.parts.probes.items()
    ]


def _default(option: Option) -> str:
    return f"{option.name}={'' if option.default is None else option.default}"


_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Registry], Iterable[tuple[str, ...]]]]] = {
    "backends": (("backend", "here", "can"), _backends),
    "tasks": (("task", "version", "kind", "shots", "chance", "rows", "data", "licence"), _tasks),
    "groups": (("group", "mean of", "shots", "members"), _groups),
    "probes": (("probe", "version", "what it measures", "options (-o NAME=VALUE)"), _probes),
    "metrics": (("metric", "what it is"), _named("metrics")),
    "filters": (("filter", "what it finds"), _named("filters")),
    "reporters": (("format", "what it writes"), _named("reporters")),
    "executors": (("executor", "where workers live"), _named("executors")),
    "converters": (("converter", "here", "writes"), _converters),
    "meters": (("meter", "what it reads"), _named("meters")),
    "plugins": (("plugin", "from", "state"), _plugins),
}


#: and where nothing is to be left out
_WHOLE = {
    "tasks": (_KINDS["tasks"][0], _every_task),
    "groups": (_KINDS["groups"][0], _every_member),
}


@click.command("list")
@click.argument("kind", metavar="|".join(_KINDS))
@click.option(
    "--all", "whole", is_flag=True, help="Tasks of a family one by one, and all members of a group."
)
def command(kind: str, whole: bool) -> None:
    """List backends, tasks, metrics and all other parts that the installed plugins bring."""
    if kind not in _KINDS:
        raise UnknownName("kind of part", kind, _KINDS)
    registry = load()
    # a group's name stands where a task's can
    kinds = (kind, "groups") if kind == "tasks" else (kind,)
    print_text("\n".join(_listing(each, registry, whole) for each in kinds))


def _listing(kind: str, registry: Registry, whole: bool) -> str:
    from tabulate import tabulate

    headers, rows = (_WHOLE if whole and kind in _WHOLE else _KINDS)[kind]
    found = list(rows(registry))
    if not found:
        return f"no {kind}: no installed plugin brings any\n"
    return tabulate(found, headers=headers, disable_numparse=True) + "\n"
