"""Progress on stderr: requests done, rate, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from slmeval.text import clean


class Bar:
    """One bar per job. On a terminal it moves; elsewhere a line now and then, so that logs stay short.

    Where ``out`` is closed, full or gone, the run goes on without it.
    """

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._bar: Any = None

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

    def end(self) -> None:
        """The job has ended."""
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
