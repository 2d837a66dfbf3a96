"""In-context learning as a curve: what the examples bring over none, question by question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from slmeval.item_scores import Column
from slmeval.plan import CellKey
from slmeval.statistics import gain_figure, mean_figure, slope
from slmeval.types import Figure

#: by figure, the scores of one cell
Columns = Mapping[str, Column]

#: what stands behind a figure's name
GAIN, SLOPE = "_gain", "_slope"


class Curves:
    """The scores of cells that are scored one after the other, each task's with the fewest shots first."""

    def __init__(self, keys: Iterable[CellKey]) -> None:
        self._curves: dict[str, dict[int, Columns]] = {}
        # in the order given the last of a task has the most shots
        self._most = dict(keys)

    @property
    def shares(self) -> frozenset[str]:
        """The names of all figures that are shares of something."""
        cells = (cell for curve in self._curves.values() for cell in curve.values())
        return frozenset(name for cell in cells for name, column in cell.items() if column.metric.proportion)

    def add(self, key: CellKey, columns: Columns) -> tuple[Figure, ...]:
        """What a cell tells of those that were added before it.

        For each share of right answers the gain over zero shots, where these were asked, and with the most
        shots the slope of a line through all scores: of each question by itself, so that errors are paired.
        """
        name, shots = key
        curve = self._curves.setdefault(name, {})
        curve[shots] = columns
        if len(curve) < 2:
            return ()
        rising = [each for each, column in columns.items() if _rises(column)]
        gains = _gains(curve[0], columns, rising) if 0 in curve else ()
        slopes = _slopes(curve, rising) if shots == self._most[name] else ()
        return (*gains, *slopes)


def _rises(column: Column) -> bool:
    return column.metric.proportion and column.metric.higher_is_better is True


def _gains(before: Columns, after: Columns, names: list[str]) -> Iterator[Figure]:
    for name in names:
        then, now = before[name].scores, after[name].scores
        both = [index for index in now if index in then]
        yield gain_figure(name + GAIN, [then[each] for each in both], [now[each] for each in both])


def _slopes(curve: Mapping[int, Columns], names: list[str]) -> Iterator[Figure]:
    shots = sorted(curve)
    for name in names:
        scores = [curve[each][name].scores for each in shots]
        everywhere = [index for index in scores[0] if all(index in column for column in scores)]
        slopes = [slope(shots, [column[index] for column in scores]) for index in everywhere]
        yield mean_figure(name + SLOPE, slopes, unit="per shot")
