"""What is known of a run's cells while they are asked, for a reader who watches: on stderr."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TextIO

from slmeval.sights import Sight
from slmeval.text import clean

#: lines of a terminal that are left for the bar and what is typed
_SPARE = 3
_UP, _CLEAR_LINE = "\x1b[{}A", "\x1b[2K"


class Lines:
    """A line for each sight, for a log."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, sights: Sequence[Sight]) -> None:
        """Write what is new."""
        for sight in sights:
            print(f"{clean(sight.label)}: {_told(sight)}", file=self._out, flush=True)


class Table:
    """One line for each cell, written again where it stands whenever more is known."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._sights: dict[str, Sight] = {}
        self._height = 0

    def show(self, sights: Sequence[Sight]) -> None:
        """Write the table anew."""
        self._sights.update((sight.label, sight) for sight in sights)
        columns, rows = shutil.get_terminal_size()
        lines = _fitted(_rows(list(self._sights.values())), max(1, rows - _SPARE))
        self._out.write(_UP.format(self._height) if self._height else "")
        # a line that is longer than the terminal would be two
        self._out.writelines(f"{_CLEAR_LINE}{line[: columns - 1]}\n" for line in lines)
        self._out.flush()
        self._height = len(lines)


def table_of(out: TextIO) -> Table | Lines:
    """A table on a terminal that can move up, lines elsewhere."""
    return Table(out) if out.isatty() and os.environ.get("TERM") != "dumb" else Lines(out)


def _rows(sights: Sequence[Sight]) -> list[str]:
    width = max(len(clean(sight.label)) for sight in sights)
    return [f"{clean(sight.label):{width}}  {_told(sight)}" for sight in sights]


def _fitted(lines: list[str], most: int) -> list[str]:
    """The last of them, where they are too many for the terminal."""
    if len(lines) <= most:
        return lines
    return [f"... and {len(lines) - most + 1} more", *lines[len(lines) - most + 1 :]]


def _told(sight: Sight) -> str:
    ended = f" · {clean(sight.ended)}" if sight.ended else ""
    return f"{clean(sight.figure)} {_value(sight)} after {sight.asked:,} of {sight.planned:,}{ended}"


def _value(sight: Sight) -> str:
    if sight.value is None:
        return "has no value"
    unit = f" {sight.unit}" if sight.unit else ""
    if sight.low is None or sight.high is None:
        return f"{sight.value:.3f}{unit}"
    return f"{sight.value:.3f}{unit} ({sight.low:.3f} to {sight.high:.3f})"
