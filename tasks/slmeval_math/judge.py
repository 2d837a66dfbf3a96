"""Asks a process of its own whether two answers are equal, and ends it where it takes too long.

The process is kept from one question to the next, because loading sympy takes a second. It is ended by its
id, and another one started, where a step takes longer than its limit: an expression can keep sympy busy for
years, inside one call that no signal interrupts. Nothing here needs signals or the main thread.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from threading import Event, Lock, Timer
from typing import Literal

from slmeval.children import AWAY, bare_environment
from slmeval.errors import JobFailed

#: seconds for a step: lm-evaluation-harness gives a comparison 5; math_verify ends its steps after 5 by
#: itself
LIMITS = {"equal": 5.0, "verify": 6.0}
#: seconds for the process to start, and for it to wait for more questions after those of a figure
_START, _IDLE = 120.0, 20.0
#: sympy goes through sets: in the same order each time, so that an answer is judged the same each time
_SAME = {"PYTHONHASHSEED": "0"}
_CHILD = f"{AWAY}from slmeval_math.symbolic import serve; serve()"


@dataclass(frozen=True)
class Question:
    """Is what was ``given`` equal to what is ``right``? ``how``: LaTeX expressions, or whole texts."""

    how: Literal["equal", "verify"]
    right: str
    given: str


@dataclass(frozen=True)
class Verdict:
    """Whether they are equal; ``late``: it took too long or too much memory, which counts as not equal."""

    equal: bool
    late: bool = False


class Judge:
    """Answers questions, one at a time, from any thread; a question is asked once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._known: dict[Question, Verdict] = {}
        self._idle: Timer | None = None

    def ask(self, question: Question) -> Verdict:
        """
        :raises slmeval.errors.JobFailed: the process cannot be started.
        """
        with self._lock:
            self._no_rest()
            if question not in self._known:
                try:
                    self._known[question] = self._ask(question)
                except BaseException:
                    self._end()  # what it still says would be taken for the answer to the next question
                    raise
            return self._known[question]

    def rest(self) -> None:
        """Forget what was asked, and end the process if nothing more is asked soon."""
        with self._lock:
            self._known.clear()
            self._no_rest()
            self._idle = Timer(_IDLE, self.close)
            self._idle.daemon = True
            self._idle.start()

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._known.clear()
            self._no_rest()
            self._end()

    def _no_rest(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.cancel()

    def _ask(self, question: Question) -> Verdict:
        told: str | None = ""
        # a process that ended by itself may have been ended by others: it is asked once more
        for _ in range(2):
            told = self._told(question)
            if told in {"0", "1", "late"}:
                return Verdict(told == "1", told == "late")
            self._end()
            if told is None:
                break
        return Verdict(equal=False, late=True)

    def _told(self, question: Question) -> str | None:
        """What the process answers: "" where it ended, ``None`` where it was ended for taking too long."""
        child = self._child if self._child and self._child.poll() is None else self._start()
        told = _line(child, LIMITS[question.how], json.dumps(asdict(question)))
        while told == "on":
            told = _line(child, LIMITS[question.how])
        return told

    def _start(self) -> subprocess.Popen[bytes]:
        self._end()
        self._child = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**bare_environment(), **_SAME},
        )
        if _line(self._child, _START) != "ready":
            self._end()
            raise JobFailed(
                f"the process that compares answers does not start: {sys.executable} -c "
                "'import math_verify, sympy' may say why"
            )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with suppress(OSError), child:
                pass


def _to(child: subprocess.Popen[bytes], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n".encode())
    child.stdin.flush()


def _line(child: subprocess.Popen[bytes], seconds: float, asked: str = "") -> str | None:
    """What the child says next; "" where it ended, ``None`` where it took so long that it was ended."""
    assert child.stdout is not None
    overdue = Event()

    def end() -> None:
        overdue.set()
        child.kill()

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    if asked:
        with suppress(OSError):  # it has just ended, and says nothing
            _to(child, asked)
    told = child.stdout.readline().decode("ascii", "replace").strip()
    timer.cancel()
    return None if overdue.is_set() and not told else told


#: the one that all metrics ask
JUDGE = Judge()
atexit.register(JUDGE.close)
