"""Events reach everybody who follows: each once, in order, whoever is slow, gone, or comes back."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
import uvicorn
from fastapi import FastAPI

from slmeval.errors import StoreError
from slmeval.service import hub as hubs
from slmeval.service import news, streams
from slmeval.service.app import create_app
from slmeval.service.desk import Desk
from slmeval.service.hub import Hub
from slmeval.service.ledger import Event, Ledger, Submission, now
from slmeval.service.news import News, Ring
from slmeval.service.service import Service
from slmeval.service.settings import Settings
from slmeval.store import Store
from slmeval.types import RunOptions


@pytest.fixture(autouse=True)
def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks into the ledger because the machine is slow: a test that is about it says so."""
    monkeypatch.setattr(hubs, "LOOK_PAUSE", 3600.0)


@contextmanager
def a_desk(folder: Path) -> Iterator[Desk]:
    desk = Desk(folder / "store.db")
    try:
        yield desk
    finally:
        desk.close()


@asynccontextmanager
async def a_hub(folder: Path) -> AsyncIterator[tuple[Hub, Desk]]:
    with a_desk(folder) as desk:
        hub = Hub(desk)
        try:
            yield hub, desk
        finally:
            await hub.finish()


def saved(run: str, kind: str = "progress", **data: Any) -> Callable[[Store], list[Event]]:
    return lambda store: Ledger(store).tell([(run, kind, data)])


async def ids_in(desk: Desk, after: int = 0, run: str | None = None) -> list[int]:
    found = await desk.read(lambda store: Ledger(store).events(after, run, 10**6))
    return [event.id for event in found]


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it does not become so"
        await asyncio.sleep(0.005)


def within(seconds: float, work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        # machines are shared: this ends a test that hangs, no more
        return await asyncio.wait_for(work, 6 * seconds)

    return asyncio.run(bounded())


# ---- the ring ----------------------------------------------------------------------------------------


def event(id_: int, run: str = "a", **data: Any) -> News:
    return News.of(Event(id_, run, now(), "progress", data))


def test_the_ring_gives_what_follows_a_place() -> None:
    ring = Ring(10)
    ring.add([event(11), event(12, "b"), event(15), event(16, "b")])
    assert [each.id for each in ring.after(10, None, 10**6)[0]] == [11, 12, 15, 16]
    assert [each.id for each in ring.after(12, None, 10**6)[0]] == [15, 16]
    found, seen = ring.after(13, "b", 10**6)
    assert ([each.id for each in found], seen) == ([16], 16)
    assert ring.after(16, None, 10**6) == ([], 16)
    # who was further already stays there
    assert ring.after(99, "b", 10**6) == ([], 99)


def test_the_ring_gives_little_at_a_time_and_at_least_one() -> None:
    ring = Ring(0)
    ring.add([event(1, text="x" * 500), event(2), event(3)])
    assert [each.id for each in ring.after(0, None, 100)[0]] == [1]
    assert [each.id for each in ring.after(1, None, 50)[0]] == [2]


def test_the_ring_is_bounded_in_events_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "MOST_EVENTS", 10)
    ring = Ring(0)
    for id_ in range(1, 1000):
        ring.add([event(id_)])
        assert len(ring.after(ring.floor, None, 10**9)[0]) == ring.last - ring.floor <= 10
    assert ring.last == 999
    monkeypatch.setattr(news, "MOST_BYTES", 5000)
    for id_ in range(1000, 1100):
        ring.add([event(id_, text="x" * 1000)])
        assert sum(len(each.text) for each in ring.after(ring.floor, None, 10**9)[0]) <= 5000
    ring.add([event(1100, text="x" * 9000)])
    assert ring.floor == ring.last == 1100


def test_text_of_an_event_is_one_frame_whatever_is_in_it() -> None:
    text = News.of(Event(7, "r\n", now(), "cell", {"words": "a\n\ndata: b\r\u2028\ud800\0"})).text.decode()
    head, kind, data, *rest = text.split("\n")
    assert (head, kind, rest) == ("id: 7", "event: cell", ["", ""])
    told = json.loads(data.removeprefix("data: "))
    assert told["run"] == "r\n"
    assert told["words"] == "a\n\ndata: b\r\u2028\ud800\0"


# ---- the order ---------------------------------------------------------------------------------------


@dataclass
class Listener:
    """Follows, at its own pace, and notes what it got."""

    after: int
    run: str | None
    pause: float
    got: list[Event] = field(default_factory=list)

    async def listen(self, hub: Hub) -> None:
        async for each in hub.follow(self.after, self.run):
            self.got.append(each)
            if self.pause:
                await asyncio.sleep(self.pause)


async def disturb(hub: Hub, desk: Desk, random: Random, count: int) -> None:
    """Events by all ways, in many tasks: told, spread late and together, never spread, abandoned, deleted."""

    async def one() -> None:
        run = random.choice("abc")
        await asyncio.sleep(random.random() * 0.2)
        way = random.random()
        if way < 0.4:
            await hub.tell(run, "progress", {"way": "told"})
        elif way < 0.5:
            task = asyncio.ensure_future(hub.tell(run, "progress", {"way": "abandoned"}))
            await asyncio.sleep(0)
            task.cancel()
        elif way < 0.9:
            happened = [(run, "progress", {"way": "spread"})] * random.randint(1, 4)
            events = await desk.write(lambda store: Ledger(store).tell(happened))
            await asyncio.sleep(random.choice((0, 0, 0.001, 0.05)))
            await hub.spread([None, *random.sample(events, len(events))])
        else:
            await desk.write(saved(run, way="never spread"))

    await asyncio.gather(*(one() for _ in range(count)))
    # what nobody waited for is saved before this
    await hub.tell("a", "progress", {"way": "told"})


@pytest.mark.parametrize("seed", range(6))
def test_nobody_misses_doubles_or_reorders_an_event(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "LOOK_PAUSE", 0.05)
    monkeypatch.setattr(hubs, "GIVEN_BYTES", 500)
    monkeypatch.setattr(hubs, "GIVEN_EVENTS", 7)
    monkeypatch.setattr(hubs, "AT_ONCE", 10)
    if seed % 2:
        monkeypatch.setattr(news, "MOST_EVENTS", 16)
    random = Random(seed)

    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            for _ in range(30):
                await desk.write(saved(random.choice("abc"), way="before"))
            listeners, tasks = [], []

            async def arrive(delay: float, after: int) -> None:
                await asyncio.sleep(delay)
                listener = Listener(after, random.choice((None, "a", "b", "c")), random.choice((0, 0, 0.002)))
                listeners.append(listener)
                await listener.listen(hub)

            for _ in range(30):
                work = arrive(random.random() * 0.25, random.randrange(0, 60))
                tasks.append(asyncio.ensure_future(work))
            await disturb(hub, desk, random, 300)
            expected = {run: await ids_in(desk, 0, run) for run in (None, "a", "b", "c")}

            def wanted(each: Listener) -> list[int]:
                return [id_ for id_ in expected[each.run] if id_ > each.after]

            await until(lambda: len(listeners) == 30)
            with suppress(AssertionError):  # what differs is shown below
                await until(lambda: all(len(each.got) >= len(wanted(each)) for each in listeners))
            for each in listeners:
                assert [event.id for event in each.got] == wanted(each)
                assert {event.run for event in each.got} <= ({each.run} if each.run else set("abc"))
            hub.close()
            await asyncio.gather(*tasks)
            assert hub.followers == 0

    within(60, story())


def test_ids_that_never_come_hold_nobody_up(tmp_path: Path) -> None:
    """Taken out of the ledger, or of a transaction that was not carried through."""

    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            await hub.tell("a", "queued", {})
            listener = Listener(0, None, 0)
            task = asyncio.ensure_future(listener.listen(hub))
            await until(lambda: len(listener.got) == 1)

            def broken(store: Store) -> None:
                with store.writing() as db:
                    db.execute("INSERT INTO events (run, at, kind, data) VALUES ('a', '', 'lost', '{}')")
                    raise LookupError("the transaction is not carried through")

            def deleted(store: Store) -> list[Event]:
                events = Ledger(store).tell([("a", "progress", {}), ("a", "progress", {}), ("a", "done", {})])
                with store.writing() as db:
                    db.execute("DELETE FROM events WHERE kind = 'progress'")
                return events[2:]

            with pytest.raises(LookupError):
                await desk.write(broken)
            # without the look that comes now and then
            await hub.spread(await desk.write(deleted))
            await until(lambda: len(listener.got) == 2)
            await hub.tell("b", "queued", {})
            await until(lambda: len(listener.got) == 3)
            assert [event.kind for event in listener.got] == ["queued", "done", "queued"]
            assert [event.id for event in listener.got] == await ids_in(desk)
            hub.close()
            await task

    within(20, story())


def test_an_older_event_that_comes_a_little_later_needs_no_look_into_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one turn of the loop: however slow the machine is, the older one comes in its midst
    monkeypatch.setattr(hubs, "GAP_PAUSE", 0)

    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            await hub.ring()
            listener = Listener(0, None, 0)
            task = asyncio.ensure_future(listener.listen(hub))
            first, second = [await desk.write(saved("a", n=n)) for n in range(2)]
            reads = await counted_reads(desk)
            await hub.spread(second)
            await asyncio.sleep(0)
            assert not listener.got
            await hub.spread(first)
            await until(lambda: len(listener.got) == 2)
            assert [event.data["n"] for event in listener.got] == [0, 1]
            await until(lambda: hub._filling is None)
            assert not reads
            hub.close()
            await task

    within(20, story())


def test_an_event_between_being_woken_and_going_on_hides_none(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            await hub.ring()
            with hub.following(0) as follower:
                waiting = asyncio.ensure_future(follower.more())
                await until(follower.is_asleep)
                first, second = [await desk.write(saved("a", n=n)) for n in range(2)]
                await hub.spread(first)
                hub._wake()
                await hub.spread(second)
                found = await waiting
                assert found is not None
                assert [each.event.data["n"] for each in found] == [0, 1]

    within(20, story())


async def counted_reads(desk: Desk) -> list[int]:
    reads: list[int] = []
    read = desk.read

    async def counting(work: Callable[[Store], Any]) -> Any:
        reads.append(1)
        return await read(work)

    desk.read = counting  # type: ignore[method-assign]
    return reads


def test_who_comes_back_to_a_server_that_was_started_anew_is_served_from_memory(tmp_path: Path) -> None:
    async def story() -> None:
        with a_desk(tmp_path) as desk:
            for n in range(20):
                await desk.write(saved("a", n=n))
            hub = Hub(desk)
            await hub.ring()
            reads = await counted_reads(desk)
            with hub.following(5) as follower:
                found = await follower.more()
                assert found is not None
                assert [each.id for each in found] == list(range(6, 21))
            assert not reads
            await hub.finish()

    within(20, story())


# ---- telling -----------------------------------------------------------------------------------------


def test_what_is_told_together_is_saved_in_few_transactions_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            writes: list[int] = []
            write = desk.write

            async def counting(work: Callable[[Store], Any]) -> Any:
                writes.append(1)
                return await write(work)

            desk.write = counting  # type: ignore[method-assign]
            events = await asyncio.gather(*(hub.tell("a", "progress", {"n": n}) for n in range(500)))
            assert [event.data["n"] for event in events] == list(range(500))
            assert [event.id for event in events] == list(range(1, 501))
            assert len(writes) <= 3
            # one alone is saved at once: it would not be within an hour, were it to wait
            await until(lambda: hub._saving is None)
            monkeypatch.setattr(hubs, "SAVE_PAUSE", 3600.0)
            await hub.tell("a", "progress", {})
            assert hub._saving is not None
            hub._saving.cancel()

    within(20, story())


def test_what_cannot_be_saved_fails_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            told = [hub.tell("a", "progress", {"n": value}) for value in (0, object(), 2)]
            answers = await asyncio.gather(*told, return_exceptions=True)
            assert isinstance(answers[1], TypeError)
            assert [answer.data for answer in (answers[0], answers[2])] == [{"n": 0}, {"n": 2}]  # type: ignore[union-attr]
            assert len(await ids_in(desk)) == 2

    within(20, story())


def test_what_a_cancelled_caller_told_is_saved(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):

            async def teller() -> None:
                await hub.tell("a", "progress", {"n": 1})

            tasks = [asyncio.ensure_future(teller()) for _ in range(5)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await hub.tell("a", "progress", {"n": 2})
            assert len(await ids_in(desk)) == 6

    within(20, story())


def test_what_was_told_is_saved_before_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            before = len(asyncio.all_tasks())
            for n in range(50):
                hub.tell("a", "progress", {"n": n})
            await hub.finish()
            assert len(await ids_in(desk)) == 50
            assert len(asyncio.all_tasks()) == before

    within(20, story())


# ---- slow ones, silence, and the end -----------------------------------------------------------------


def test_a_follower_that_stands_still_costs_nothing_and_finds_all_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "MOST_EVENTS", 100)

    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            with hub.following(0) as still, hub.following(0, "b") as other:
                waiting = asyncio.ensure_future(other.more())
                quick = Listener(0, None, 0)
                task = asyncio.ensure_future(quick.listen(hub))
                for _ in range(20):
                    await asyncio.gather(*(hub.tell("a", "progress", {"t": "x" * 50}) for _ in range(100)))
                await until(lambda: len(quick.got) == 2000)
                ring = await hub.ring()
                assert len(ring.after(ring.floor, None, 10**9)[0]) <= 100
                got: list[int] = []
                while len(got) < 2000:
                    found = await still.more()
                    assert found
                    assert len(found) <= max(hubs.GIVEN_EVENTS, 100)
                    got += [each.id for each in found]
                assert got == [each.id for each in quick.got] == await ids_in(desk)
                # who was asleep all the time is given what is new from memory
                reads = await counted_reads(desk)
                await hub.tell("b", "done", {})
                assert [each.event.kind for each in (await waiting) or ()] == ["done"]
                assert not reads
                hub.close()
                await task

    within(60, story())


def test_silence_is_broken_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "LOOK_PAUSE", 0.02)
    monkeypatch.setattr(hubs, "QUIET", 0.1)

    async def story() -> None:
        async with a_hub(tmp_path) as (hub, _):
            began = time.monotonic()
            with hub.following(0) as follower:
                assert await follower.more() == []
                assert await follower.more() == []
                assert time.monotonic() - began >= 0.2
                # or silence would be broken while it is saved
                monkeypatch.setattr(hubs, "QUIET", 3600.0)
                hub.tell("a", "queued", {})
                found = await follower.more()
                assert found is not None
                assert [each.event.kind for each in found] == ["queued"]

    within(20, story())


def test_a_store_that_cannot_be_read_for_a_while_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "LOOK_PAUSE", 0.05)

    async def story() -> None:
        async with a_hub(tmp_path) as (hub, desk):
            listener = Listener(0, None, 0)
            task = asyncio.ensure_future(listener.listen(hub))
            await hub.tell("a", "queued", {})
            await until(lambda: len(listener.got) == 1)
            read = desk.read

            async def broken(work: Callable[[Store], Any]) -> Any:
                raise StoreError("the disk is gone")

            desk.read = broken  # type: ignore[method-assign]
            await desk.write(saved("a"))
            await hub.spread(await desk.write(saved("a")))
            await asyncio.sleep(0.2)
            desk.read = read  # type: ignore[method-assign]
            await until(lambda: len(listener.got) == 3)
            assert [event.id for event in listener.got] == [1, 2, 3]
            hub.close()
            await task

    within(20, story())


# ---- over HTTP ---------------------------------------------------------------------------------------


@dataclass
class Served:
    """An application under uvicorn, in this loop."""

    app: FastAPI
    server: uvicorn.Server
    port: int
    running: asyncio.Task[None]
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    @property
    def hub(self) -> Hub:
        return self.service.hub

    async def end(self) -> None:
        self.hub.close()
        self.server.should_exit = True
        await self.running

    async def close_clients(self) -> None:
        for client in self.clients:
            client.close()
        for client in self.clients:
            with suppress(OSError):
                await client.wait_closed()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = create_app(Settings(folder / "store.db", port=port, worker=False))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", http="h11")
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve([listening]))
    await until(lambda: server.started or running.done())
    made = Served(app, server, port, running)
    try:
        yield made
    finally:
        await made.close_clients()
        await made.end()
        listening.close()


@dataclass
class Stream:
    """A response as it comes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int
    headers: Mapping[str, str]

    async def line(self) -> str:
        """The next one of the body, "" at its end; chunks' sizes are left out."""
        while True:
            line = (await self.reader.readline()).decode()
            if not line or line == "0\r\n":
                return ""
            if line.endswith("\r\n") and (line == "\r\n" or all(c in "0123456789abcdef\r\n" for c in line)):
                continue
            return line

    async def frame(self) -> dict[str, str]:
        """The next event or comment as its fields; none at the end."""
        fields: dict[str, str] = {}
        while line := await self.line():
            if line == "\n":
                return fields
            name, _, value = line.rstrip("\n").partition(":")
            fields[name or "comment"] = value.strip()
        return fields

    async def frames(self) -> list[dict[str, str]]:
        """All that is left."""
        found = []
        while fields := await self.frame():
            found.append(fields)
        return found

    async def rest(self) -> bytes:
        return await self.reader.readexactly(int(self.headers["content-length"]))

    def close(self) -> None:
        self.writer.close()


async def ask(server: Served, path: str, **headers: str) -> Stream:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    server.clients.append(writer)
    said = {"Host": f"127.0.0.1:{server.port}", **{name.replace("_", "-"): v for name, v in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    given = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return Stream(reader, writer, int(head[0].split()[1]), given)


def submission(run: str) -> Submission:
    # no device is there, so that it waits
    return Submission(run, "batch", now(), "", "queued", RunOptions(backends=("reference",)), "reference")


async def submit(server: Served, run: str) -> None:
    events = await server.service.desk.write(lambda store: Ledger(store).submit([submission(run)]))
    await server.hub.spread(events)


async def finish(server: Served, run: str) -> None:
    event = await server.service.desk.write(lambda store: Ledger(store).finish(run, "done"))
    await server.hub.spread([event])


def test_a_run_is_followed_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as server:
            await submit(server, "r1")
            await submit(server, "r2")
            stream = await ask(server, "/api/runs/r1/events")
            assert stream.status == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"] == "no-store"
            assert await stream.frame() == {"retry": "2000"}
            first = await stream.frame()
            assert first["event"] == "queued"
            told = json.loads(first["data"])
            assert (told["run"], told["batch"], told["backend"]) == ("r1", "batch", "reference")
            await server.hub.tell("r1", "progress", {"done": 1, "total": 2})
            await server.hub.tell("r2", "progress", {"done": 1, "total": 2})
            assert json.loads((await stream.frame())["data"])["done"] == 1
            await finish(server, "r1")
            assert [each["event"] for each in await stream.frames()] == ["done"]
            await until(lambda: server.hub.followers == 1)  # the dispatcher
            # the whole again, and from the middle
            kinds = [
                each["event"] for each in (await (await ask(server, "/api/runs/r1/events")).frames())[1:]
            ]
            assert kinds == ["queued", "progress", "done"]
            again = await ask(server, "/api/runs/r1/events?after=0", Last_Event_ID=first["id"])
            assert [each["event"] for each in (await again.frames())[1:]] == ["progress", "done"]

    within(30, story())


def test_a_run_that_has_nothing_left_to_tell_is_not_asked_for_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as server:
            await submit(server, "r1")
            await finish(server, "r1")
            # a word that came after its end is none of its story
            await server.hub.tell("r1", "progress", {"done": 1})
            last = await ids_in(server.service.desk, run="r1")
            assert (await ask(server, f"/api/runs/r1/events?after={last[1]}")).status == 204
            assert (await ask(server, "/api/runs/r1/events", Last_Event_ID=str(last[1]))).status == 204
            told = (await (await ask(server, "/api/runs/r1/events")).frames())[1:]
            assert [each["event"] for each in told] == ["queued", "done"]

            def made_elsewhere(store: Store) -> None:
                with store.writing() as db:
                    names = [row[1] for row in db.execute("PRAGMA table_info(runs)") if row[3] or row[5]]
                    marks = ",".join("?" * len(names))
                    kinds = {"id": "cli", "status": "done"}
                    values = [kinds.get(name, "0") for name in names]
                    db.execute(f"INSERT INTO runs ({','.join(names)}) VALUES ({marks})", values)

            await server.service.desk.write(made_elsewhere)
            assert (await ask(server, "/api/runs/cli/events")).status == 204

    within(30, story())


def test_all_is_followed_from_now_on_or_from_where_one_left_off(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as server:
            await submit(server, "r1")
            stream = await ask(server, "/api/events")
            assert await stream.frame() == {"retry": "2000"}
            await submit(server, "r2")
            await server.hub.tell("", "device", {"name": "pi", "state": "here"})
            told = [await stream.frame() for _ in range(2)]
            assert [json.loads(each["data"])["run"] for each in told] == ["r2", ""]
            everything = await ask(server, "/api/events?after=0")
            await everything.frame()
            got = [int((await everything.frame())["id"]) for _ in range(3)]
            assert got == await ids_in(server.service.desk)
            # an id of a store that this server does not have: from now on
            far = await ask(server, "/api/events", Last_Event_ID="123456789")
            await far.frame()
            await submit(server, "r3")
            assert json.loads((await far.frame())["data"])["run"] == "r3"

    within(30, story())


@pytest.mark.parametrize(
    ("path", "last", "status", "words"),
    [
        ("/api/runs/none/events", None, 404, "there is no run 'none'"),
        ("/api/runs/%E2%80%AE/events", None, 404, "there is no run '\\u202e'"),
        ("/api/events", "twelve", 422, "Last-Event-ID is 'twelve'"),
        ("/api/events", "-1", 422, "Last-Event-ID is '-1'"),
        ("/api/events", "1.5", 422, "Last-Event-ID is '1.5'"),
        ("/api/events", "9" * 4000, 422, "Last-Event-ID is '9999"),
        ("/api/events", "9223372036854775808", 422, "Last-Event-ID is"),
        ("/api/events", "\u00b2", 422, "Last-Event-ID is"),
        ("/api/runs/none/events", "x", 422, "Last-Event-ID is 'x'"),
        ("/api/events?after=-1", None, 422, "after"),
        ("/api/events?after=x", None, 422, "after"),
        ("/api/events?after=9223372036854775808", None, 422, "after"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_sentence(
    tmp_path: Path, path: str, last: str | None, status: int, words: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as server:
            headers = {} if last is None else {"Last_Event_ID": last}
            stream = await ask(server, path, **headers)
            assert stream.status == status
            problem = json.loads(await stream.rest())
            assert set(problem) == {"error"}
            assert words in problem["error"]
            assert len(problem["error"]) < 300

    within(30, story())


def test_streams_are_as_many_as_the_server_bears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 3)

    async def story() -> None:
        async with served(tmp_path) as server:
            await until(lambda: server.hub.followers == 1)  # the dispatcher
            kept = [await ask(server, "/api/events") for _ in range(2)]
            assert [each.status for each in kept] == [200, 200]
            await until(lambda: server.hub.followers == 3)
            refused = await ask(server, "/api/events")
            assert refused.status == 503
            assert "close one" in json.loads(await refused.rest())["error"]

    within(30, story())


def test_a_token_that_is_taken_away_ends_its_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHECK", 0.1)

    async def story() -> None:
        async with served(tmp_path) as server:
            keys = server.service.keys
            gone, kept = [await keys.add(name, ["read"]) for name in ("gone", "kept")]
            opened = [
                await ask(server, "/api/events", Authorization=f"Bearer {token}") for token in (gone, kept)
            ]
            assert [each.status for each in opened] == [200, 200]
            await asyncio.sleep(0.2)
            await submit(server, "r1")
            for each in opened:
                assert (await each.frame()) == {"retry": "2000"}
                assert (await each.frame())["event"] == "queued"
            await keys.remove("gone")
            await asyncio.sleep(0.2)
            await submit(server, "r2")
            assert await opened[0].frames() == []
            assert json.loads((await opened[1].frame())["data"])["run"] == "r2"
            assert (await ask(server, "/api/events")).status == 401

    within(30, story())


def test_five_hundred_clients_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as server:
            await submit(server, "r1")
            await until(lambda: server.hub.followers == 1)  # the dispatcher
            await asyncio.sleep(0.1)
            before = len(asyncio.all_tasks())
            random = Random(1)

            async def come_and_go(number: int) -> None:
                stream = await ask(server, "/api/events?after=0" if number % 2 else "/api/runs/r1/events")
                assert stream.status == 200
                if random.random() < 0.8:
                    await stream.frame()
                if random.random() < 0.5:
                    stream.close()
                else:
                    stream.writer.transport.abort()

            for first in range(0, 500, 50):
                await asyncio.gather(*(come_and_go(first + number) for number in range(50)))
                await server.hub.tell("r1", "progress", {"first": first})
            await until(lambda: server.hub.followers == 1)
            await until(lambda: not server.server.server_state.tasks)
            await until(lambda: len(asyncio.all_tasks()) <= before)
            assert not server.server.server_state.connections

    within(120, story())


def test_the_end_of_the_server_ends_streams_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as server:
            await submit(server, "r1")
            kept = [
                await ask(server, path) for path in ("/api/events", "/api/runs/r1/events") for _ in range(20)
            ]
            # nobody else would wake them
            await asyncio.wait_for(server.end(), 60)
            for each in kept:
                # the body is whole: the client knows that nothing was cut
                await each.frames()
                assert await each.reader.read() in (b"", b"\r\n")

    within(30, story())


def test_a_client_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as server:
            still = await ask(server, "/api/events?after=0")
            quick = await ask(server, "/api/events?after=0")
            await quick.frame()
            text = "x" * 20_000
            seen = 0
            for _ in range(10):
                await asyncio.gather(*(server.hub.tell("a", "progress", {"text": text}) for _ in range(50)))
                for _ in range(50):
                    seen += 1
                    assert (await asyncio.wait_for(quick.frame(), 60))["id"] == str(seen)
            held = [each.transport for each in server.server.server_state.connections]
            assert max(each.get_write_buffer_size() for each in held if each is not None) < 300_000
            await still.frame()
            assert [int((await still.frame())["id"]) for _ in range(500)] == list(range(1, 501))

    within(60, story())


def test_streams_are_described(tmp_path: Path) -> None:
    described = create_app(Settings(tmp_path / "store.db")).openapi()["paths"]
    for path in ("/api/events", "/api/runs/{run}/events"):
        told = described[path]["get"]
        assert set(told["responses"]["200"]["content"]) == {"text/event-stream"}
        assert {each["name"] for each in told["parameters"]} >= {"after", "Last-Event-ID"}
        assert {"401", "404", "422", "503"} <= set(told["responses"])
