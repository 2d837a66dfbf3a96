"""A timing rule against a stored baseline: decided only where a yardstick shows the machine unchanged.

What an engine takes is of its machine as much as of itself. So kernels that never change are measured beside
each probe (:mod:`slmeval.yardstick`). Where one of them may take another time than it took in the baseline's
run, by more than :data:`TOLERANCE`, nothing is decided. Else the answer must be the same wherever in that
interval the machine's speed may lie: the excess is the widest over all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from slmeval.differences import Estimate
from slmeval.excess import Excess
from slmeval.sides import Place
from slmeval.types import CellResult, Figure
from slmeval.yardstick import pooled, swings

#: by how much a kernel's time may differ where the machine counts as unchanged
TOLERANCE = 0.05
#: units of time; a figure whose unit has one of them in it tells of the machine as much as of the model
_TIMES = frozenset({"ns", "us", "ms", "s", "min", "h"})
#: what a machine draws while it works, and what that comes to
_POWER = frozenset({"J", "mJ", "Wh", "W", "mW"})


class UndecidedError(Exception):
    """Why a stored baseline cannot decide a timing rule."""


@dataclass(frozen=True)
class Swing:
    """Between which factors the machine's times may lie, now against then."""

    low: float = 1.0
    high: float = 1.0


def is_timing(figure: Figure) -> bool:
    """Whether it is a time, so many of something in a time, or what was drawn from the socket meanwhile."""
    return bool((_TIMES | _POWER) & set(figure.unit.split("/")))


def swing(before: CellResult, now: CellResult, places: tuple[Place, Place]) -> Swing:
    """How far the machine may have moved between the runs of two cells, which were measured at ``places``.

    :raises UndecidedError: it moved, or nobody knows; the reason is told, and the way out.
    """
    if (reason := next(_reasons(before, now, places), None)) is not None:
        raise UndecidedError(f"{reason} (gate --against times both sides in turn)")
    found = swings(pooled(before.conditions), pooled(now.conditions)).values()
    return Swing(min(1.0, *(each.low for each in found)), max(1.0, *(each.high for each in found)))


def _reasons(before: CellResult, now: CellResult, places: tuple[Place, Place]) -> Iterator[str]:
    yield from _of_places(*places)
    then, today = pooled(before.conditions), pooled(now.conditions)
    for told, of in ((then, "the baseline"), (today, "the run")):
        if not told:
            yield f"{of} has no yardstick of its machine beside {now.name}"
    if then.keys() != today.keys():
        yield "the yardsticks of run and baseline are not of the same kernels"
    for name, each in swings(then, today).items():
        if each.low < 1 / (1 + TOLERANCE) or each.high > 1 + TOLERANCE:
            yield _moved(name, each)


def _of_places(then: Place, today: Place) -> Iterator[str]:
    if then.processor != today.processor:
        yield f"the baseline is of another machine ({then.processor or 'an unknown one'})"
    for place in (then, today):
        if not place.device.startswith("cpu"):
            device = place.device or "a device that is not told"
            yield f"the model was on {device}, and the yardstick tells of the processor alone"


def _moved(kernel: str, found: Estimate) -> str:
    middle, low, high = (f"{100 * each:.1f}%" for each in (found.value, found.low, found.high))
    told = f"the yardstick of {kernel} takes {middle} of what it took (95% interval {low} to {high})"
    if found.low <= 1 <= found.high:
        return f"{told}, which is too uneven to tell whether the machine is unchanged"
    return f"{told}: the machine has changed, or who else is on it"


def steadied(excess: Excess, figure: Figure, by: Swing) -> Excess:
    """``excess``, of a baseline's value, with an interval that holds wherever in ``by`` the machine is."""
    # a rate falls where times rise
    moves = (1 / by.high, 1 / by.low) if _is_rate(figure) else (by.low, by.high)

    def at(factor: float, offset: float, level: float) -> Estimate:
        middle = excess(factor, offset, level)
        ends = [excess(factor * each, offset, level) for each in moves]
        low, high = min(each.low for each in ends), max(each.high for each in ends)
        return replace(
            middle,
            low=min(low, middle.low),
            high=max(high, middle.high),
            method=f"{middle.method}, yardstick",
        )

    return at


def _is_rate(figure: Figure) -> bool:
    return figure.unit.rpartition("/")[2] in _TIMES and "/" in figure.unit
