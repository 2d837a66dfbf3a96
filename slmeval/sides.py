"""The sides of a comparison: each model on each engine of a run or a baseline, and which stand opposite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slmeval.differences import Compared
from slmeval.errors import UnknownName, UsageError
from slmeval.types import CellResult, RunOptions, RunResult

if TYPE_CHECKING:
    from slmeval.baselines import Baseline

#: options of a run that change what is asked, or the texts that come of it
SETTINGS = ("compat", "chat_shots", "template_options", "thinking", "max_tokens", "temperature", "top_p")


@dataclass(frozen=True)
class Place:
    """Where something was measured: the processor, and the device that the model was on ("cpu", say)."""

    processor: str = ""
    device: str = ""


@dataclass(frozen=True)
class Side:
    """A model on an engine, with all that was measured of it.

    ``settings`` are those named in :data:`SETTINGS`, ``template_hash`` is the chat template's, "" where none
    was used. ``options`` say where its rows lie; ``None``: that is not told. ``called`` is what the
    user wrote for the run.
    """

    run: str
    backend: str
    model: str
    cells: tuple[CellResult, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    template_hash: str = ""
    options: RunOptions | None = None
    demo: bool = False
    called: str = ""
    place: Place = Place()

    def __str__(self) -> str:
        return f"{self.called or self.run}#{self.backend}:{self.model}"


def settings_of(options: RunOptions) -> dict[str, Any]:
    """Those of ``options`` that change what is asked, or the texts that come of it."""
    return {name: getattr(options, name) for name in SETTINGS}


def sides_of(found: RunResult | Baseline, called: str = "") -> tuple[Side, ...]:
    """Every model on every engine of which there is a cell, in the order of the run.

    :raises UsageError: there is none.
    """
    keys = tuple(dict.fromkeys((cell.backend, cell.model) for cell in found.cells))
    if not keys:
        raise UsageError(f"{called or _id(found)} has no results to compare")
    return tuple(_side(found, called, *key) for key in keys)


def _id(found: RunResult | Baseline) -> str:
    return found.id if isinstance(found, RunResult) else found.run


def _side(found: RunResult | Baseline, called: str, backend: str, model: str) -> Side:
    whole = isinstance(found, RunResult)
    cells = tuple(cell for cell in found.cells if (cell.backend, cell.model) == (backend, model))
    hashes = (each.template_hash for each in found.models if (each.backend, each.label) == (backend, model))
    return Side(
        _id(found),
        backend,
        model,
        cells,
        settings_of(found.options) if isinstance(found, RunResult) else found.settings,
        next(hashes, ""),
        found.options if isinstance(found, RunResult) else None,
        whole and found.demo,
        called,
        _place(found, backend, model),
    )


def _place(found: RunResult | Baseline, backend: str, model: str) -> Place:
    if isinstance(found, RunResult):
        reports = [each for each in found.models if (each.backend, each.label) == (backend, model)]
        device = next((each.info.device for each in reports if each.info is not None), "")
    else:
        devices = (each.device for each in found.models if (each.backend, each.label) == (backend, model))
        device = next(devices, "")
    return Place(found.machine.processor, device)


def chosen(sides: Sequence[Side], wanted: str) -> tuple[Side, ...]:
    """Those of ``sides`` that ``BACKEND`` or ``BACKEND:MODEL`` means; all where it is empty.

    :raises UnknownName: none is called so.
    """
    if not wanted:
        return tuple(sides)
    found = tuple(side for side in sides if wanted in _names(side))
    if not found:
        raise UnknownName("side", wanted, {name for side in sides for name in _names(side)})
    return found


def _names(side: Side) -> tuple[str, str]:
    return side.backend, f"{side.backend}:{side.model}"


# ---- which stand opposite --------------------------------------------------------------------------------


def opposite(runs: Sequence[Sequence[Side]]) -> tuple[tuple[tuple[Side, Side], ...], tuple[str, ...]]:
    """Pairs of sides to compare, each one's first side from the first run; and notes on who stands alone.

    In one run the first side is held against the others. A run with one side is held against every side of
    another; of two with several, sides of the same engine and model are.

    :raises UsageError: there are no two sides.
    """
    if len(runs) == 1:
        return _within(runs[0]), ()
    pairs: list[tuple[Side, Side]] = []
    notes: list[str] = []
    for later in runs[1:]:
        found = tuple(_between(runs[0], later))
        if not found:
            raise UsageError(
                f"no side of {later[0].called or later[0].run} ({_listed(later)}) is called as one of "
                f"{runs[0][0].called or runs[0][0].run} ({_listed(runs[0])}): pick one with RUN#BACKEND:MODEL"
            )
        pairs += found
        notes += _alone(found, runs[0], later)
    return tuple(pairs), tuple(notes)


def _within(sides: Sequence[Side]) -> tuple[tuple[Side, Side], ...]:
    if len(sides) < 2:
        raise UsageError(f"{sides[0]} has nothing to be compared with: name a second run")
    return tuple((sides[0], other) for other in sides[1:])


def _between(first: Sequence[Side], second: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    if len(first) == 1 or len(second) == 1:
        yield from ((one, other) for one in first for other in second)
        return
    for one in first:
        yield from ((one, other) for other in second if _key(other) == _key(one))


def _alone(
    pairs: Sequence[tuple[Side, Side]], first: Sequence[Side], second: Sequence[Side]
) -> Iterator[str]:
    paired = {id(side) for pair in pairs for side in pair}
    for side in (*first, *second):
        if id(side) not in paired:
            yield f"{side} has none opposite, and was left out"


def _listed(sides: Sequence[Side]) -> str:
    return ", ".join(f"{side.backend}:{side.model}" for side in sides)


def _key(side: Side) -> tuple[str, str]:
    return side.backend, side.model


# ---- what they are called --------------------------------------------------------------------------------


def labelled(pairs: Sequence[tuple[Side, Side]]) -> list[tuple[Compared, Compared]]:
    """The sides of each pair, each with a label as short as tells it from all others."""
    sides = {str(side): side for pair in pairs for side in pair}
    labels = dict(zip(sides, _labels([*sides.values()]), strict=True))
    return [
        (_compared(one, labels[str(one)]), _compared(other, labels[str(other)]))
        if str(one) != str(other)
        else (_compared(one, f"{labels[str(one)]} (1)"), _compared(other, f"{labels[str(one)]} (2)"))
        for one, other in pairs
    ]


def _labels(sides: Sequence[Side]) -> list[str]:
    ways = (
        [side.model for side in sides],
        [f"{side.model} · {side.backend}" for side in sides],
        [side.run for side in sides],
        [f"{side.run} {side.model}" for side in sides],
        [f"{side.run} {side.model} · {side.backend}" for side in sides],
    )
    return next((way for way in ways if len(set(way)) == len(way)), [str(side) for side in sides])


def _compared(side: Side, label: str) -> Compared:
    return Compared(side.run, side.backend, side.model, label)
