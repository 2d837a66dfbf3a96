"""Whether something is quick, whatever else the machine does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable


def takes_less(call: Callable[[], object], seconds: float) -> bool:
    """Whether ``call`` takes less of the processor, at one of a few tries: collecting garbage adds to it."""
    for _ in range(4):
        began = time.thread_time()
        call()
        if time.thread_time() - began < seconds:
            return True
    return False
