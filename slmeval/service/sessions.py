"""Who is logged in on pages: random names in cookies, kept in memory alone, so that a new start ends all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

#: seconds without a request after which a session ends
IDLE = 12 * 3600.0
#: the most sessions at a time; the one that was not used for longest makes room
MOST = 10_000


@dataclass
class _Session:
    token: str
    used: float


class Sessions:
    """Sessions by their ids; each is worth what its token is worth now."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # in the order of use
        self._open: dict[str, _Session] = {}

    def open(self, sha256: str) -> str:
        """A new one for a token (its hash); its id, of 256 random bits."""
        while len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        session = secrets.token_urlsafe(32)
        self._open[session] = _Session(sha256, self._clock())
        return session

    def token_of(self, session: str | None) -> str | None:
        """The hash of the token that it was opened with, and it is used now; ``None``: it is none."""
        found = self._open.pop(session, None) if session is not None else None
        if session is None or found is None or self._clock() - found.used > IDLE:
            return None
        found.used = self._clock()
        self._open[session] = found
        return found.token

    def end(self, session: str | None) -> None:
        """Whoever has it is logged out."""
        self._open.pop(session or "", None)
