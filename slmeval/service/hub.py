"""Events to everybody who listens: each hears all of them in their order, from where it left off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Any

from slmeval.service.desk import Desk
from slmeval.service.ledger import Event, Ledger
from slmeval.store import Store


class Hub:
    """Saves what happens, and wakes those who follow."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._news = asyncio.Condition()

    async def tell(self, run: str, kind: str, data: Mapping[str, Any]) -> None:
        """Something happened that is not in the ledger yet."""
        await self.spread(await self._desk.write(lambda store: Ledger(store).tell([(run, kind, data)])))

    async def spread(self, events: Iterable[Event | None]) -> None:  # noqa: ARG002
        """Something happened, and is in the ledger."""
        async with self._news:
            self._news.notify_all()

    async def follow(self, after: int, run: str | None = None) -> AsyncIterator[Event]:
        """What happens after an event, to one run or to all, without an end."""
        while True:
            async with self._news:
                found = await self._desk.read(partial(_events, after=after, run=run))
                if not found:
                    await self._news.wait()
            for event in found:
                after = event.id
                yield event


def _events(store: Store, after: int, run: str | None) -> list[Event]:
    return Ledger(store).events(after, run)
