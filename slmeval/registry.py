"""Load the plugins, collect the parts they bring, and find a part by its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

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

GROUP = "slmeval"
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
    groups: Mapping[str, tuple[str, ...]]
    probes: Mapping[str, Probe]
    metrics: Mapping[str, type[Metric]]
    filters: Mapping[str, type[Filter]]
    reporters: Mapping[str, type[Reporter]]
    executors: Mapping[str, type[Executor]]
    meters: Mapping[str, type[Meter]]
    converters: Mapping[str, type[Converter]]
    importers: Mapping[str, type[Importer]]


@dataclass(frozen=True)
class Registry:
    """One loading of the plugins: the manager for its hooks, the parts, and what was loaded."""

    manager: pluggy.PluginManager
    parts: Parts
    plugins: tuple[PluginRecord, ...]


def load(
    blocked: Sequence[str] = (), extra: Mapping[str, Any] | None = None, installed: bool = True
) -> Registry:
    """Load the built-in, the installed and the ``extra`` plugins into a fresh manager.

    ``blocked`` plugins are left out (``-p no:NAME``). A plugin that cannot be imported is recorded as
    broken, and does not bring down the others.

    :raises UsageError: a plugin fills a hook that does not exist, or two bring the same name.
    """
    manager = pluggy.PluginManager("slmeval")
    manager.add_hookspecs(hookspecs)
    records = [*_register_builtin(manager, blocked)]
    if installed:
        records += _register_installed(manager, blocked)
    for name, plugin in (extra or {}).items():
        manager.register(plugin, name)
        records.append(PluginRecord(name, "given"))
    _check(manager)
    if os.environ.get("SLMEVAL_TRACE_PLUGINS"):
        manager.trace.root.setwriter(sys.stderr.write)
        manager.enable_tracing()
    return Registry(manager, collect(manager), tuple(records))


def _register_builtin(manager: pluggy.PluginManager, blocked: Sequence[str]) -> Iterable[PluginRecord]:
    for module in BUILTIN:
        name = module.rpartition(".")[2]
        if name not in blocked:
            manager.register(import_module(module), name)
        yield PluginRecord(name, "built in", "switched off" if name in blocked else None)


def _register_installed(manager: pluggy.PluginManager, blocked: Sequence[str]) -> Iterable[PluginRecord]:
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        if point.name in blocked:
            yield PluginRecord(point.name, origin, "switched off")
            continue
        try:
            plugin = point.load()
        except Exception as error:  # noqa: BLE001  one broken plugin must not bring down the run
            yield PluginRecord(point.name, origin, f"{type(error).__name__}: {error}")
            continue
        if not manager.is_registered(plugin):
            manager.register(plugin, point.name)
        yield PluginRecord(point.name, origin)


def _check(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise UsageError(f"a plugin fills a hook that does not exist: {error}") from None


def refuse_unknown(blocked: Sequence[str], records: Sequence[PluginRecord]) -> None:
    """:raises UnknownName: a plugin is to be switched off that is not here."""
    known = [record.name for record in records]
    for name in blocked:
        if name not in known:
            raise UnknownName("plugin", name, known)


def collect(manager: pluggy.PluginManager) -> Parts:
    """Ask every plugin what it brings; two parts of one kind may not share a name."""
    hook = manager.hook

    def named(caller: Any, kind: str) -> dict[str, Any]:
        return _collect_named(manager, caller, kind)

    tasks = named(hook.slmeval_register_tasks, "task")
    return Parts(
        backends=named(hook.slmeval_register_backends, "backend"),
        tasks=tasks,
        groups=_collect_groups(manager, tasks),
        probes=named(hook.slmeval_register_probes, "probe"),
        metrics=named(hook.slmeval_register_metrics, "metric"),
        filters=named(hook.slmeval_register_filters, "filter"),
        reporters=named(hook.slmeval_register_reporters, "reporter"),
        executors=named(hook.slmeval_register_executors, "executor"),
        meters=named(hook.slmeval_register_meters, "meter"),
        converters=named(hook.slmeval_register_converters, "converter"),
        importers=named(hook.slmeval_register_importers, "importer"),
    )


def _answers(manager: pluggy.PluginManager, caller: Any) -> Iterable[tuple[str, Any]]:
    # pluggy's list of results does not say who answered; the names of both owners are wanted
    for implementation in caller.get_hookimpls():
        owner = manager.get_name(implementation.plugin) or implementation.plugin_name
        for part in _call(implementation.function):
            yield owner, part


def _call(function: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    return function() or ()


def _collect_named(manager: pluggy.PluginManager, caller: Any, kind: str) -> dict[str, Any]:
    found: dict[str, tuple[str, Any]] = {}
    for owner, part in _answers(manager, caller):
        if part.name in found:
            raise UsageError(
                f"plugins {found[part.name][0]!r} and {owner!r} both bring {kind} {part.name!r}: "
                f"switch one off with -p no:{owner}"
            )
        found[part.name] = (owner, part)
    return {name: found[name][1] for name in sorted(found)}


def _collect_groups(manager: pluggy.PluginManager, tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for owner, (name, members) in _answers(manager, manager.hook.slmeval_register_groups):
        if name in tasks:
            raise UsageError(f"plugin {owner!r} names a group {name!r}, but that is a task")
        # joined without repeats, in the order in which they were brought
        groups[name] = tuple(dict.fromkeys((*groups.get(name, ()), *members)))
    return {name: groups[name] for name in sorted(groups)}


def pick(kind: str, name: str, parts: Mapping[str, PartT]) -> PartT:
    """The part of that name.

    :raises UnknownName: there is none; the nearest right name is told.
    """
    try:
        return parts[name]
    except KeyError:
        raise UnknownName(kind, name, parts) from None
