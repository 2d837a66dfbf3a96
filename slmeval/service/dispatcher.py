"""Which run goes to which device, and what becomes of it when it comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from slmeval.errors import StoreError
from slmeval.service.conducting import CANCELLED, Conducting, Outcome
from slmeval.service.desk import Desk
from slmeval.service.hub import Hub
from slmeval.service.ledger import ENDED, Event, Ledger, Submission
from slmeval.service.roster import Device, Roster
from slmeval.service.settings import Settings
from slmeval.store import Store

#: a run that was lost again and again without one more answer waits, twice as long each time, in seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
#: times that an engine may die in a row without one more answer
_DEATHS = 3
#: losses in a row after which it waits
_PATIENCE = 3
#: seconds after which the queue is looked at in any case, and what went wrong is tried again
_TICK, _AGAIN = 2.0, 1.0

_LOG = logging.getLogger("slmeval.service")


class Dispatcher:
    """Gives queued runs to devices that can run them, the oldest first."""

    def __init__(self, settings: Settings, desk: Desk, hub: Hub, roster: Roster) -> None:
        self._settings, self._desk, self._hub, self._roster = settings, desk, hub, roster
        self._queue: dict[str, Submission] = {}
        self._not_before: dict[str, float] = {}
        self._running: dict[str, Conducting] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._heard = 0
        #: whether runs are given out
        self.is_at_work = False

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """While this is open, runs are given out; at its end those that are under way are put away."""
        self._heard = await self._begin()
        tasks = [asyncio.ensure_future(_for_ever(work)) for work in (self._listen, self._give_out)]
        self.is_at_work = True
        try:
            yield
        finally:
            self.is_at_work = False
            for task in (*tasks, *self._tasks):
                task.cancel()
            await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)

    async def cancel(self, run: str) -> bool:
        """Have a run end that is being carried out; whether it is."""
        conducting = self._running.get(run)
        if conducting is not None:
            await conducting.cancel(CANCELLED)
        return conducting is not None

    def waiting(self, run: str) -> str:
        """Why a queued run waits, in a few words."""
        submission = self._queue.get(run)
        if submission is None:
            return ""
        fit = [device for device in self._roster.devices() if _fits(submission, device)]
        if not fit:
            return f"waits for {_needs(submission)}"
        return f"waits for {' or '.join(device.name for device in fit)}, which is busy"

    # ---- the queue ---------------------------------------------------------------------------------

    async def _begin(self) -> int:
        """Take up what an earlier server left; the last event that is known."""
        reason = "the server was started anew"

        def take_up(store: Store) -> list[Event | None]:
            ledger = Ledger(store)
            left = ledger.submissions(("running",))
            return [ledger.requeue(each.run, reason, progressed=True) for each in left]

        await self._hub.spread(await self._desk.write(take_up))
        last = await self._desk.read(lambda store: Ledger(store).last_event())
        queued = await self._desk.read(lambda store: Ledger(store).submissions(("queued",)))
        self._queue = {each.run: each for each in queued}
        return last

    async def _listen(self) -> None:
        """Keep the queue as the ledger has it."""
        async for event in self._hub.follow(self._heard):
            if event.kind in ("queued", "requeued"):
                await self._enter(event.run)
            elif event.kind in ENDED:
                self._queue.pop(event.run, None)
                self._not_before.pop(event.run, None)
            self._heard = event.id

    async def _enter(self, run: str) -> None:
        found = await self._desk.read(lambda store: Ledger(store).submission(run))
        if found is not None and found.state == "queued":
            self._queue[run] = found
            self._news.set()

    # ---- giving out --------------------------------------------------------------------------------

    async def _give_out(self) -> None:
        while True:
            for device in self._roster.devices():
                if device.run is None and (submission := self._first_for(device)) is not None:
                    await self._start(submission, device)
            await self._wait()

    def _first_for(self, device: Device) -> Submission | None:
        now = time.monotonic()
        fit = (
            each
            for run, each in self._queue.items()
            if self._not_before.get(run, 0.0) <= now and _fits(each, device)
        )
        return min(fit, key=lambda each: each.place, default=None)

    async def _wait(self) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (self._news, self._roster.changed)]
        _, pending = await asyncio.wait(waits, timeout=_TICK, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        self._news.clear()
        self._roster.changed.clear()

    async def _start(self, submission: Submission, device: Device) -> None:
        run = submission.run
        self._roster.lease(device, run)
        self._queue.pop(run, None)
        try:
            event = await self._desk.write(lambda store: Ledger(store).start(run, device.name))
        except StoreError:
            self._queue[run] = submission
            self._roster.release(device)
            raise
        if event is None:
            self._roster.release(device)
            return
        await self._hub.spread([event])
        conducting = Conducting(submission, device, self._settings, self._desk, self._hub, self._roster)
        self._running[run] = conducting
        task = asyncio.ensure_future(self._carry_out(submission, device, conducting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, submission: Submission, device: Device, conducting: Conducting) -> None:
        try:
            outcome = await conducting.run()
        except Exception as error:  # noqa: BLE001  whatever it is, it must not take the run out of the world
            _LOG.exception("run %s was lost", submission.run)
            outcome = Outcome("lost", f"it could not be carried out: {type(error).__name__}: {error}")
        finally:
            self._running.pop(submission.run, None)
            self._roster.release(device)
        await _until_kept(lambda: self._put_away(submission, outcome))

    async def _put_away(self, submission: Submission, outcome: Outcome) -> None:
        run, attempts = submission.run, 0 if outcome.progressed else submission.attempts + 1
        most = _DEATHS if outcome.died else self._settings.limits.attempts
        if outcome.kind != "lost":
            kind, reason = outcome.kind, outcome.reason
        elif attempts < most:
            if attempts >= _PATIENCE:
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempts - _PATIENCE))
                self._not_before[run] = time.monotonic() + pause
            progressed, why = outcome.progressed, outcome.reason
            event = await self._desk.write(
                lambda store: Ledger(store).requeue(run, why, progressed=progressed)
            )
            await self._hub.spread([event])
            return
        else:
            kind, reason = "failed", f"lost {most} times in a row without one more answer: {outcome.reason}"
        event = await self._desk.write(lambda store: Ledger(store).finish(run, kind, reason))  # type: ignore[arg-type]
        await self._hub.spread([event])


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Do work to its end; what goes wrong (a store that is locked or full) is logged, and it goes on."""
    while True:
        try:
            return await work()
        except StoreError as error:
            # perhaps every second for hours, and on the disk that is full
            _LOG.error("%s: tried again", error)
            await asyncio.sleep(_AGAIN)
        except Exception:  # noqa: BLE001  without this work no run would ever be given out again
            _LOG.exception("giving out runs was disturbed, and goes on")
            await asyncio.sleep(_AGAIN)


async def _until_kept(work: Callable[[], Awaitable[None]]) -> None:
    """Write down until the store takes it."""
    while True:
        try:
            return await work()
        except StoreError as error:
            _LOG.error("%s: tried again", error)
            await asyncio.sleep(_AGAIN)


def _fits(submission: Submission, device: Device) -> bool:
    """Whether a device can run it, were it idle."""
    if submission.pinned and submission.device != device.name:
        return False
    if submission.wanted is not None and submission.wanted != device.name:
        return False
    room = device.memory is None or submission.bytes <= device.memory
    return submission.backend in device.engines and room


def _needs(submission: Submission) -> str:
    named = submission.device if submission.pinned else submission.wanted
    who = f"device {named}" if named else "a device"
    room = f" and {submission.bytes / 2**30:.1f} GiB of memory" if submission.bytes else ""
    return f"{who} with {submission.backend}{room}"
