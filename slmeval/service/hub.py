"""Events to everybody who listens: each hears all of them in their order, from where it left off.

A follower is a place in the order of ids, nothing more: it is given what comes next when it asks, from
memory, or from the ledger where it is far behind. So nobody waits for a slow one, and nothing is kept for it.

SQLite gives ids under its only lock for writing: whoever sees an event can read all with smaller ids.
So an event that is here before an older one waits a moment for it; then the ledger tells what is between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any

from slmeval.errors import SlmevalError
from slmeval.service.desk import Desk
from slmeval.service.ledger import Event, Ledger
from slmeval.service.news import News, Ring
from slmeval.store import Store

#: seconds between two transactions of what is told: one alone is saved at once
SAVE_PAUSE = 0.02
#: seconds that an event waits for an older one before the ledger is asked
GAP_PAUSE = 0.02
#: seconds between two times that followers are woken, and more for each follower: they share what came
WAKE_PAUSE, WAKE_PAUSE_EACH = 0.02, 0.0005
#: seconds between two looks at what nobody spread: its request was cancelled, or another process saved it
LOOK_PAUSE = 2.0
#: seconds of silence after which a follower is woken nevertheless
QUIET = 15.0
#: bytes that a follower is given at a time (one event may be longer), and events when they are read
GIVEN_BYTES, GIVEN_EVENTS = 64 * 1024, 100
#: events that are taken in from the ledger, and saved to it, at a time
AT_ONCE = 1000

_Happening = tuple[str, str, Mapping[str, Any]]


class Follower:
    """One who listens, to a run or to all; what has an id up to ``cursor`` has been given."""

    def __init__(self, hub: Hub, after: int, run: str | None) -> None:
        self._hub, self.cursor, self.run = hub, after, run
        self._asleep: asyncio.Future[None] | None = None
        self._there_is_more = True
        self._ended = False
        #: when it was last given something
        self.given = monotonic()

    async def more(self) -> list[News] | None:
        """What comes next, as soon as there is some; none after :data:`QUIET`; ``None`` where it is over."""
        while not self.is_over:
            ring = await self._hub.ring()
            if self.cursor < ring.floor:
                found = await self._read(ring.last)
            else:
                found, self.cursor = ring.after(self.cursor, self.run, GIVEN_BYTES)
                if not found and not self.is_over and not await self._sleep():
                    return []
            if found:
                self.given = monotonic()
                return found
        return None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is given."""
        return self._ended or self._hub.is_closed

    def end(self) -> None:
        """It is over."""
        self._ended = True
        self.wake(True)

    def is_asleep(self) -> bool:
        """Whether all that there was has been given, and it has not been woken."""
        return self._asleep is not None and not self._asleep.done()

    def rouse(self, news: News) -> None:
        """The next one for it has come: what is before it was not."""
        self.cursor = max(self.cursor, news.id - 1)

    def wake(self, there_is_more: bool) -> None:
        """Have it go on."""
        if self._asleep is not None and not self._asleep.done():
            self._there_is_more = there_is_more
            self._asleep.set_result(None)

    async def _sleep(self) -> bool:
        """Whether there is more."""
        self._asleep = asyncio.get_running_loop().create_future()
        try:
            await self._asleep
        finally:
            self._asleep = None
        if not self._there_is_more:
            self.given = monotonic()
        return self._there_is_more

    async def _read(self, last: int) -> list[News]:
        """From the ledger, which holds all up to ``last``."""
        found = await self._hub.read(self.cursor, self.run, GIVEN_EVENTS)
        if len(found) == GIVEN_EVENTS:
            self.cursor = found[-1].id
        else:
            self.cursor = max(last, found[-1].id if found else 0)
        return [News.of(each) for each in found]


class Hub:
    """Saves what happens, and tells those who follow."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ring: Ring | None = None
        self._beginning = asyncio.Lock()
        #: saved, and not in the ring: an older one is still to come
        self._early: dict[int, Event] = {}
        self._told: list[tuple[_Happening, asyncio.Future[Event]]] = []
        self._following: dict[str | None, set[Follower]] = {}
        self._roused: set[Follower] = set()
        self._woken = 0.0
        self._waking: asyncio.TimerHandle | None = None
        self._saving: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        #: how many follow
        self.followers = 0
        #: whether all streams have ended for good
        self.is_closed = False

    # ---- what happens ------------------------------------------------------------------------------

    def tell(self, run: str, kind: str, data: Mapping[str, Any]) -> asyncio.Future[Event]:
        """Something happened that is not in the ledger yet: it is there when what is returned is done.

        The order is that of the calls, also of those that nobody awaits. What is told within
        :data:`SAVE_PAUSE` is saved in one transaction; nothing is lost if the caller is cancelled.
        """
        told: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._told.append(((run, kind, data), told))
        if self._saving is None:
            self._saving = asyncio.ensure_future(self._save())
        return told

    async def spread(self, events: Iterable[Event | None]) -> None:
        """Something happened, and is in the ledger."""
        self._take_in(event for event in events if event is not None)

    # ---- those who follow --------------------------------------------------------------------------

    async def follow(self, after: int, run: str | None = None) -> AsyncIterator[Event]:
        """What happens after an event, to one run or to all, until the server ends."""
        with self.following(after, run) as follower:
            while (found := await follower.more()) is not None:
                for news in found:
                    yield news.event

    @contextmanager
    def following(self, after: int, run: str | None = None) -> Iterator[Follower]:
        """One who hears what happens after an event, while this is open."""
        follower = Follower(self, after, run)
        self._following.setdefault(run, set()).add(follower)
        self.followers += 1
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        try:
            yield follower
        finally:
            self.followers -= 1
            self._roused.discard(follower)
            self._following[run].discard(follower)
            if not self._following[run]:
                del self._following[run]
            if not self._following and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def ring(self) -> Ring:
        """The newest events."""
        if self._ring is None:
            async with self._beginning:
                if self._ring is None:
                    self._ring = await self._desk.read(_newest)
        return self._ring

    async def read(self, after: int, run: str | None, limit: int) -> list[Event]:
        """What the ledger has after an event."""
        return await self._desk.read(partial(_events, after=after, run=run, limit=limit))

    def close(self) -> None:
        """Streams end now, and none begins: whoever followed one comes back to the next server."""
        self.is_closed = True
        for follower in self._everybody():
            follower.wake(True)

    async def finish(self) -> None:
        """Close, and save what was told; before the desk is closed."""
        self.close()
        if self._waking is not None:
            self._waking.cancel()
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
        rest = [task for task in (self._filling, self._looking) if task is not None]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # ---- saving ------------------------------------------------------------------------------------

    async def _save(self) -> None:
        try:
            while self._told:
                batch, self._told = self._told[:AT_ONCE], self._told[AT_ONCE:]
                if not await self._save_batch(batch):
                    # each alone: one that cannot be saved is not the others' fault
                    for each in batch:
                        await self._save_batch([each])
                await asyncio.sleep(SAVE_PAUSE)
        finally:
            self._saving = None

    async def _save_batch(self, batch: list[tuple[_Happening, asyncio.Future[Event]]]) -> bool:
        try:
            happened = [happening for happening, _ in batch]
            events = await self._desk.write(partial(_tell, happened=happened))
        except Exception as error:  # noqa: BLE001  whoever told it hears of it
            if len(batch) > 1:
                return False
            _answer(batch[0][1], error)
            return True
        self._take_in(events)
        for event, (_, told) in zip(events, batch, strict=True):
            _answer(told, event)
        return True

    # ---- the order ---------------------------------------------------------------------------------

    def _take_in(self, events: Iterable[Event]) -> None:
        for event in events:
            self._early[event.id] = event
        self._settle()
        if self._early and self._filling is None:
            self._filling = asyncio.ensure_future(self._fill())

    def _settle(self, up_to: int = 0) -> None:
        """Put what is next into the ring; up to an id nothing is missing that is not there."""
        if self._ring is None:
            return
        news, last = [], self._ring.last
        for id_ in sorted(self._early):
            if id_ > max(up_to, last + 1):
                break
            event = self._early.pop(id_)
            if id_ > last:
                news.append(News.of(event))
                last = id_
        self._ring.add(news)
        self._rouse(news)

    async def _fill(self) -> None:
        """Wait for what is still to come, and have the ledger tell what did not."""
        try:
            await self.ring()
            self._settle()
            while self._early:
                await asyncio.sleep(GAP_PAUSE)
                if self._early:
                    await self._catch_up()
        except SlmevalError:
            # they are in the ledger: the next one, or the next look, finds them there
            self._early.clear()
        finally:
            self._filling = None

    async def _catch_up(self) -> None:
        ring = await self.ring()
        while True:
            newest = max(self._early, default=0)
            found = await self.read(ring.last, None, AT_ONCE)
            self._early.update((event.id, event) for event in found)
            is_all = len(found) < AT_ONCE
            self._settle(max(newest if is_all else 0, found[-1].id if found else 0))
            if is_all:
                return

    async def _look(self) -> None:
        """While anybody follows: what was not spread, and a word to those who have not heard for long."""
        while True:
            await asyncio.sleep(LOOK_PAUSE)
            with suppress(SlmevalError):
                await self._catch_up()
            quiet = monotonic() - QUIET
            for follower in self._everybody():
                if follower.given < quiet and follower not in self._roused:
                    follower.wake(False)

    # ---- waking ------------------------------------------------------------------------------------

    def _everybody(self) -> list[Follower]:
        return [follower for followers in self._following.values() for follower in followers]

    def _rouse(self, news: list[News]) -> None:
        for each in news:
            for who in {None, each.event.run}:
                for follower in self._following.get(who, ()):
                    if follower.is_asleep() and follower not in self._roused:
                        follower.rouse(each)
                        self._roused.add(follower)
        if self._roused and self._waking is None:
            due = self._woken + WAKE_PAUSE + WAKE_PAUSE_EACH * self.followers
            delay = max(0.0, due - monotonic())
            self._waking = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._waking, self._woken = None, monotonic()
        roused, self._roused = self._roused, set()
        for follower in roused:
            follower.wake(True)


def _answer(told: asyncio.Future[Event], answer: Event | Exception) -> None:
    if told.done():  # whoever told it did not wait
        return
    if isinstance(answer, Exception):
        told.set_exception(answer)
    else:
        told.set_result(answer)


def _tell(store: Store, happened: list[_Happening]) -> list[Event]:
    return Ledger(store).tell(happened)


def _newest(store: Store) -> Ring:
    """The ring as it begins: those who come back to a server that was started anew are not far behind."""
    ledger = Ledger(store)
    ring = Ring(max(0, ledger.last_event() - AT_ONCE))
    ring.add(map(News.of, ledger.events(ring.last, None, AT_ONCE)))
    return ring


def _events(store: Store, after: int, run: str | None, limit: int) -> list[Event]:
    return Ledger(store).events(after, run, limit)
