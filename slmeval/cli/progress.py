"""Progress on stderr: requests done, rate, time left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from slmeval.cli.sights import Lines, Table, table_of
from slmeval.sights import Sight
from slmeval.text import clean


class Bar:
    """One bar per job. On a terminal it moves; elsewhere a line now and then, so that logs stay short.

    Where ``out`` is closed, full or gone, the run goes on without it.
    """

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._bar: Any = None
        self._table: Table | Lines | None = None

    def begin(self, label: str, total: int, unit: str = "req") -> None:
        """A job begins that has ``total`` requests to ask, or another ``unit`` of work to do."""
        if total == 0 or self._out is None:
            return
        from tqdm import tqdm

        with self._tolerant():
            self._bar = tqdm(
                total=total,
                desc=clean(label),
                unit=unit,
                file=self._out,
                mininterval=0.1 if self._out.isatty() else 10.0,
                dynamic_ncols=True,
            )

    def advance(self, done: int) -> None:
        """So many requests more are answered and in the store."""
        if self._bar is not None:
            with self._tolerant():
                self._bar.update(done)

    def leave_out(self, requests: int) -> None:
        """So many requests are not asked any more."""
        if self._bar is not None and requests:
            with self._tolerant():
                self._bar.total -= requests
                self._bar.refresh()

    def see(self, sights: Sequence[Sight]) -> None:
        """So much is known of cells that may end early: a table where it can be written again, else lines."""
        if self._out is None or not sights:
            return
        with self._tolerant():
            if self._table is None:
                self._table = table_of(self._out)
            if self._bar is not None and isinstance(self._table, Lines):
                # the lines say how far it is
                self._bar.close()
                self._bar = None
            if self._bar is not None:
                self._bar.clear()
            self._table.show(sights)
            if self._bar is not None:
                self._bar.refresh()

    def end(self) -> None:
        """The job has ended."""
        self._table = None
        if self._bar is not None:
            with self._tolerant():
                self._bar.close()
            self._bar = None

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):
            self._out = self._bar = None
