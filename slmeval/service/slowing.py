"""Guessing is slow: after a few wrong attempts from one address, the next ones have to wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: wrong attempts that are free
_FREE = 5
#: seconds of the first pause; each further one is twice as long, up to the longest
_FIRST, _LONGEST = 1.0, 60.0
#: seconds after which an address without wrong attempts has a clean slate
_FORGET = 900.0
#: addresses that are remembered
_MOST = 10_000


@dataclass
class _Wrong:
    count: int = 0
    last: float = 0.0

    @property
    def pause(self) -> float:
        over = self.count - _FREE
        return min(_FIRST * 2.0 ** min(over, 20), _LONGEST) if over >= 0 else 0.0


class Slowing:
    """Wrong attempts by address."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # in the order of the last wrong attempt
        self._wrong: dict[str, _Wrong] = {}

    def wait(self, address: str) -> float:
        """Seconds until an address may try again; 0: now."""
        found = self._wrong.get(address, _Wrong())
        return max(found.last + found.pause - self._clock(), 0.0)

    def count(self, address: str) -> None:
        """A wrong attempt."""
        found = self._wrong.pop(address, _Wrong())
        if self._clock() - found.last > _FORGET:
            found = _Wrong()
        while len(self._wrong) >= _MOST:
            del self._wrong[next(iter(self._wrong))]
        self._wrong[address] = _Wrong(found.count + 1, self._clock())
