"""Load the plugins, collect the parts they bring, and find a part by its name."""

from __future__ import annotations

import os
import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from slmeval import hookspecs
from slmeval.api import (
    Backend,
    Converter,
    Executor,
    Filter,
    Importer,
    Meter,
    Metric,
    Probe,
    Reporter,
    Task,
)
from slmeval.errors import UnknownName, UsageError
from slmeval.types import Group

if TYPE_CHECKING:
    import click

GROUP = "slmeval"
#: why a blocked plugin has no parts
SWITCHED_OFF = "switched off"
#: our own parts come the way a stranger's do, through hooks
BUILTIN = (
    "slmeval.builtin.metrics",
    "slmeval.builtin.filters",
    "slmeval.builtin.reporters",
    "slmeval.builtin.executors",
)

PartT = TypeVar("PartT")


@dataclass(frozen=True)
class PluginRecord:
    """One plugin: its name, where it comes from, and why it could not be loaded, if so."""

    name: str
    origin: str
    broken: str | None = None


@dataclass(frozen=True)
class Parts:
    """Everything that the loaded plugins bring, by name."""

    backends: Mapping[str, type[Backend]]
    tasks: Mapping[str, Task]
    groups: Mapping[str, Group]
    probes: Mapping[str, Probe]
    metrics: Mapping[str, type[Metric]]
    filters: Mapping[str, type[Filter]]
    reporters: Mapping[str, type[Reporter]]
    executors: Mapping[str, type[Executor]]
    meters: Mapping[str, type[Meter]]
    converters: Mapping[str, type[Converter]]
    importers: Mapping[str, type[Importer]]
    commands: Mapping[str, click.Command]


@dataclass(frozen=True)
class Seat:
    """A loaded plugin: its hooks by themselves, so that each can be called apart, and what it brings."""

    name: str
    hooks: pluggy.HookRelay
    brought: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Registry:
    """One loading of the plugins: the manager for its hooks, the parts, and what was loaded."""

    manager: pluggy.PluginManager
    parts: Parts
    plugins: tuple[PluginRecord, ...]
    seats: tuple[Seat, ...]


class _UnfitError(Exception):
    """A plugin that cannot be used, and why."""


# ---- loading -----------------------------------------------------------------------------------------


def load(
    blocked: Sequence[str] = (), extra: Mapping[str, Any] | None = None, installed: bool = True
) -> Registry:
    """Load the built-in, the installed and the ``extra`` plugins into a fresh manager.

    ``blocked`` plugins are left out (``-p no:NAME``). An installed plugin that cannot be imported, fills a
    hook wrongly or brings what is no part is recorded as broken, and does not bring down the others.

    :raises UsageError: a plugin of ``extra`` is broken, or two plugins bring the same name.
    """
    loading = _Loading()
    for module in BUILTIN:
        name = module.rpartition(".")[2]
        if name in blocked:
            loading.leave_out(name, "built in", SWITCHED_OFF)
        else:
            loading.seat(name, "built in", import_module(module))
    for point in _entry_points() if installed else ():
        if point.name in blocked:
            loading.leave_out(point.name, _origin(point), SWITCHED_OFF)
        else:
            loading.seat_installed(point)
    for name, plugin in (extra or {}).items():
        loading.seat_given(name, plugin)
    return loading.registry()


def _entry_points() -> Sequence[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value, _origin(point)))


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


class _Loading:
    """Plugins take their seats one after the other; one that does not fit leaves no trace but a record."""

    def __init__(self) -> None:
        self._manager = _manager()
        self._records: list[PluginRecord] = []
        self._seats: list[Seat] = []

    def leave_out(self, name: str, origin: str, reason: str) -> None:
        self._records.append(PluginRecord(name, origin, reason))

    def seat(self, name: str, origin: str, plugin: object) -> None:
        """:raises _UnfitError: the plugin cannot be used."""
        if self._manager.has_plugin(name):
            raise _UnfitError(f"another plugin is named {name!r} already")
        # two names for one plugin are no harm
        if not self._manager.is_registered(plugin):
            hooks = _own_hooks(name, plugin)
            self._seats.append(Seat(name, hooks, {kind: _bring(hooks, kind) for kind in _BRINGS}))
            self._manager.register(plugin, name)
        self._records.append(PluginRecord(name, origin))

    def seat_installed(self, point: EntryPoint) -> None:
        try:
            self.seat(point.name, _origin(point), point.load())
        except _UnfitError as error:
            self.leave_out(point.name, _origin(point), str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  one plugin must not bring down every command
            self.leave_out(point.name, _origin(point), _told(error))

    def seat_given(self, name: str, plugin: object) -> None:
        try:
            self.seat(name, "given", plugin)
        except _UnfitError as error:
            raise UsageError(f"plugin {name!r} cannot be used: {error}") from error

    def registry(self) -> Registry:
        return Registry(self._manager, collect(self._seats), tuple(self._records), tuple(self._seats))


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("slmeval")
    manager.add_hookspecs(hookspecs)
    if os.environ.get("SLMEVAL_TRACE_PLUGINS", "0") not in {"", "0"}:
        manager.trace.root.setwriter(sys.stderr.write)
        manager.enable_tracing()
    return manager


def _own_hooks(name: str, plugin: object) -> pluggy.HookRelay:
    """The hooks of one plugin alone: only so can a call be traced, and its owner be told."""
    own = _manager()
    try:
        own.register(plugin, name)
        own.check_pending()
    except pluggy.PluginValidationError as error:
        raise _UnfitError(" ".join(str(error).split())) from error
    return own.hook


def _told(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def refuse_unknown(blocked: Sequence[str], records: Sequence[PluginRecord]) -> None:
    """:raises UnknownName: a plugin is to be switched off that is not here."""
    known = [record.name for record in records]
    for name in blocked:
        if name not in known:
            raise UnknownName("plugin", name, known)


# ---- what one plugin brings --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """A kind of part; plugins bring subclasses of its base, or (not ``classes``) instances."""

    noun: str
    base: type
    classes: bool = True


_KINDS = {
    "backends": _Kind("backend", Backend),
    "tasks": _Kind("task", Task, classes=False),
    "probes": _Kind("probe", Probe, classes=False),
    "metrics": _Kind("metric", Metric),
    "filters": _Kind("filter", Filter),
    "reporters": _Kind("reporter", Reporter),
    "executors": _Kind("executor", Executor),
    "meters": _Kind("meter", Meter),
    "converters": _Kind("converter", Converter),
    "importers": _Kind("importer", Importer),
}
_BRINGS = (*_KINDS, "groups", "commands")


def _bring(hooks: pluggy.HookRelay, kind: str) -> Sequence[Any]:
    """The parts of one kind that one plugin brings, checked.

    :raises _UnfitError: the hook fails, or what it returns is not what it should.
    """
    parts = _answers(hooks, f"slmeval_register_{kind}")
    if kind == "groups":
        return [_group(pair) for pair in parts]
    if not parts:
        return ()
    described = _KINDS.get(kind) or _commands()
    for part in parts:
        _check(described, part)
    names = [part.name for part in parts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise _UnfitError(f"it brings two {kind} named {twice[0]!r}")
    return parts


def _commands() -> _Kind:
    # imported only where a plugin brings commands: a worker has no use for it
    from click import Command

    return _Kind("command", Command, classes=False)


def _answers(hooks: pluggy.HookRelay, name: str) -> list[Any]:
    caller = getattr(hooks, name)
    implementations = caller.get_hookimpls()
    if any(each.wrapper or each.hookwrapper for each in implementations):
        raise _UnfitError(f"{name} is a wrapper, and there is nothing to wrap")
    if not implementations:
        return []
    try:
        return [part for answer in caller() for part in answer]
    except (Exception, SystemExit) as error:
        raise _UnfitError(f"{name} failed: {_told(error)}") from error


def _check(kind: _Kind, part: Any) -> None:
    """:raises _UnfitError: it is no such part, or lacks something that every one has."""
    told = f"{kind.noun} {reprlib.repr(part)}"
    if not _is_a(kind, part):
        raise _UnfitError(f"{told} is not {'a subclass' if kind.classes else 'one'} of {kind.base.__name__}")
    if not isinstance(getattr(part, "name", None), str) or not part.name:
        raise _UnfitError(f"{told} has no name")
    if isabstract(part):
        raise _UnfitError(f"{kind.noun} {part.name!r} lacks {', '.join(sorted(part.__abstractmethods__))}")
    lacks = [field for field in kind.base.__annotations__ if not hasattr(part, field)]
    if lacks:
        raise _UnfitError(f"{kind.noun} {part.name!r} lacks {', '.join(lacks)}")
    if isinstance(part, Probe) and (wrong := _wrong_in_probe(part)):
        raise _UnfitError(f"probe {part.name!r} has {wrong}")
    if kind.base is Reporter and not isinstance(part.writes, (set, frozenset)):
        raise _UnfitError(
            f"reporter {part.name!r} has writes {reprlib.repr(part.writes)}, which is no set of kinds"
        )


def _wrong_in_probe(probe: Probe) -> str | None:
    if not isinstance(probe.needs, (set, frozenset)):
        return f"needs {reprlib.repr(probe.needs)}, which is no set of capabilities"
    if type(probe.workers) is not int or probe.workers < 0:
        return f"workers {reprlib.repr(probe.workers)}, which is no number of them"
    return None


def _is_a(kind: _Kind, part: Any) -> bool:
    if kind.classes:
        return isinstance(part, type) and issubclass(part, kind.base)
    return isinstance(part, kind.base)


def _group(part: Any) -> Group:
    """A group, perhaps given as a pair; text for members would be one task for each letter."""
    pair = isinstance(part, (tuple, list)) and len(part) == 2
    group = Group(*part) if pair else part
    if not isinstance(group, Group) or not _is_text(group.name) or not _are_texts(group.members):
        raise _UnfitError(
            f"group {reprlib.repr(part)} is not a pair of a name and a tuple of task names, nor such a Group"
        )
    if group.over not in {"rows", "members"} or not _are_texts(group.average) or not _is_shots(group.shots):
        raise _UnfitError(
            f"group {group.name!r} is wrong: shots {group.shots!r} must be a whole number or None, average "
            f"{group.average!r} a tuple of figures' names, and over {group.over!r} 'rows' or 'members'"
        )
    return replace(group, members=tuple(group.members))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _are_texts(values: object) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(each, str) for each in values)


def _is_shots(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


# ---- what all of them bring --------------------------------------------------------------------------


def collect(seats: Sequence[Seat]) -> Parts:
    """All parts by name.

    :raises UsageError: two plugins bring a part of one kind and name, or a group is named as a task is.
    """
    named = {kind: _collect_named(seats, kind) for kind in (*_KINDS, "commands")}
    if both := sorted(named["tasks"].keys() & named["probes"].keys()):
        raise UsageError(f"there are a task and a probe named {both[0]!r}: switch one's plugin off with -p")
    return Parts(**named, groups=_collect_groups(seats, {**named["tasks"], **named["probes"]}))


def _collect_named(seats: Sequence[Seat], kind: str) -> dict[str, Any]:
    found: dict[str, tuple[str, Any]] = {}
    for owner, part in ((seat.name, part) for seat in seats for part in seat.brought[kind]):
        if part.name in found:
            raise UsageError(
                f"plugins {found[part.name][0]!r} and {owner!r} both bring {kind[:-1]} {part.name!r}: "
                f"switch one off with -p no:{owner}"
            )
        found[part.name] = (owner, part)
    return {name: found[name][1] for name in sorted(found)}


def _collect_groups(seats: Sequence[Seat], parts: Mapping[str, Task | Probe]) -> dict[str, Group]:
    found: dict[str, tuple[str, Group]] = {}
    for owner, group in ((seat.name, group) for seat in seats for group in seat.brought["groups"]):
        if group.name in parts:
            kind = "task" if isinstance(parts[group.name], Task) else "probe"
            raise UsageError(f"plugin {owner!r} names a group {group.name!r}, but that is a {kind}")
        first, before = found.get(group.name, (owner, replace(group, members=())))
        found[group.name] = (first, _joined(first, before, owner, group))
    return {name: found[name][1] for name in sorted(found)}


def _joined(first: str, one: Group, owner: str, other: Group) -> Group:
    """Both without repeats, in the order in which they were brought: mere names for tasks can be joined."""
    if replace(one, members=()) != replace(other, members=()) or (one.members and one.average):
        raise UsageError(
            f"plugins {first!r} and {owner!r} both bring group {one.name!r}, and not as a mere name for "
            f"tasks: switch one off with -p no:{owner}"
        )
    return replace(one, members=tuple(dict.fromkeys((*one.members, *other.members))))


def pick(kind: str, name: str, parts: Mapping[str, PartT]) -> PartT:
    """The part of that name.

    :raises UnknownName: there is none; the nearest right name is told.
    """
    try:
        return parts[name]
    except KeyError:
        raise UnknownName(kind, name, parts) from None
