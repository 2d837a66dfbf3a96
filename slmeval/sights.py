"""What those who watch a run are told of its cells while they are asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sight:
    """What is known of a cell while it is asked: ``asked`` of ``planned`` items, and what they come to.

    The interval is valid at every sight of it together (95%). ``ended`` says why no more is asked, "" before.
    """

    label: str
    figure: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    asked: int
    planned: int
    ended: str = ""
