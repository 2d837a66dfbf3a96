"""How narrow an interval is to be before a task ends: what ``--target-ci`` says, read and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slmeval.api import Metric
from slmeval.errors import UnknownName, UsageError
from slmeval.plan import Cell
from slmeval.sequences import narrow_enough
from slmeval.types import CellResult, Figure

_POINTS = "pt"
#: an interval of a share that reaches so far to both sides says nothing
_ALL = 0.5


@dataclass(frozen=True)
class Target:
    """A half width of a figure's 95% interval, in the figure's unit.

    ``figure`` is "" for each task's main one. ``points``: it was written in percentage points, so that the
    figure must be a share.
    """

    text: str
    figure: str
    width: float
    points: bool


def read_target(text: str) -> Target:
    """``1.5pt``, ``0.02`` or ``FIGURE=WIDTH``.

    :raises UsageError: it is no such text, or no width that an interval can have.
    """
    figure, equals, width = text.strip().rpartition("=")
    if equals and not figure.strip():
        raise UsageError(f"--target-ci {text}: before the = stands a figure's name, as in acc_norm=1.5pt")
    points = width.strip().endswith(_POINTS)
    number = _number(text, width.strip().removesuffix(_POINTS).strip())
    return Target(text.strip(), figure.strip(), number / 100 if points else number, points)


def _number(text: str, width: str) -> float:
    try:
        number = float(width)
    except ValueError:
        raise UsageError(
            f"--target-ci {text}: write a half width in percentage points (1.5pt), or as a number in the "
            "figure's unit (0.02)"
        ) from None
    if not 0 < number < math.inf:
        raise UsageError(f"--target-ci {text}: a half width is a finite number above 0")
    return number


def read_targets(texts: Iterable[str]) -> tuple[Target, ...]:
    """All that were given.

    :raises UsageError: one is wrong, or two are of the same figure.
    """
    targets = tuple(read_target(text) for text in texts)
    for place, target in enumerate(targets):
        if target.figure in {each.figure for each in targets[:place]}:
            raise UsageError(f"--target-ci {target.text}: there is another half width of the same figure")
    return targets


def targets_of(cell: Cell, targets: Sequence[Target]) -> dict[str, Target]:
    """What is wanted of a cell's figures: of those that are named, else of the main one."""
    figures = cell.scorer.figures
    named = {target.figure: target for target in targets if target.figure in figures}
    plain = next((target for target in targets if not target.figure), None)
    return named or ({next(iter(figures)): plain} if plain and figures else {})


def check_targets(cells: Sequence[Cell], targets: Sequence[Target]) -> None:
    """:raises UsageError: a figure is of no task, or a half width is none that such a figure can have."""
    if targets and not cells:
        raise UsageError(f"--target-ci {targets[0].text}: no task is asked whose items could be fewer")
    known = {name for cell in cells for name in cell.scorer.figures}
    for target in targets:
        if target.figure and target.figure not in known:
            raise UnknownName("figure of these tasks", target.figure, known)
    for cell in cells:
        for name, target in targets_of(cell, targets).items():
            _check_width(f"{cell.task.name}/{name}", cell.scorer.figures[name], target)


def _check_width(figure: str, metric: Metric, target: Target) -> None:
    if target.points and not metric.proportion:
        raise UsageError(
            f"--target-ci {target.text}: {figure} is no share, of which there are percentage points: write a "
            f"number{f' in {metric.unit}' if metric.unit else ''}"
        )
    if metric.proportion and target.width >= _ALL:
        raise UsageError(
            f"--target-ci {target.text}: {figure} is a share, of which an interval of ±50 points says nothing"
        )


def reached(result: CellResult, targets: dict[str, Target]) -> bool:
    """Whether each interval that is wanted is narrow enough to end."""
    figures = {figure.name: figure for figure in result.figures}
    return bool(targets) and all(_is_narrow(figures.get(name), each) for name, each in targets.items())


def _is_narrow(figure: Figure | None, target: Target) -> bool:
    if figure is None or figure.ci95 is None or figure.stderr is None:
        return False
    low, high = figure.ci95
    # the interval that is reported must be so narrow, and the rule that looks again and again allow for it
    return (high - low) / 2 <= target.width and narrow_enough(figure.n, figure.stderr, target.width)
