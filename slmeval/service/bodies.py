"""Bodies of requests: counted while they come, and waited for only so long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive

from slmeval.service.problems import Refused

#: seconds in which a body must have come: the longest upload at 2 Mbit/s
PATIENCE = 300.0
#: seconds between two looks at whether who listens may still do so
LOOKS = 10.0


class Body:
    """What ``receive`` brings, up to ``limit`` bytes; ``refused`` says why no more is taken."""

    def __init__(
        self,
        receive: Receive,
        limit: int,
        is_allowed: Callable[[], Awaitable[bool]],
        patience: float = PATIENCE,
    ) -> None:
        self._receive, self._limit, self._is_allowed = receive, limit, is_allowed
        self._until = time.monotonic() + patience
        self._came, self._is_whole = 0, False
        self.refused: Refused | None = None

    async def receive(self) -> Message:
        """The next piece; once it is whole, the client's leaving, or that it may not stay.

        :raises slmeval.service.problems.Refused: it is too long, or too slow.
        """
        if self._is_whole:
            return await self._end()
        if self.refused is not None:
            raise self.refused
        message = await self._soon()
        if message["type"] == "http.request":
            self._came += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._came > self._limit:
                raise self._refuse(too_long(self._limit))
        return message

    async def _end(self) -> Message:
        coming = asyncio.ensure_future(self._receive())
        try:
            while not (await asyncio.wait({coming}, timeout=LOOKS))[0]:
                if not await self._is_allowed():
                    return {"type": "http.disconnect"}
            return await coming
        finally:
            coming.cancel()

    async def _soon(self) -> Message:
        try:
            return await asyncio.wait_for(self._receive(), max(self._until - time.monotonic(), 0.001))
        except asyncio.TimeoutError:
            raise self._refuse(Refused(408, "the body of the request did not come in time")) from None

    def _refuse(self, refused: Refused) -> Refused:
        self.refused = refused
        return refused


def too_long(limit: int) -> Refused:
    """A body that is longer than ``limit`` bytes."""
    return Refused(413, f"the body of the request is longer than the {limit:,} bytes that are taken here")
