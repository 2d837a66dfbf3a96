"""In a process of its own: are two answers equal as mathematics? They are a model's, and may be hostile.

The questions come on stdin, one JSON object a line: ``how`` ("equal" or "verify") and the two texts, the
``right`` one and the ``given`` one. The answer is a line, ``1`` or ``0``; ``late`` is a 0 because a limit of
math_verify's own, or the memory, ran out. A line ``on`` says that one step is done and the next begins.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from typing import IO

#: bytes of memory, and seconds of the processor for one step after which the process ends by itself, should
#: nobody be there any more to end it
MEMORY, _PROCESSOR = 4 << 30, 10.0
READY, STEP, LATE = "ready", "on", "late"


def equal(right: str, given: str) -> Iterator[bool]:
    """Is the difference of two LaTeX expressions zero? What cannot be parsed or subtracted is not equal.

    Gives whether they are, as :func:`verify` does after each step.
    """
    import sympy
    from sympy.parsing.latex import parse_latex

    difference = parse_latex(given) - parse_latex(right)
    yield bool(sympy.simplify(difference) == 0)


def verify(right: str, given: str) -> Iterator[bool]:
    """Does math_verify find the answer of one text in the other? Parsing and each comparison is a step."""
    import math_verify

    golds = math_verify.parse(right)
    yield False
    targets = math_verify.parse(given)
    for gold, target in product(golds, targets):
        yield False
        yield bool(math_verify.verify(gold, target))


_WAYS: dict[str, Callable[[str, str], Iterator[bool]]] = {"equal": equal, "verify": verify}


def serve() -> None:
    """Answer what comes on stdin until it ends."""
    asked, told = sys.stdin.buffer, os.fdopen(os.dup(1), "w", encoding="ascii")
    # what a library prints must not stand among the answers
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    late = _Late()
    _imported()
    _limit()
    _say(told, READY)
    for line in asked:
        late.count = 0
        answer = _answer(json.loads(line), told)
        _say(told, LATE if late.count and answer == "0" else answer)


def _answer(question: dict[str, str], told: IO[str]) -> str:
    _rest()
    # what fails in any way is not equal, as in lm-evaluation-harness
    with suppress(Exception):
        try:
            for found in _WAYS[question["how"]](question["right"], question["given"]):
                if found:
                    return "1"
                _say(told, STEP)
                _rest()
        except MemoryError:
            return LATE
    return "0"


def _say(told: IO[str], word: str) -> None:
    told.write(f"{word}\n")
    told.flush()


class _Late(logging.Handler):
    """Counts what math_verify logs of its own limits."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        logging.getLogger("math_verify").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.getMessage().startswith("Timeout")


def _imported() -> None:
    """All that is needed is read before the limits and the first question."""
    import math_verify  # noqa: F401
    from sympy.parsing.latex import parse_latex

    parse_latex("1")


def _limit() -> None:
    # Windows has no such limits
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _rest() -> None:
    """A step's processor time begins anew; the system ends the process when it is used up."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_VIRTUAL, _PROCESSOR)
