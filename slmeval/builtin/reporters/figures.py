"""The table of a report: a line per task, shots and figure, side by side for several models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from slmeval.builtin.reporters.blocks import Table
from slmeval.builtin.reporters.text import interval_text, value_text
from slmeval.types import CellResult, Figure, RunResult

#: a model on a backend
Column = tuple[str, str]
#: task, shots, how often both came before in the column, figure
Line = tuple[str, str, int, str]

#: figures that are read first; others follow as their task lists them
_FIRST = (
    *("acc", "acc_gain", "acc_slope", "acc_norm", "acc_norm_gain", "acc_norm_slope", "acc_bytes"),
    *("acc_bytes_gain", "acc_bytes_slope", "acc_corrected", "chance", "bits_per_byte", "margin"),
)
#: a group of more members is shown without them
_MANY = 10
#: the figures that guessing would bring to chance
_GUESSED = frozenset({"acc", "acc_norm", "acc_bytes", "acc_rotated"})


def columns(run: RunResult) -> tuple[Column, ...]:
    """Every model on every backend, in the order of the run."""
    opened = [(model.label, model.backend) for model in run.models]
    return tuple(dict.fromkeys([*opened, *((cell.model, cell.backend) for cell in run.cells)]))


def fold(run: RunResult) -> tuple[RunResult, tuple[str, ...]]:
    """The run without the tasks of large groups that have a figure of their own, and the groups' names."""
    large = [cell for cell in run.cells if cell.kind == "group" and len(cell.members) > _MANY]
    hidden = {member for cell in large for member in cell.members}
    shown = tuple(cell for cell in run.cells if cell.kind == "group" or cell.name not in hidden)
    return replace(run, cells=shown), tuple(dict.fromkeys(cell.name for cell in large))


def figure_table(run: RunResult) -> Table:
    """All figures: in detail for one model, side by side for several."""
    found = columns(run)
    return _detailed(run) if len(found) == 1 else _side_by_side(run, found)


def _detailed(run: RunResult) -> Table:
    told = [(cell, figure) for cell in run.cells for figure in _in_order(cell)]
    judged = any(figure.verdict for _, figure in told)
    head = ("Task", "Shots", "Figure", "Value ± stderr", "95% CI", "n", "Unit")
    rows = tuple((*_detail(cell, figure), *((figure.verdict,) if judged else ())) for cell, figure in told)
    return Table((*head, *(("Over time",) if judged else ())), rows, frozenset({"Shots", "n"}))


def _detail(cell: CellResult, figure: Figure) -> tuple[str, ...]:
    values = (value_text(figure), interval_text(figure), _n(cell, figure), figure.unit)
    return (task_text(cell), _shots(cell), figure.name, *values)


def _side_by_side(run: RunResult, found: tuple[Column, ...]) -> Table:
    lines: dict[Line, dict[Column, tuple[CellResult, Figure]]] = {}
    for line, cell, figure in _lines(run):
        lines.setdefault(line, {})[(cell.model, cell.backend)] = (cell, figure)
    head = ("Task", "Shots", "Figure", *(f"{model} · {backend}" for model, backend in found), "n", "Unit")
    rows = tuple(_row(line, figures, found) for line, figures in lines.items())
    return Table(head, rows, frozenset({"Shots", "n"}))


def _lines(run: RunResult) -> Iterator[tuple[Line, CellResult, Figure]]:
    seen: Counter[tuple[str, ...]] = Counter()
    for cell in run.cells:
        name, shots = task_text(cell), _shots(cell)
        place = (name, shots, cell.model, cell.backend)
        for figure in _in_order(cell):
            yield (name, shots, seen[place], figure.name), cell, figure
        # a task asked twice of one model gets lines of its own
        seen[place] += 1


def _row(
    line: Line, figures: dict[Column, tuple[CellResult, Figure]], found: tuple[Column, ...]
) -> tuple[str, ...]:
    name, shots, _, figure_name = line
    values = [_value(figures[column][1]) if column in figures else "" for column in found]
    n = " / ".join(dict.fromkeys(_n(cell, figure) for cell, figure in figures.values()))
    unit = " / ".join(dict.fromkeys(figure.unit for _, figure in figures.values()))
    return (name, shots, figure_name, *values, n, unit)


def _value(figure: Figure) -> str:
    """Side by side there is no column for a verdict; that it stayed as it was goes without saying."""
    unsteady = f" ({figure.verdict})" if figure.verdict not in ("", "stable") else ""
    return value_text(figure) + unsteady


def _in_order(cell: CellResult) -> list[Figure]:
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    return sorted(cell.figures, key=lambda figure: ranks.get(figure.name, len(ranks)))


def task_text(cell: CellResult) -> str:
    """The task, and who wrote its prompts where that is not the task itself."""
    return f"{cell.name} in chat" if cell.chat == "on" else cell.name


def _shots(cell: CellResult) -> str:
    return "" if cell.kind == "probe" else str(cell.shots)


def _n(cell: CellResult, figure: Figure) -> str:
    return f"{figure.n:,} sample" if cell.sample else f"{figure.n:,}"


def against_chance(cell: CellResult) -> tuple[list[str], list[str]]:
    """The cell's accuracies of which the 95% interval lies above chance, and the others."""
    chance = next((figure.value for figure in cell.figures if figure.name == "chance"), None)
    above: list[str] = []
    others: list[str] = []
    for figure in _in_order(cell):
        if chance is not None and figure.name in _GUESSED and figure.ci95 is not None:
            (above if figure.ci95[0] > chance else others).append(figure.name)
    return above, others
