"""A trial at opening: which ways to ask this vLLM, with this model, give the right log-probabilities?

What a version offers, its two runners support and a kind of model allows changes from one to the next, and
not all of it is refused where it is wrong. So one small case is asked in each way, the cheapest first, and
held against prompts that are run whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import isnan

from vllm.exceptions import VLLMError

from slmeval.errors import JobFailed, SlmevalError
from slmeval.types import ScoreGroup, TokenIds
from slmeval_vllm.asks import Mark
from slmeval_vllm.driver import run
from slmeval_vllm.errors import NO_NUMBERS, reason
from slmeval_vllm.requests import Desk
from slmeval_vllm.routes import Graded, Route, whole

#: differences in a log-probability that rounding alone explains
TOLERANCES = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.4}
#: what another version may say of an argument that it does not know, or does not take
REFUSALS = (TypeError, ValueError, AttributeError, LookupError, NotImplementedError, VLLMError, SlmevalError)


def choose(desk: Desk, ways: dict[str, Route], case: ScoreGroup, dtype: str) -> tuple[str, dict[str, str]]:
    """The name of the first way that is right, and why those before it are not.

    :raises JobFailed: none is.
    """
    try:
        right = _asked(desk, whole, case)
    except REFUSALS as error:
        raise JobFailed(f"this vLLM gives no log-probabilities of a prompt: {reason(error)}") from error
    if any(map(isnan, chain.from_iterable(_pairs(right, right)))):
        raise JobFailed(NO_NUMBERS)
    faults: dict[str, str] = {}
    for name, way in ways.items():
        fault = _fault(desk, way, case, right, TOLERANCES.get(dtype, 0.4))
        if fault is None:
            return name, faults
        faults[name] = fault
    told = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    raise JobFailed(f"this vLLM gives no log-probabilities that can be relied on ({told})")


def case_for(block: int, context: int, vocabulary: int) -> ScoreGroup:
    """A context that fills whole blocks, and continuations that share one, share less, and share nothing."""
    start = _tokens(max(1, min(block, context // 2)), 1, vocabulary)
    room = context - len(start)
    common = _tokens(min(block + 1, max(room - 3, 0)), 2, vocabulary)
    several = [common + _tokens(3, seed, vocabulary) for seed in (3, 4)]
    short = [_tokens(3, 5, vocabulary), common[:2] + _tokens(1, 6, vocabulary)]
    # the lists of those that are asked at once have several lengths, and token 0 stands in one of them
    single = [(token % vocabulary,) for token in range(5)]
    return ScoreGroup(start, tuple(each for each in (*several, *short, *single) if len(each) <= room + 1))


def _asked(desk: Desk, way: Route, case: ScoreGroup) -> Graded:
    (graded,) = run(desk, [(0, way(case))], 1)
    return graded


def _fault(desk: Desk, way: Route, case: ScoreGroup, right: Graded, tolerance: float) -> str | None:
    try:
        found = _asked(desk, way, case)
    except REFUSALS as error:
        return f"refused: {reason(error)}"
    # what is no number is not close to anything
    wrong = [(one, other) for one, other in _pairs(found, right) if not _close(one, other, tolerance)]
    return f"it gives {wrong[0][0]:.4f} where {wrong[0][1]:.4f} is right" if wrong else None


def _close(one: float, other: float, tolerance: float) -> bool:
    return one == other or abs(one - other) <= tolerance


def _pairs(found: Graded, right: Graded) -> Iterator[tuple[float, float]]:
    for tokens, marks in right.items():
        for mark, other in zip(found[tokens], marks, strict=True):
            yield from zip(_numbers(mark), _numbers(other), strict=True)


def _numbers(mark: Mark) -> tuple[float, float]:
    return mark.logprob, mark.best


def _tokens(count: int, seed: int, vocabulary: int) -> TokenIds:
    return tuple((7919 * seed + 104729 * place) % vocabulary for place in range(count))
