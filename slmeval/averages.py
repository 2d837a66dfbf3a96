"""Figures of a group: means of its members' figures, over all rows or member by member."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from slmeval.curves import GAIN, SLOPE
from slmeval.plan import CellKey, GroupCell
from slmeval.statistics import normal_interval, share_interval
from slmeval.types import CellResult, DataOrigin, Figure

#: a member's name, its cell, and its figures that have a value
Member = tuple[str, CellResult | None, Mapping[str, Figure]]


def group_figures(
    planned: GroupCell, cells: Mapping[CellKey, CellResult], shares: Container[str]
) -> tuple[Figure, ...]:
    """Each figure that the group averages, and its gain and slope where the members have them.

    ``shares`` are the names of those that are shares of something.
    """
    found = [(name, cells.get((name, shots))) for name, shots in planned.members]
    members = [(name, cell, _by_name(cell)) for name, cell in found]
    names = [each for name in planned.group.average for each in (name, name + GAIN, name + SLOPE)]
    present = {each for _, _, figures in members for each in figures}
    return tuple(
        _mean(planned.group.over, name, members, share=name in shares)
        for name in names
        if name in present or name in planned.group.average
    )


def _by_name(cell: CellResult | None) -> dict[str, Figure]:
    return {figure.name: figure for figure in cell.figures if figure.value is not None} if cell else {}


def _mean(over: str, name: str, members: Sequence[Member], *, share: bool) -> Figure:
    lacking = [member for member, _, figures in members if name not in figures]
    if lacking:
        others = f" and {len(lacking) - 1} more members" if len(lacking) > 1 else ""
        return Figure(name, None, None, None, 0, "", "unavailable", f"there is none of {lacking[0]}{others}")
    found = [figures[name] for _, _, figures in members]
    n = sum(figure.n for figure in found)
    rows = [rows_behind(cell, figures[name]) for _, cell, figures in members]
    weights = rows if over == "rows" else [1.0] * len(rows)
    value = math.fsum(w * (f.value or 0.0) for w, f in zip(weights, found, strict=True)) / math.fsum(weights)
    whole = over == "rows" and rows == [figure.n for figure in found]
    stderr = _pooled(found, n) if whole else _combined(found, weights)
    interval = share_interval(value, stderr, n) if share else normal_interval(value, stderr)
    # a note that counts something is a member's own
    notes = {"" if any(map(str.isdigit, figure.note)) else figure.note for figure in found}
    return replace(
        found[0], value=value, stderr=stderr, ci95=interval, n=n, note=notes.pop() if len(notes) == 1 else ""
    )


def rows_behind(cell: CellResult | None, figure: Figure) -> float:
    """How many rows a member's figure stands for: more than it was made of where it ended early."""
    stop = cell.stop if cell is not None else None
    return figure.n * stop.planned / stop.asked if stop is not None else figure.n


def _pooled(figures: Sequence[Figure], n: int) -> float | None:
    """As if scores varied alike in all members: lm-evaluation-harness's ``pooled_sample_stderr``."""
    errors = [figure.stderr for figure in figures if figure.stderr is not None]
    if len(errors) < len(figures):
        return None
    squares = math.fsum((f.n - 1) * f.n * e * e for f, e in zip(figures, errors, strict=True))
    return math.sqrt(squares / (n - len(figures)) / n)


def _combined(figures: Sequence[Figure], weights: Sequence[float]) -> float | None:
    """Of a weighted mean of independent members."""
    errors = [figure.stderr for figure in figures if figure.stderr is not None]
    if len(errors) < len(figures):
        return None
    return math.hypot(*(w * e for w, e in zip(weights, errors, strict=True))) / math.fsum(weights)


def group_origin(members: Sequence[CellResult]) -> DataOrigin:
    """All rows of the members together."""
    data = [cell.data for cell in members]
    shots = _digest([each.shots_sha256 for each in data])
    return DataOrigin(
        "rows of its members",
        _digest([each.sha256 for each in data]),
        sum(each.rows for each in data),
        "those of its members" if shots else "",
        shots,
    )


def _digest(hashes: Sequence[str]) -> str:
    whole = "".join(hashes)
    return hashlib.sha256(whole.encode()).hexdigest() if whole else ""
