"""What more can be had of a cell that a gate could not decide: how much at each further look, and how surely.

A task is asked twice as many items each time, up to all there are; one whose asking a rule ended is asked to
its end; where all items are asked and texts are drawn at a temperature, each question is answered more often;
a probe is measured again, and its values join those that are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slmeval.comparability import ended, writes
from slmeval.gate_cases import named
from slmeval.planner import Configurable
from slmeval.probe_figures import figures_of
from slmeval.registry import Registry
from slmeval.rules import Rule, cells_of
from slmeval.sequences import look_levels, look_levels_at
from slmeval.task_files import SUFFIX, read_task_file
from slmeval.types import CellResult, Measurement, RunOptions, RunResult

if TYPE_CHECKING:
    from slmeval.baselines import Baseline

#: the level of an interval that is looked at once
_ONCE = 0.95
#: behind the name of a task that has its choices in every place
_ROTATED = "/rotated"
Kind = Literal["items", "rest", "repeats", "again", "nothing"]


@dataclass(frozen=True)
class Growth:
    """What a cell has at each look: items, texts for each question, or measurements.

    ``levels`` are the intervals', so that all looks together err no more often than one does. ``most`` are
    the rows of its largest task at first. Where the last size is all there is, ``why`` says it.
    """

    cell: CellResult
    kind: Kind
    sizes: tuple[int, ...]
    levels: tuple[float, ...]
    most: int = 0
    why: str = ""

    def __hash__(self) -> int:
        return hash(named(self.cell))

    @property
    def looks(self) -> int:
        """How many there are, the first one included."""
        return len(self.sizes)

    def level(self, look: int) -> float:
        """That of the interval at a look, from 0; after the last one it stays."""
        return self.levels[min(look, len(self.levels) - 1)]

    def ended_at(self, look: int, size: int) -> Growth:
        """The same where at ``look`` there was no more than ``size``, so that this is the last look."""
        before = tuple(each for each in self.sizes[:look] if each < size)
        sizes = (*before, size)
        levels = look_levels_at([each / size for each in sizes])
        return replace(self, sizes=sizes, levels=levels, why=_all_asked(self.cell, size))

    def said(self, look: int, items: int) -> str:
        """In words what it has at a look, where it has so many ``items``."""
        words = {
            "repeats": f"{self.sizes[look]:,} texts for each question",
            "again": f"{self.sizes[look]:,} measurements together",
        }
        return f"{self.cell.label} with {words.get(self.kind, f'{items:,} items')}"

    def end(self, times: int) -> str:
        """In words why nothing more was measured."""
        return self.why or f"--confirm {times} is used up"


def about(cell: CellResult, rules: Sequence[Rule]) -> list[Rule]:
    """The rules that are about a cell."""
    return [rule for rule in rules if cells_of(rule, [cell])]


# ---- how much more ---------------------------------------------------------------------------------------


def growth_of(
    cell: CellResult, run: RunResult, rules: Sequence[Rule], baseline: RunResult | Baseline | None, times: int
) -> Growth:
    """What a cell can have at the first look and at up to ``times`` more."""
    if cell.kind == "probe":
        return Growth(cell, "again", tuple(range(1, times + 2)), look_levels(times + 1))
    if ended(cell):
        return _to_its_end(cell)
    there = _there(cell, run, rules, baseline)
    sizes = [cell.n]
    while len(sizes) <= times and sizes[-1] < there:
        sizes.append(min(2 * sizes[-1], there))
    if len(sizes) > 1:
        levels = look_levels_at([size / sizes[-1] for size in sizes])
        why = _why(cell, sizes[-1], run) if sizes[-1] == there else ""
        return Growth(cell, "items", tuple(sizes), levels, _most(cell, run), why)
    if run.options.temperature and writes(cell):
        repeats = tuple(cell.repeats << look for look in range(times + 1))
        return Growth(cell, "repeats", repeats, look_levels(times + 1))
    return Growth(cell, "nothing", (cell.n,), (_level(cell),), why=_why(cell, there, run))


def _to_its_end(cell: CellResult) -> Growth:
    """One more look, at all items: as the looks were planned, where these were to decide a rule."""
    assert cell.stop is not None
    stop = cell.stop
    sizes = (stop.asked, stop.planned)
    if stop.level > _ONCE:
        levels: tuple[float, ...] = (stop.level, look_levels(stop.looks)[-1])
    else:
        levels = look_levels_at((stop.asked / stop.planned, 1.0))
    return Growth(cell, "rest", sizes, levels, why=_all_asked(cell, stop.planned))


def _level(cell: CellResult) -> float:
    return cell.stop.level if cell.stop else _ONCE


def _there(
    cell: CellResult, run: RunResult, rules: Sequence[Rule], baseline: RunResult | Baseline | None
) -> int:
    """How many items can be had: those of the data set, or of the baseline where that alone counts."""
    rows = cell.data.rows if run.options.limit is not None else cell.n
    if baseline is None or not all(rule.needs_baseline for rule in about(cell, rules)):
        return rows
    known = [each.n for each in baseline.cells if each.label == cell.label]
    return min(rows, max(known, default=rows))


def _why(cell: CellResult, there: int, run: RunResult) -> str:
    if run.options.limit is not None and there < cell.data.rows:
        return "there is no more to ask: the baseline has no more items"
    return _all_asked(cell, there)


def _all_asked(cell: CellResult, items: int) -> str:
    drawn = "" if writes(cell) else ", and asked again they are answered the same"
    return f"there is no more to ask: all {items:,} items were asked{drawn}"


def _most(cell: CellResult, run: RunResult) -> int:
    """The rows of its largest task."""
    return max((each.n for each in _tasks(cell, run)), default=cell.n)


def _tasks(cell: CellResult, run: RunResult) -> list[CellResult]:
    """The task itself, or all that a group has below it."""
    if cell.kind != "group":
        return [cell]
    side = (cell.backend, cell.model, cell.chat)
    members = [
        each
        for each in run.cells
        if each.name in cell.members and (each.backend, each.model, each.chat) == side
    ]
    return [task for member in members for task in _tasks(member, run)]


# ---- what is asked for -----------------------------------------------------------------------------------


def further(run: RunResult, wanted: Sequence[Growth], look: int, registry: Registry) -> RunOptions:
    """The options of a run that measures so much of the ``wanted`` cells, and of nothing else."""
    names = dict.fromkeys(growth.cell.name for growth in wanted)
    asked = [growth for growth in wanted if growth.cell.kind != "probe"]
    return replace(
        run.options,
        tasks=tuple(dict.fromkeys(_named(name, run.options) for name in names)),
        shots=tuple(sorted({growth.cell.shots for growth in asked})) or None,
        limit=_limit(run.options, asked, look),
        repeats=max([run.options.repeats, *(each.sizes[look] for each in asked if each.kind == "repeats")]),
        position_bias=any(name.endswith(_ROTATED) for name in names),
        engine_options=_kept_options(run, set(names), registry),
        target_ci=(),
        until_decided=False,
        rules=(),
        baseline=None,
    )


def _named(name: str, options: RunOptions) -> str:
    """How the user named the task: one of a file is not known by its own name."""
    plain = name.removesuffix(_ROTATED)
    files = [each for each in options.tasks if each.endswith(SUFFIX)]
    return next((file for file in files if read_task_file(Path(file)).name == plain), plain)


def _limit(options: RunOptions, asked: Sequence[Growth], look: int) -> int | None:
    """Enough rows for all of them; ``None``: all that there are."""
    if options.limit is None:
        return None
    limits = [options.limit]
    for growth in asked:
        if growth.kind == "items":
            if growth.sizes[look] == growth.cell.data.rows:
                return None
            limits.append(growth.most << look)
    return max(limits)


def _kept_options(run: RunResult, names: set[str], registry: Registry) -> Mapping[str, str]:
    """Those of engines, and of the probes that are measured again."""
    probes = registry.parts.probes
    engines = [registry.parts.backends[model.backend] for model in run.models]
    parts: tuple[Configurable, ...] = (*engines, *(probes[name] for name in names if name in probes))
    known = {option.name for part in parts for option in part.options}
    return {
        name: text
        for name, text in run.options.engine_options.items()
        if (name.partition(".")[0] not in probes.keys() - names if "." in name else name in known)
    }


# ---- what came of it -------------------------------------------------------------------------------------


def joined(run: RunResult, made: RunResult, registry: Registry) -> RunResult:
    """The run with what was measured again in its place, and values of probes together.

    :raises JobFailed: a probe makes no figures of all its values.
    """
    fresh = {named(cell): cell for cell in made.cells}
    return replace(run, cells=tuple(_newest(cell, fresh.get(named(cell)), registry) for cell in run.cells))


def _newest(cell: CellResult, again: CellResult | None, registry: Registry) -> CellResult:
    if again is None:
        return cell
    if cell.kind == "probe":
        return _together(cell, again, registry)
    return again if (again.n, again.repeats) > (cell.n, cell.repeats) else cell


def _together(cell: CellResult, again: CellResult, registry: Registry) -> CellResult:
    """One probe's values of both times, with the figures that they come to."""
    both = (Measurement(cell.series), Measurement(again.series))
    series, figures = figures_of(registry.parts.probes[cell.name], cell.settings, both)
    conditions = (*cell.conditions, *again.conditions)
    n = max(figure.n for figure in figures)
    return replace(cell, n=n, figures=figures, series=series, conditions=conditions)
