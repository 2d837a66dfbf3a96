"""Which run goes to which device, and what becomes of what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from slmeval.errors import StoreError
from slmeval.machine import this_machine
from slmeval.service.conducting import Outcome
from slmeval.service.desk import Desk
from slmeval.service.dispatcher import Dispatcher, _for_ever
from slmeval.service.hub import Hub
from slmeval.service.ledger import Ledger, Submission, now
from slmeval.service.roster import Device, Roster
from slmeval.service.settings import Limits, Settings
from slmeval.types import RunOptions

GIB = 2**30


def submission(run: str, backend: str = "hf", **more: object) -> Submission:
    return replace(
        Submission(run, "batch", now(), "", "queued", RunOptions(backends=(backend,)), backend),
        **more,  # type: ignore[arg-type]
    )


def device(name: str, *engines: str, memory: int | None = None) -> Device:
    async def send(said: str | bytes) -> None:
        raise AssertionError(f"nothing is to be said to {name}: {said!r}")

    return Device(name, f"instance of {name}", this_machine(), engines, memory, False, send)


class Bench:
    """A dispatcher whose runs end as the test says, without any process."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.desk = Desk(path)
        self.hub, self.roster = Hub(self.desk), Roster()
        self.begun: list[tuple[str, str]] = []
        self.outcomes: dict[str, list[Outcome]] = {}
        self.dispatcher = Dispatcher(Settings(path, limits=limits), self.desk, self.hub, self.roster)

    async def submit(self, *submissions: Submission) -> None:
        await self.hub.spread(await self.desk.write(lambda store: Ledger(store).submit(submissions)))

    async def state(self, run: str) -> Submission:
        found = await self.desk.read(lambda store: Ledger(store).submission(run))
        assert found is not None
        return found

    async def until(self, true: Callable[[], Awaitable[bool]]) -> None:
        for _ in range(3000):
            if await true():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"it did not come true; begun: {self.begun}")

    async def until_state(self, run: str, state: str) -> None:
        async def true() -> bool:
            return (await self.state(run)).state == state

        await self.until(true)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    @asynccontextmanager
    async def made(limits: Limits | None = None) -> AsyncIterator[Bench]:
        bench = Bench(tmp_path / "store.db", limits or Limits())

        async def run(conducting: object) -> Outcome:
            asked, on = conducting._submission, conducting._device  # type: ignore[attr-defined]
            bench.begun.append((asked.run, on.name))
            await asyncio.sleep(0.02)
            left = bench.outcomes.get(asked.run)
            return left.pop(0) if left else Outcome("done")

        monkeypatch.setattr("slmeval.service.conducting.Conducting.run", run)
        try:
            async with bench.dispatcher.at_work():
                yield bench
        finally:
            bench.desk.close()

    return made


def test_runs_go_where_they_can_run(bench: Callable[..., object]) -> None:
    async def main() -> None:
        async with bench() as b:  # type: ignore[attr-defined]
            b.roster.enter(device("mac", "mlx", memory=8 * GIB))
            b.roster.enter(device("board", "llamacpp", "hf", memory=4 * GIB))
            await b.submit(
                submission("on-mlx", "mlx"),
                submission("named", "hf", wanted="board"),
                submission("too-large", "llamacpp", bytes=6 * GIB),
                submission("nowhere", "vllm"),
            )
            await b.until_state("on-mlx", "done")
            await b.until_state("named", "done")
            assert sorted(b.begun) == [("named", "board"), ("on-mlx", "mac")]
            assert (
                b.dispatcher.waiting("too-large") == "waits for a device with llamacpp and 6.0 GiB of memory"
            )
            assert b.dispatcher.waiting("nowhere") == "waits for a device with vllm"
            b.roster.enter(device("server", "llamacpp", "vllm", memory=64 * GIB))
            await b.until_state("nowhere", "done")
            await b.until_state("too-large", "done")

    asyncio.run(main())


def test_a_device_has_one_run_at_a_time_the_oldest_first(bench: Callable[..., object]) -> None:
    async def main() -> None:
        async with bench() as b:  # type: ignore[attr-defined]
            # by the order in which they came: ids are drawn, and a clock may be set back
            names = ("e", "b", "d", "a", "c")
            await b.submit(*[submission(name, submitted=f"202{9 - n}") for n, name in enumerate(names)])
            b.roster.enter(device("only", "hf"))
            await b.until_state("c", "done")
            assert b.begun == [(name, "only") for name in names]

    asyncio.run(main())


def test_what_was_lost_goes_on_and_is_no_worse_for_it(bench: Callable[..., object]) -> None:
    async def main() -> None:
        async with bench() as b:  # type: ignore[attr-defined]
            b.outcomes["r"] = [Outcome("lost", "device only is gone", progressed=True)] * 30
            b.roster.enter(device("only", "hf"))
            await b.submit(submission("r"))
            await b.until_state("r", "done")
            assert len(b.begun) == 31
            events = await b.desk.read(lambda store: Ledger(store).events(0, "r"))
            assert [event.kind for event in events] == [
                "queued",
                *["started", "requeued"] * 30,
                "started",
                "done",
            ]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("outcome", "times", "told"),
    [
        (Outcome("lost", "it is gone"), 4, "lost 4 times in a row without one more answer: it is gone"),
        (Outcome("lost", "SIGSEGV", died=True), 3, "lost 3 times in a row without one more answer: SIGSEGV"),
        (Outcome("failed", "no such model"), 1, "no such model"),
    ],
)
def test_what_brings_nothing_is_not_tried_for_ever(
    bench: Callable[..., object], outcome: Outcome, times: int, told: str
) -> None:
    async def main() -> None:
        async with bench(Limits(attempts=4)) as b:  # type: ignore[attr-defined]
            b.outcomes["r"] = [outcome] * 10
            b.roster.enter(device("only", "hf"))
            await b.submit(submission("r"))
            await b.until_state("r", "failed")
            assert (len(b.begun), (await b.state("r")).reason) == (times, told)

    asyncio.run(main())


def test_a_server_takes_up_what_an_earlier_one_left(bench: Callable[..., object], tmp_path: Path) -> None:
    async def main() -> None:
        before = Desk(tmp_path / "store.db")
        await before.write(lambda store: Ledger(store).submit([submission("left"), submission("waiting")]))
        await before.write(lambda store: Ledger(store).start("left", "gone"))
        before.close()
        async with bench() as b:  # type: ignore[attr-defined]
            b.roster.enter(device("only", "hf"))
            await b.until_state("waiting", "done")
            assert [run for run, _ in b.begun] == ["left", "waiting"]

    asyncio.run(main())


def test_a_long_queue_is_taken_up_whole(bench: Callable[..., object], tmp_path: Path) -> None:
    async def main() -> None:
        others = [submission(f"run-{number}", "mlx") for number in range(10_000)]
        before = Desk(tmp_path / "store.db")
        await before.write(lambda store: Ledger(store).submit([*others, submission("last")]))
        before.close()
        async with bench() as b:  # type: ignore[attr-defined]
            b.roster.enter(device("only", "hf"))
            await b.until_state("last", "done")

    asyncio.run(main())


def test_what_was_timed_waits_for_its_own_device(bench: Callable[..., object], tmp_path: Path) -> None:
    async def main() -> None:
        # before anybody looks at the queue: there it would be free for a moment
        before = Desk(tmp_path / "store.db")
        await before.write(lambda store: Ledger(store).submit([submission("timed", device=None)]))
        await before.write(lambda store: Ledger(store).start("timed", "mac"))
        await before.write(lambda store: Ledger(store).pin("timed"))
        await before.write(lambda store: Ledger(store).requeue("timed", "mac is gone", progressed=True))
        before.close()
        async with bench() as b:  # type: ignore[attr-defined]
            b.roster.enter(device("other", "hf"))
            await b.submit(submission("free"))
            await b.until_state("free", "done")
            assert b.dispatcher.waiting("timed") == "waits for device mac with hf"
            b.roster.enter(device("mac", "hf"))
            await b.until_state("timed", "done")
            assert b.begun[-1] == ("timed", "mac")

    asyncio.run(main())


def test_work_that_has_ended_is_not_begun_again() -> None:
    """Listening ends with the hub: begun again at once, for ever, nothing else would run any more."""
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1
        if times > 1:
            raise asyncio.CancelledError

    asyncio.run(_for_ever(work))
    assert times == 1


def test_a_full_store_is_told_of_in_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told again each second, perhaps for hours."""
    monkeypatch.setattr("slmeval.service.dispatcher._AGAIN", 0.0)
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise StoreError("the store is full")

    asyncio.run(_for_ever(work))
    (record,) = caplog.records
    assert (times, record.getMessage(), record.exc_info) == (2, "the store is full: tried again", None)
