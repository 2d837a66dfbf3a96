"""The store from an event loop: one thread writes, a few read, and each has a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from slmeval.store import Store

T = TypeVar("T")

#: threads that read: more would wait for each other in the interpreter
_READERS = 4


class _Hand:
    """A thread with the store in its hand."""

    def __init__(self, path: Path, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"slmeval-{name}")
        self._store = self._thread.submit(Store.open, path, wait=30.0).result()

    async def do(self, work: Callable[[Store], T]) -> T:
        # what has begun is carried through, though whoever asked for it is gone
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(work, self._store)))

    def close(self) -> None:
        self._thread.submit(self._store.close).result()
        self._thread.shutdown()


class Desk:
    """Work on the store, in threads.

    :raises slmeval.errors.StoreError: the store cannot be opened; as of all that is done with it.
    """

    def __init__(self, path: Path) -> None:
        self._writer = _Hand(path, "writer")
        self._readers = [_Hand(path, "reader") for _ in range(_READERS)]
        self._idle: asyncio.LifoQueue[_Hand] = asyncio.LifoQueue()
        for reader in self._readers:
            self._idle.put_nowait(reader)

    async def read(self, work: Callable[[Store], T]) -> T:
        """What ``work`` makes of the store; it must not write."""
        reader = await self._idle.get()
        try:
            return await reader.do(work)
        finally:
            self._idle.put_nowait(reader)

    async def write(self, work: Callable[[Store], T]) -> T:
        """As :meth:`read`, and it may write; one after the other, in the order in which they are asked."""
        return await self._writer.do(work)

    def close(self) -> None:
        """Let go of the store."""
        for hand in (self._writer, *self._readers):
            hand.close()
