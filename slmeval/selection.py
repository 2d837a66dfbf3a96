"""From names to what is asked: which tasks at which shots, and which groups have figures of their own."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slmeval.api import Probe, Task
from slmeval.errors import UnknownName, UsageError
from slmeval.plan import CellKey, GroupCell
from slmeval.registry import Parts
from slmeval.task_files import SUFFIX, read_task_file
from slmeval.types import Group, RunOptions


@dataclass(frozen=True)
class Wish:
    """A task at a number of shots; ``note`` says where that is not the number named."""

    task: Task
    shots: int
    note: str = ""


@dataclass(frozen=True)
class Selection:
    """All that a run asks, each task with its fewest shots first, and the groups, members before groups;
    and the probes that it measures with."""

    wishes: tuple[Wish, ...]
    groups: tuple[GroupCell, ...]
    probes: tuple[Probe, ...] = ()


def select(options: RunOptions, parts: Parts) -> Selection:
    """What ``--tasks``, ``--shots`` and ``--position-bias`` name together.

    :raises UsageError: a name that is no task, group, glob or file, or shots under which a group has no mean.
    """
    if not options.tasks:
        raise UsageError("no tasks named: --tasks arc,hellaswag (slmeval list tasks shows all)")
    chosen = _Chosen(options, parts)
    for name in options.tasks:
        chosen.add(name, None, ())
    if options.position_bias:
        chosen.add_rotated()
    return chosen.selection()


#: said of tasks that do not show their choices
_NO_PLACE = "position bias is unavailable: no choices are shown in the prompt"
#: what a group around it has in it: the shots asked for, and under what the figures will be found
_Found = tuple[int, CellKey]


class _Chosen:
    """Gathers wishes and groups, each once, in the order named."""

    def __init__(self, options: RunOptions, parts: Parts) -> None:
        self._options = options
        self._parts = parts
        self._tasks: dict[str, Task] = {}
        self._wishes: dict[str, dict[int, Wish]] = {}
        self._groups: dict[CellKey, GroupCell] = {}
        self._probes: dict[str, Probe] = {}

    def add(self, name: str, shots: int | None, above: tuple[str, ...]) -> list[_Found]:
        """Add what ``name`` stands for; ``shots`` are those of the groups ``above`` it."""
        if name in above:
            raise UsageError(f"group {name!r} contains itself")
        if name in self._parts.groups:
            return self._add_group(self._parts.groups[name], shots, (*above, name))
        found: list[_Found] = []
        for part in self._named(name):
            if isinstance(part, Task):
                found += self._add_task(part, shots)
            else:
                self._probes[part.name] = part
        return found

    def _named(self, name: str) -> Iterator[Task | Probe]:
        parts: dict[str, Task | Probe] = {**self._parts.tasks, **self._parts.probes}
        if name in parts:
            yield parts[name]
        elif name.endswith(SUFFIX):
            yield self._of_file(name)
        elif matches := fnmatch.filter(parts, name) if any(mark in name for mark in "*?[") else []:
            yield from (parts[each] for each in matches)
        else:
            raise UnknownName("task", name, (*parts, *self._parts.groups))

    def _of_file(self, path: str) -> Task:
        task = read_task_file(Path(path))
        if any(task.name in parts for parts in (self._parts.tasks, self._parts.probes, self._parts.groups)):
            raise UsageError(
                f"{path}: there is a task, probe or group named {task.name!r}: choose another name"
            )
        return task

    def _add_task(self, task: Task, shots: int | None) -> Iterator[_Found]:
        if self._tasks.setdefault(task.name, task) != task:
            raise UsageError(f"two of the tasks are named {task.name!r}: give one of them another name")
        for wanted in self._shots(task, shots):
            wish = _wish(self._options, task, wanted)
            wishes = self._wishes.setdefault(task.name, {})
            if wish.note or wish.shots not in wishes:
                wishes[wish.shots] = wish
            yield wanted, (task.name, wish.shots)

    def _shots(self, task: Task, shots: int | None) -> Sequence[int]:
        if self._options.shots is not None:
            return sorted(set(self._options.shots))
        return (task.shots if shots is None else shots,)

    def _add_group(self, group: Group, shots: int | None, above: tuple[str, ...]) -> list[_Found]:
        # of several groups around a task the outermost that has shots of its own decides
        own = group.shots if shots is None else shots
        members = [found for name in group.members for found in self.add(name, own, above)]
        return self._averaged(group, members) if group.average else members

    def _averaged(self, group: Group, members: Sequence[_Found]) -> list[_Found]:
        by_shots: dict[int, list[CellKey]] = {}
        for wanted, key in members:
            by_shots.setdefault(wanted, []).append(key)
        names = {name for _, (name, _) in members}
        if any({name for name, _ in keys} != names for keys in by_shots.values()):
            told = ", ".join(f"{wanted} for {keys[0][0]}" for wanted, keys in by_shots.items())
            raise UsageError(f"group {group.name!r} has no mean over different shots ({told}): give --shots")
        for wanted, keys in by_shots.items():
            self._groups.setdefault(
                (group.name, wanted), GroupCell(group, wanted, tuple(dict.fromkeys(keys)))
            )
        return [(wanted, (group.name, wanted)) for wanted in by_shots]

    def add_rotated(self) -> None:
        """Beside each task that shows its choices, the same with its choices in every place."""
        turned = {name: rotated for name, task in self._tasks.items() if (rotated := task.rotated())}
        if not turned:
            raise UsageError(
                "--position-bias: no task shows its choices in the prompt, so they stand in no place"
            )
        for name in self._tasks.keys() - turned.keys():
            for shots, wish in self._wishes[name].items():
                self._wishes[name][shots] = replace(
                    wish, note="; ".join(filter(None, (wish.note, _NO_PLACE)))
                )
        for name, rotated in turned.items():
            wishes = self._wishes[name].values()
            self._wishes[rotated.name] = {wish.shots: replace(wish, task=rotated) for wish in wishes}
        figures = {
            name: tuple(use.label or use.name for use in each.metrics) for name, each in turned.items()
        }
        for cell in tuple(self._groups.values()):
            if all(name in figures for name, _ in cell.members):
                # what all of them have: a place E, say, is not in every question
                first, *others = (figures[name] for name, _ in cell.members)
                shared = tuple(each for each in first if all(each in other for other in others))
                figures[cell.group.name] = shared
                group = replace(cell.group, name=_rotated(cell.group.name), average=shared)
                members = tuple(
                    (turned[name].name if name in turned else _rotated(name), shots)
                    for name, shots in cell.members
                )
                self._groups[group.name, cell.shots] = GroupCell(group, cell.shots, members)

    def selection(self) -> Selection:
        """What was gathered."""
        wishes = (self._wishes[name][shots] for name in self._wishes for shots in sorted(self._wishes[name]))
        return Selection(tuple(wishes), tuple(self._groups.values()), tuple(self._probes.values()))


def _rotated(name: str) -> str:
    """What a group is called with its choices in every place."""
    return f"{name}/rotated"


def _wish(options: RunOptions, task: Task, shots: int) -> Wish:
    if not shots or not task.lm_eval_zero_shot or options.compat != "lm-eval":
        return Wish(task, shots)
    return Wish(task, 0, f"asked at 0 shots, not {shots}: lm-evaluation-harness shows none here")
