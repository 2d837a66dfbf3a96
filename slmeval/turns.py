"""A worker's part where two engines are timed in turn: a figure's stream, of which one turn after another is
taken while the other engine waits.
"""

from __future__ import annotations

import gc
import math
import reprlib
import time
from collections.abc import Sequence
from typing import Any

from slmeval.api import Probe, Session, Stream
from slmeval.errors import JobFailed
from slmeval.sessions import lacking


class Turns:
    """At most one stream, open from its :meth:`begin` to its :meth:`end`."""

    def __init__(self) -> None:
        self._stream: Stream | None = None
        self._probe = ""

    def begin(self, probe: Probe, session: Session, figure: str) -> dict[str, Any]:
        """Open the stream of ``figure`` and say what it is; where there is none, that, and what it lacks.

        :raises slmeval.errors.SlmevalError: the model cannot be opened.
        """
        self.end()
        self._probe, lacks = probe.name, lacking(session, probe)
        try:
            self._stream = None if lacks else probe.stream(session, figure)
        except JobFailed as error:
            lacks = str(error)
        stream = self._stream
        return {
            "lacks": lacks,
            "streams": stream is not None,
            "unit": stream.unit if stream else "",
            "higher_is_better": stream.higher_is_better if stream else None,
        }

    def take(self, seconds: float) -> list[float]:
        """The values of one run or more, until they have taken so many ``seconds``.

        :raises JobFailed: the stream ends, or has what is no number.
        """
        assert self._stream is not None, "a turn before its stream"
        values: list[float] = []
        until = time.perf_counter() + seconds
        while not values or time.perf_counter() < until:
            run = next(self._stream.values, None)
            if not run:
                raise JobFailed(f"probe {self._probe!r} has a run without a value in its stream")
            values += run
        self._check(values)
        # what a run leaves is collected where nothing is timed
        gc.collect(1)
        return values

    def _check(self, values: Sequence[float]) -> None:
        for value in values:
            if type(value) is not float or not 0 < value < math.inf:
                raise JobFailed(f"probe {self._probe!r} has {reprlib.repr(value)} in its stream")

    def end(self) -> None:
        """Close the stream, if one is open."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.values.close()
