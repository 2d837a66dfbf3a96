"""Which run goes to which device, and how it comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from slmeval.service.desk import Desk
from slmeval.service.hub import Hub
from slmeval.service.roster import Roster
from slmeval.service.settings import Settings


class Dispatcher:
    """Gives queued runs to devices that can run them."""

    def __init__(self, settings: Settings, desk: Desk, hub: Hub, roster: Roster) -> None:
        self._settings, self._desk, self._hub, self._roster = settings, desk, hub, roster

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """While this is open, runs are given out."""
        yield
