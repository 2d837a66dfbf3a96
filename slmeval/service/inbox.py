"""What a device says while it is leased, waiting to be heard."""

from __future__ import annotations

import asyncio

#: bytes that wait before the device itself has to (one of the longest frames is always taken)
_ROOM = 64 * 2**20

Said = str | bytes | None


class Inbox(asyncio.Queue[Said]):
    """A queue that a device cannot fill without bounds; its end (``None``) is always taken."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0
        self._shut = False
        self._room = asyncio.Event()

    async def take(self, said: str | bytes) -> None:
        """Put it in as soon as there is room; nowhere once this is shut."""
        while self._bytes > _ROOM and not self._shut:
            self._room.clear()
            await self._room.wait()
        if not self._shut:
            self.put_nowait(said)

    def shut(self) -> None:
        """Nobody listens any more."""
        self._shut = True
        self._room.set()

    def _put(self, item: Said) -> None:
        self._bytes += len(item or b"")
        super()._put(item)

    def _get(self) -> Said:
        item: Said = super()._get()
        self._bytes -= len(item or b"")
        self._room.set()
        return item
