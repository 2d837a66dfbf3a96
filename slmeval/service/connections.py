"""Connections that cost a server more than they are worth: slow ones, and more of them than it can hold."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from time import monotonic
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: seconds in which the line and the headers of a request must have come
HEAD_PATIENCE = 20.0
#: seconds for which a client may take nothing of what it is sent: as long as a device's ping may take
STALL_PATIENCE = 90.0
#: seconds between two looks at a connection
LOOK = 5.0
#: files that may be open where the system leaves it to us; and those that are no connections: the store's,
#: the pipes of runs
_MOST_FILES, _OTHER_FILES = 65_536, 64
#: connections where the system says nothing of files
_UNBOUNDED = 10_000


def _answer(status: bytes, sentence: str) -> bytes:
    """Where no application is asked."""
    body = json.dumps({"error": sentence}).encode()
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


_FULL = _answer(
    b"503 Service Unavailable", "the server has as many connections as it can hold: try again later"
)
_NO_HANDSHAKE = _answer(
    b"400 Bad Request", "this is no handshake of a WebSocket: a GET without a body and with few headers is"
)


def most_connections() -> int:
    """How many there may be, so that files can be opened beside them; the system's limit is raised before."""
    if resource is None:
        return _UNBOUNDED
    files, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if highest == resource.RLIM_INFINITY else min(highest, _MOST_FILES)
    if files != resource.RLIM_INFINITY and files < wanted:
        with suppress(ValueError, OSError):  # some systems have a lower one than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, highest))
            files = wanted
    if files == resource.RLIM_INFINITY:
        return _UNBOUNDED
    # a request may open a file, too
    return min(max((files - _OTHER_FILES) * 2 // 3, 16), _UNBOUNDED)


class Patient(H11Protocol):
    """uvicorn's, with an end to its patience: it has none for idle connections alone.

    Where there are :attr:`most`, one that still owes its request is let go for a new one.
    """

    most = _UNBOUNDED

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """asyncio's."""
        super().connection_made(transport)
        now = monotonic()
        #: since when a request is waited for, and after which one; since when what is sent is not taken
        self.waits_since, self._after = now, self.cycle
        self._stalls_since: float | None = None
        self._left = 0
        self._looking = self.loop.call_later(LOOK, self._look)
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's."""
        self._looking.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """uvicorn's: from now on pings show whether somebody is there."""
        self._looking.cancel()
        begun = len(self.tasks)
        super().handle_websocket_upgrade(event)
        # what it cannot read it does not answer, and would keep for ever
        if len(self.tasks) == begun and not self.transport.is_closing():
            self.transport.write(_NO_HANDSHAKE)
            self.transport.close()

    def pause_writing(self) -> None:
        """asyncio's."""
        self._stalls_since = monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """asyncio's."""
        self._stalls_since = None
        super().resume_writing()

    @property
    def is_waiting(self) -> bool:
        """Whether it owes a request."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _make_room(self) -> None:
        owing = [each for each in self.connections if isinstance(each, Patient) and each.is_waiting]
        oldest = min(owing, key=lambda each: each.waits_since)
        if oldest is not self:
            oldest.transport.abort()
            self.connections.discard(oldest)
            return
        self.transport.write(_FULL)
        self.transport.close()

    def _look(self) -> None:
        now = monotonic()
        if not self.is_waiting or self._after is not self.cycle:
            self.waits_since, self._after = now, self.cycle
        self._look_at_the_end(now)
        stalls = self._stalls_since is not None and now - self._stalls_since > STALL_PATIENCE
        if stalls or (now - self.waits_since > HEAD_PATIENCE and not self.transport.is_closing()):
            self.transport.abort()
        else:
            self._looking = self.loop.call_later(LOOK, self._look)

    def _look_at_the_end(self, now: float) -> None:
        """What is left of a connection that is closed must be taken, too; nothing is added to it any more."""
        if self.transport.is_closing():
            left = self.transport.get_write_buffer_size()
            if left != self._left or self._stalls_since is None:
                self._left, self._stalls_since = left, now
