"""One side of an interleaved timing: a model open in a worker, and the figures that are asked of it there."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

from slmeval.api import Executor
from slmeval.conversation import Conversation
from slmeval.errors import JobFailed, UnknownName
from slmeval.plan import Job, ProbeCell
from slmeval.probe_figures import measured_cell, unpacked
from slmeval.protocol import Message
from slmeval.rules import Rule, figure_of
from slmeval.types import CellResult

#: fresh workers of a measurement that takes some
_FRESH = 2


class TimedSide:
    """One job, its model open in a worker that stays; what asks for fresh workers gets them."""

    def __init__(self, job: Job, executor: Executor, timeout: float) -> None:
        self._job, self._executor, self._timeout = job, executor, timeout
        self._talk: Conversation | None = None

    def __enter__(self) -> TimedSide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._talk is not None:
            self._talk.close(kill=error is not None)

    def begin(self, rule: Rule) -> Message:
        """What the stream of a rule's figure is; where a probe takes fresh workers there is none."""
        cell = self._cell(rule)
        if cell.probe.workers:
            return {"lacks": None, "streams": False, "unit": "", "higher_is_better": None}
        return self._asked("stream", "streaming", **_asked_of(cell), figure=rule.figure)

    def turn(self, seconds: float) -> list[float]:
        """The figure's value in each step of a turn that lasts so long."""
        values: list[float] = self._asked("turn", "turned", seconds=seconds)["values"]
        return values

    def whole(self, rule: Rule) -> tuple[str, float]:
        """The unit and the value of the figure in a measurement of its own.

        :raises JobFailed: it has none.
        :raises UnknownName: there is no such figure.
        """
        cell = self._measured(self._cell(rule))
        figure = figure_of(rule, cell)
        if figure is None:
            known = [each.name for each in cell.figures]
            raise UnknownName(f"figure of probe {rule.task!r}", rule.figure, known)
        if figure.value is None or not 0 < figure.value < math.inf:
            raise JobFailed(
                f"{self._label}: {rule.task}/{rule.figure} has no value: {figure.note or figure.value}"
            )
        return figure.unit, figure.value

    def _measured(self, cell: ProbeCell) -> CellResult:
        if not cell.probe.workers:
            return measured_cell(self._job, cell, [unpacked(cell, self._probed(cell, 0))])
        found = []
        for place in range(min(cell.probe.workers, _FRESH)):
            self._close()
            found.append(unpacked(cell, self._probed(cell, place)))
        self._close()
        return measured_cell(self._job, cell, found)

    def _probed(self, cell: ProbeCell, place: int) -> Message:
        started = self._open().started
        beginning = {} if started is None else {"start": started}
        message = self._asked(
            "probe", "measured", number=place, **_asked_of(cell), beginning=beginning, yardstick=False
        )
        if message["lacks"] is not None:
            raise JobFailed(f"{self._label}: {message['lacks']}")
        return message

    def _asked(self, kind: str, answer: str, **fields: Any) -> Message:
        talk = self._open()
        talk.send(kind, **{"number": 0, **fields})
        message = talk.expect(answer, "unmeasured")
        if message["kind"] == "unmeasured":
            raise JobFailed(f"{self._label}: {message['message']}")
        return message

    def _open(self) -> Conversation:
        if self._talk is None:
            self._talk = Conversation(self._job, self._executor, self._timeout)
            self._talk.name_model()
        return self._talk

    def _close(self) -> None:
        if self._talk is not None:
            self._talk.close()
        self._talk = None

    def _cell(self, rule: Rule) -> ProbeCell:
        return next(each for each in self._job.probes if each.probe.name == rule.task)

    @property
    def _label(self) -> str:
        return f"{self._job.backend.name}:{self._job.label}"


def _asked_of(cell: ProbeCell) -> dict[str, Any]:
    return {"probe": cell.probe.name, "settings": dict(cell.settings), "seed": cell.seed}
