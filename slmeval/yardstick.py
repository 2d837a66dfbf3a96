"""Work that never changes, timed: whether a machine is as fast as it was when something else was measured.

Two kernels, each on all usable cores at once, for an engine is as slow as its slowest core: ``arithmetic``
(SHA-256 of the same bytes, from each core's own cache: the clock, and who else is on the cores) and
``memory`` (a copy of more than most caches hold: decoding waits for memory, not for arithmetic). They say
nothing of an accelerator, nor of a server elsewhere.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from slmeval.differences import Estimate
from slmeval.ranks import shift
from slmeval.types import Conditions

#: seconds, by kernel
Samples = Mapping[str, tuple[float, ...]]
#: a kernel: what each core does
Parts = Sequence[Callable[[], object]]

#: repeats of each kernel at one moment
REPEATS = 8
#: repeats before them
_WARM = 3
#: bytes that each core hashes, and that all cores copy together
_HASHED, _COPIED = 2**21, 2**24
#: digits of the seconds that are kept
_DIGITS = 7


def measure(repeats: int = REPEATS) -> Samples:
    """Seconds that each of ``repeats`` took, by kernel; about a tenth of a second in all."""
    cores = _cores()
    with ThreadPoolExecutor(cores) as pool:
        return {
            name: _timed(pool, kernel(cores), repeats)
            for name, kernel in (("arithmetic", _arithmetic), ("memory", _memory))
        }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _timed(pool: ThreadPoolExecutor, parts: Parts, repeats: int) -> tuple[float, ...]:
    """All ``parts`` at once, again and again; the first times, which touch fresh memory, are not kept."""
    took = []
    for _ in range(_WARM + repeats):
        began = time.perf_counter()
        for part in [pool.submit(each) for each in parts]:
            part.result()
        took.append(round(time.perf_counter() - began, _DIGITS))
    return tuple(took[_WARM:])


def _arithmetic(cores: int) -> Parts:
    data = bytes(_HASHED)
    # the lock of the interpreter is let go of meanwhile
    return [lambda: hashlib.sha256(data).digest()] * cores


def _memory(cores: int) -> Parts:
    # late: what does not measure needs no numpy
    import numpy as np

    size = _COPIED // cores
    halves = [(np.zeros(size, np.uint8), np.ones(size, np.uint8)) for _ in range(cores)]
    return [lambda pair=pair: np.copyto(*pair) for pair in halves]  # type: ignore[misc]


# ---- then and now ------------------------------------------------------------------------------------


def pooled(conditions: Iterable[Conditions]) -> Samples:
    """All that was measured while ``conditions`` were noted, by kernel."""
    found: dict[str, tuple[float, ...]] = {}
    for each in conditions:
        for name, seconds in each.yardstick.items():
            found[name] = (*found.get(name, ()), *seconds)
    return found


def swings(before: Samples, now: Samples, level: float = 0.95) -> dict[str, Estimate]:
    """By which factor each kernel that both have takes longer now than before, with its interval."""
    return {
        name: _as_factor(shift(_logs(before[name]), _logs(now[name]), level))
        for name in before
        if before[name] and now.get(name)
    }


def _logs(seconds: Sequence[float]) -> list[float]:
    return [math.log(each) for each in seconds]


def _as_factor(found: Estimate) -> Estimate:
    middle, low, high = map(math.exp, (found.value, found.low, found.high))
    return Estimate(
        middle, low, high, middle * found.stderr, found.n, found.method, found.clusters, found.level
    )
