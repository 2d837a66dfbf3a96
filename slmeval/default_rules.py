"""The rules of a gate that has none of its own: no accuracy may be lower than the baseline's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from slmeval.errors import UsageError
from slmeval.gate_cases import opposite_of
from slmeval.gating import sides_to_judge
from slmeval.headlines import headlines
from slmeval.matching import CellPair, figure_named, listed, match
from slmeval.rules import Rule, parse_rule
from slmeval.sides import Side
from slmeval.types import RunResult

if TYPE_CHECKING:
    from slmeval.baselines import Baseline


def default_rules(run: RunResult, baseline: RunResult | Baseline | None, recovery_of: str = "") -> list[Rule]:
    """``task@shots/figure >= baseline`` of each task's and group's main figures that both have.

    Of a side of which something failed, they are of all that the baseline has, lest it be forgotten.
    Members of a group are left out, for its mean has them. Where lower is better it is ``<=``.

    :raises UsageError: there is no such figure, or nothing to hold it against.
    """
    sides, others = sides_to_judge(run, baseline, recovery_of)
    if not others:
        raise UsageError("a gate without rules needs --baseline FILE; or say what must hold: --rule '...'")
    failed = {(each.backend, each.model) for each in run.failures}
    if run.status == "interrupted":
        failed |= {(side.backend, side.model) for side in sides}
    texts = [
        text
        for side in sides
        for text in _texts(_pairs(side, opposite_of(side, others), (side.backend, side.model) in failed))
    ]
    if not texts:
        raise UsageError(f"run {run.id} and its baseline have no task in common: name a figure with --rule")
    return [parse_rule(text) for text in dict.fromkeys(texts)]


def forgotten(run: RunResult, baseline: RunResult | Baseline | None, recovery_of: str = "") -> list[str]:
    """What the baseline has and no default rule is about, for the run has not got it: in words."""
    sides, others = sides_to_judge(run, baseline, recovery_of)
    held = {(other.backend, other.model): other for other in (opposite_of(side, others) for side in sides)}
    told = [
        f"nothing of this run is held against {other.backend}:{other.model} of the baseline"
        for other in others
        if (other.backend, other.model) not in held
    ]
    for side in sides:
        here = {cell.label for cell in side.cells}
        other = opposite_of(side, others)
        lacking = [cell.label for cell in other.cells if cell.kind == "task" and cell.label not in here]
        if lacking:
            told.append(f"{side.backend}:{side.model} was not asked what the baseline was: {listed(lacking)}")
    return told


def _pairs(side: Side, other: Side, failed: bool) -> Sequence[CellPair]:
    """The cells of both; of a side that ``failed`` in part what it lacks too, as the baseline has it."""
    found = match(other, side).cells
    there = {pair.first.label for pair in found}
    lost = (cell for cell in other.cells if failed and cell.label not in there)
    return [*found, *(CellPair(cell, cell) for cell in lost)]


def _texts(pairs: Sequence[CellPair]) -> Iterator[str]:
    inside = {name for pair in pairs if pair.second.kind == "group" for name in pair.second.members}
    for pair in pairs:
        cell = pair.second
        # a rule cannot name a task with a slash in it
        if cell.kind == "probe" or cell.name in inside or "/" in cell.name:
            continue
        for name in headlines(pair):
            figure = figure_named(cell, name)
            # of a figure of which nobody says what is better there is no rule
            if figure is not None and figure.higher_is_better is not None:
                yield f"{cell.name}@{cell.shots}/{name} {'>=' if figure.higher_is_better else '<='} baseline"
