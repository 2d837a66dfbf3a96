"""The service under load: streams, submissions and reads at once, while runs are carried out.

    python benchmarks/service_load.py [--write] [--rounds 1] [--seconds 60] [--clients 200] [--rate 20]
    python benchmarks/service_load.py --smoke

A real ``slmeval serve`` with a store of its own is asked for small runs of the demo model, 20 a second; its
own machine works through them, one after the other. Meanwhile clients follow its events (half of them all,
half one run each, some cut the line and come back), and pages and the API are read, 10 times a second
together. All who ask are one process on the same machine. At the end each client must have had, once and in
order, the events that the store holds for it. ``--profile FILE`` has cProfile watch the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import resource
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pairs
from pairs import Outcome, Side

sys.path.insert(0, str(pairs.HERE.parent / "tests"))
from service_server import Server

TABLE = "service-load"
#: reads a second, of all kinds together
READS = 10
#: what is wanted of the slowest of a hundred reads, in seconds
WANTED = 0.25
#: one client in so many of those that follow everything cuts its line each second
CUTS = 20
#: what a submission asks for; the first ones are there to be read and compared
SMALL = {"tasks": ["arc_easy"], "backends": ["reference"], "limit": 20}
#: seconds after which a line is not used again, for the server lets go of it after five
KEPT = 3.0
#: seconds that events are waited for at the end
PATIENCE = 60.0

_EVENT = re.compile(rb'\nid: (\d+)\nevent: (\w+)\ndata: \{"run":"[^"]*","at":"([^"]*)"')


# ---- who follows -------------------------------------------------------------------------------------


class Stream(asyncio.Protocol):
    """One client: the events it was given, over all its connections. What is costly is done once a second."""

    def __init__(self, after: int, run: str | None) -> None:
        self.begun = self.last = after
        self.run = run
        self.ids: list[int] = []
        self.connections = 0
        #: when it last came
        self.came = 0.0
        self.is_over = False
        #: seconds between an event and its being here, of those that happened while it was
        self.delays: list[float] = []
        self._held = bytearray()
        self._pieces: list[tuple[int, float]] = []
        self._transport: asyncio.Transport | None = None
        self.gone = asyncio.Event()

    @property
    def is_there(self) -> bool:
        """Whether it has been answered since it last came."""
        return bool(self._pieces or self.ids)

    async def connect(self, host: str, port: int) -> None:
        """Come, or come back, to where it left off."""
        self.connections += 1
        self.came = time.time()
        self.gone.clear()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, host, port)
        path = "/api/events" if self.run is None else f"/api/runs/{self.run}/events"
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nLast-Event-ID: {self.last}"
        )
        self._transport.write(f"{head}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        self._pieces.append((len(self._held), time.time()))
        self._held += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """asyncio's."""
        self.read(is_all=True)
        self.gone.set()

    def read(self, is_all: bool = False) -> None:
        """Look at what has come: whole events alone, unless it is all that comes."""
        end = len(self._held) if is_all else self._held.rfind(b"\n\n") + 1
        whole = bytes(self._held[:end])
        pieces, self._pieces = self._pieces, []
        came = 0
        for found in _EVENT.finditer(whole):
            # an event that is cut by the end of the line comes again
            if whole.find(b"\n\n", found.end()) < 0 and is_all:
                break
            self.last = int(found[1])
            self.ids.append(self.last)
            self.is_over = self.is_over or (self.run is not None and found[2] in _ENDS)
            while came + 1 < len(pieces) and pieces[came + 1][0] <= found.start():
                came += 1
            happened = datetime.fromisoformat(found[3].decode()).timestamp()
            if pieces and happened > self.came:
                self.delays.append(pieces[came][1] - happened)
        kept = self._held[end - 1 :] if end and not is_all else self._held[end:]
        self._held = bytearray(kept)

    def cut(self) -> None:
        """Let go of the line, without a word."""
        if self._transport is not None:
            self._transport.abort()


_ENDS = (b"done", b"failed", b"cancelled")


@dataclass
class Crowd:
    """All clients that follow; half of them follow everything, half one run after the other."""

    host: str
    port: int
    all: list[Stream] = field(default_factory=list)
    of_runs: list[Stream] = field(default_factory=list)
    ended: list[Stream] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def come(self, clients: int, runs: Callable[[], str]) -> None:
        """Connect them, and wait until each hears something."""
        for number in range(clients):
            await self._one(None if number % 2 else runs(), runs)
        while not all(stream.is_there for stream in self.everybody):
            await asyncio.sleep(0.05)

    async def _one(self, run: str | None, runs: Callable[[], str]) -> None:
        stream = Stream(0, run)
        (self.all if run is None else self.of_runs).append(stream)
        await stream.connect(self.host, self.port)
        task = asyncio.ensure_future(self._keep(stream, runs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, stream: Stream, runs: Callable[[], str]) -> None:
        """Whoever lost the line comes back; whoever followed a run that has ended follows another."""
        await stream.gone.wait()
        if stream.is_over:
            self.of_runs.remove(stream)
            self.ended.append(stream)
            await self._one(runs(), runs)
            return
        await asyncio.sleep(random.random())
        await stream.connect(self.host, self.port)
        await self._keep(stream, runs)

    async def live(self, seconds: float) -> None:
        """Be there: some lose their line now and then."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(1.0)
            for stream in self.everybody:
                stream.read()
                await asyncio.sleep(0)
            for stream in random.sample(self.all, len(self.all) // CUTS):
                stream.cut()

    @property
    def everybody(self) -> list[Stream]:
        """All that ever were."""
        return [*self.all, *self.of_runs, *self.ended]

    async def wait_for(self, last: int) -> None:
        """Until those who follow everything have had an event; in vain, if it is lost."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and any(stream.last < last for stream in self.all):
            for stream in self.everybody:
                stream.read()
            await asyncio.sleep(0.1)

    async def leave(self) -> None:
        """All go."""
        for task in self._tasks:
            task.cancel()
        for stream in self.everybody:
            stream.cut()
        await asyncio.sleep(0.1)


def verdict(streams: Iterable[Stream], events: Sequence[tuple[int, str]], last: int) -> Counter[str]:
    """Events due to each up to ``last``, and of these lost, doubled, in disorder, or another's."""
    found: Counter[str] = Counter()
    for stream in streams:
        wanted = {id_ for id_, run in events if stream.begun < id_ <= last and stream.run in (None, run)}
        got = [id_ for id_ in stream.ids if id_ <= last]
        found["due"] += len(wanted)
        found["lost"] += len(wanted - set(got))
        found["foreign"] += len(set(got) - wanted)
        found["doubled"] += len(got) - len(set(got))
        found["disordered"] += sum(after < before for before, after in pairwise(got))
    return found


# ---- who asks ----------------------------------------------------------------------------------------


class Line:
    """A connection that is kept, for one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and the body that came back."""
        if self._streams is None or time.monotonic() - self._used > KEPT:
            self.close()
            self._streams = await asyncio.open_connection(self._host, self._port, limit=2**26)
        self._used = time.monotonic()
        reader, writer = self._streams
        origin = f"{self._host}:{self._port}"
        head = f"{method} {path} HTTP/1.1\r\nHost: {origin}\r\nOrigin: http://{origin}\r\n"
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{head}{kind}\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        found = await self._body(reader, told)
        if told.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), found

    async def _body(self, reader: asyncio.StreamReader, told: Mapping[str, str]) -> bytes:
        if "content-length" in told:
            return await reader.readexactly(int(told["content-length"]))
        found = b""
        while size := int(await reader.readline(), 16):
            found += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return found

    def close(self) -> None:
        """Let go of it."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


@dataclass
class Asker:
    """Asks at fixed times, whether what came before was answered or not; a time runs from when it was due."""

    host: str
    port: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    _idle: list[Line] = field(default_factory=list)

    async def at_a_rate(
        self,
        rate: float,
        seconds: float,
        ask: Callable[[int], tuple[str, str, str, bytes]],
        heard: Callable[[Any], None] | None = None,
    ) -> None:
        """``ask`` gives the next one: its name, method, path and body; ``heard`` takes the answer."""
        began, tasks = time.perf_counter(), []
        for number in range(round(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.ensure_future(self._one(due, *ask(number), heard)))
        await asyncio.gather(*tasks)

    async def _one(
        self,
        due: float,
        name: str,
        method: str,
        path: str,
        body: bytes,
        heard: Callable[[Any], None] | None,
    ) -> None:
        line = self._idle.pop() if self._idle else Line(self.host, self.port)
        try:
            status, answer = await line.ask(method, path, body)
        except (OSError, EOFError, ValueError) as error:
            self.refused.append(f"{method} {path}: {error!r}")
            line.close()
            return
        self._idle.append(line)
        self.seconds.setdefault(name, []).append(time.perf_counter() - due)
        if status >= 300:
            self.refused.append(f"{method} {path}: {status} {answer[:200]!r}")
        elif heard is not None:
            heard(json.loads(answer))

    def close(self) -> None:
        """Let go of all lines."""
        for line in self._idle:
            line.close()


async def lateness(seconds: float) -> list[float]:
    """How much later than it asked to be this process goes on: what it waits for a core, and for itself."""
    found, until = [], time.perf_counter() + seconds
    while (due := time.perf_counter() + 0.01) < until:
        await asyncio.sleep(0.01)
        found.append(time.perf_counter() - due)
    return found


def reads_of(first: str, second: str) -> list[tuple[str, str]]:
    """What is read, by what it is called: of two runs that have ended."""
    return [
        ("page of all runs", "/"),
        ("list of runs", "/api/runs?limit=100"),
        ("page of a run", f"/runs/{first}"),
        ("result of a run", f"/api/runs/{first}/result"),
        ("answers of a cell", f"/runs/{first}/cells/0"),
        ("page that compares two", f"/compare?first={first}&second={second}"),
        ("comparison of two", f"/api/compare?first={first}&second={second}"),
        ("history of a figure", "/history?task=arc_easy&figure=acc"),
        ("models against tasks", "/matrix"),
        ("metrics", "/metrics"),
    ]


# ---- one minute --------------------------------------------------------------------------------------


async def load(server: Server, asked: argparse.Namespace, first: str, second: str) -> dict[str, Any]:
    """All at once, and what came of it."""
    place = urlsplit(server.address)
    host, port = str(place.hostname), int(place.port or 0)
    crowd, reader, submitter = Crowd(host, port), Asker(host, port), Asker(host, port)
    runs: list[str] = [first]

    def soon() -> str:
        """A run that is near its turn, or has it."""
        with closing(sqlite3.connect(f"file:{server.store}?mode=ro", uri=True)) as db:
            found = db.execute(
                "SELECT run FROM submissions WHERE state IN ('queued', 'running') ORDER BY place LIMIT 12"
            ).fetchall()
        return str(random.choice(found)[0]) if found else runs[-1]

    pages = reads_of(first, second)
    for _, path in pages:  # what a page needs is loaded when it is first asked for
        server.ask("GET", path)
    body = json.dumps(SMALL).encode()
    runs += server.submit(**SMALL)
    await crowd.come(asked.clients, soon)
    before, clock = cpu(server.running.pid), time.monotonic()
    own = own_cpu()
    late, *_ = await asyncio.gather(
        lateness(asked.seconds),
        crowd.live(asked.seconds),
        reader.at_a_rate(READS, asked.seconds, lambda number: _read(pages, number)),
        submitter.at_a_rate(
            asked.rate,
            asked.seconds,
            lambda _: ("submission", "POST", "/api/runs", body),
            lambda told: runs.extend(run["id"] for run in told["runs"]),
        ),
    )
    passed = time.monotonic() - clock
    shares = [(cpu(server.running.pid) - before) / passed, (own_cpu() - own) / passed]
    last = rows(server.store, "SELECT max(id) FROM events")[0][0]
    await crowd.wait_for(last)
    for stream in crowd.everybody:
        stream.read()
    await crowd.leave()
    reader.close()
    submitter.close()
    events = rows(server.store, "SELECT id, run, kind, at FROM events ORDER BY id")
    found = verdict(crowd.everybody, [event[:2] for event in events], last)
    delays = [delay for stream in crowd.everybody for delay in stream.delays]
    return {
        "seconds": passed,
        "requests": len(runs) - 1,
        "clients": len(crowd.all) + len(crowd.of_runs),
        "came back": sum(stream.connections - 1 for stream in crowd.everybody),
        "events": last,
        **found,
        "delays": spread(delays),
        "reads": {name: spread(times) for name, times in reader.seconds.items()},
        "all reads": spread([each for times in reader.seconds.values() for each in times]),
        "lateness": spread(late),
        "submissions": spread(submitter.seconds.get("submission", [])),
        "refused": (reader.refused + submitter.refused)[:20],
        "runs ended": sum(kind in ("done", "failed") for _, _, kind, _ in events) - 2,
        "working": working(events, passed),
        "server": shares[0],
        "client": shares[1],
    }


def _read(pages: Sequence[tuple[str, str]], number: int) -> tuple[str, str, str, bytes]:
    name, path = pages[number % len(pages)]
    return name, "GET", path, b""


def rows(store: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a store holds, read beside its server."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        return db.execute(statement).fetchall()


def working(events: Sequence[tuple[int, str, str, str]], seconds: float) -> float:
    """The share of the last ``seconds`` in which a run was being carried out."""
    times = [(datetime.fromisoformat(at).timestamp(), run, kind) for _, run, kind, at in events]
    end = times[-1][0]
    begun: dict[str, float] = {}
    worked = 0.0
    for at, run, kind in times:
        if kind == "started":
            begun[run] = at
        elif run in begun and kind in ("done", "failed", "cancelled", "requeued"):
            worked += max(0.0, at - max(begun.pop(run), end - seconds))
    worked += sum(end - max(at, end - seconds) for at in begun.values())
    return worked / seconds


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """How many, the middle, the slowest of a hundred, and the slowest."""
    if not seconds:
        return {"n": 0}
    known = sorted(seconds)
    at = min(len(known) - 1, -(-99 * len(known) // 100) - 1)
    return {"n": len(known), "p50": statistics.median(known), "p99": known[at], "max": known[-1]}


def cpu(pid: int) -> float:
    """Seconds of processor that a process has had, with those of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_cpu() -> float:
    """Of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def once(asked: argparse.Namespace) -> dict[str, Any]:
    """A server of its own, two runs to read, and the load."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        if asked.profile:
            python, *rest = server.running.command
            watched = ("-m", "cProfile", "-o", str(asked.profile.absolute()))
            server.running.command = (python, *watched, *rest)
        try:
            server.start()
            first, second = (server.submit(**SMALL)[0] for _ in range(2))
            states = server.wait_for([first, second])
            if set(states.values()) != {"done"}:
                raise SystemExit(f"the first runs ended otherwise: {states}\n{server.running.said()}")
            told = asyncio.run(load(server, asked, first, second))
            if check(told):
                print(server.running.said(), file=sys.stderr)
            if asked.profile:
                os.kill(server.running.pid, signal.SIGINT)
                assert server.running.process is not None
                with suppress(TimeoutError):
                    server.running.process.wait(60)
            return told
        finally:
            server.end()


# ---- the page ----------------------------------------------------------------------------------------


def page() -> str:
    """The table of what is kept: the last round, and over all rounds the worst."""
    (told,) = pairs.kept(TABLE).values()
    rounds = [each["load"].told for each in pairs.rounds_of(told)]
    last = rounds[-1]
    lines = [_line(name, times) for name, times in last["reads"].items()]
    lines.append(_line("all reads", last["all reads"], f"{1000 * WANTED:.0f}"))
    lines.append(_line("submissions", last["submissions"]))
    lines.append(_line("an event, until a client has it", last["delays"]))
    lines.append(_line("of these: the clients' own being late", last["lateness"]))
    head = ["", "times", "middle, ms", "slowest of a hundred, ms", "slowest, ms", "wanted, ms"]
    return f"{pairs.table(head, lines)}\n\n{_words(last)}\n\n{_over(rounds, told['surroundings'])}"


def _line(name: str, times: Mapping[str, float], wanted: str = "") -> list[str]:
    figures = [f"{1000 * times[key]:.1f}" if key in times else "" for key in ("p50", "p99", "max")]
    return [name, f"{times['n']:,}", *figures, wanted]


def _words(told: Mapping[str, Any]) -> str:
    rate = told["requests"] / told["seconds"]
    return (
        f"{told['clients']} clients streaming, {rate:.1f} submissions and {READS} reads a second for "
        f"{told['seconds']:.0f} s; each page was read once before. Of {told['due']:,} events due to the "
        f"clients {told['lost']} were lost, {told['doubled']} came twice, {told['disordered']} in disorder; "
        f"clients cut their line and came back {told['came back']:,} times. A run was being carried out "
        f"{100 * told['working']:.0f}% of the time ({told['runs ended']} ended). Of the cores the server's "
        f"process took {told['server']:.2f} and the clients' {told['client']:.2f}, beside those of the runs: "
        "all on one machine, so that what a client sees includes its own waiting for a core."
    )


def _over(rounds: Sequence[Mapping[str, Any]], surroundings: Mapping[str, str]) -> str:
    slowest = ", ".join(f"{1000 * each['all reads']['p99']:.0f}" for each in rounds)
    lost = sum(each["lost"] for each in rounds)
    last = pairs.surroundings_line(surroundings)
    return f"Slowest of a hundred reads by round, ms: {slowest}; events lost: {lost}. {last}"


def check(told: Mapping[str, Any]) -> list[str]:
    """What is not as it must be, whatever the machine."""
    faults = ("lost", "foreign", "doubled", "disordered")
    wrong = [f"{told[name]} events {name}" for name in faults if told[name]]
    wrong += [f"refused: {each}" for each in told["refused"]]
    if not told["due"] or not told["working"]:
        wrong.append("nothing was measured: no event was due, or no run was carried out")
    return wrong


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0, help="submissions a second")
    parser.add_argument("--rounds", type=int, default=1, help="each is kept when it is there")
    parser.add_argument("--write", action="store_true", help="keep what is measured, and write the table")
    parser.add_argument("--smoke", action="store_true", help="few clients for a few seconds")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="have cProfile watch the server")
    parser.add_argument("--once", action="store_true", help="one round, as JSON")
    asked = parser.parse_args(arguments)
    if asked.smoke:
        asked.seconds, asked.clients, asked.rate = 5.0, 10, 4.0
    if asked.once or not asked.write:
        told = once(asked)
        print(json.dumps(told, indent=None if asked.once else 1))
        if wrong := check(told):
            raise SystemExit("\n".join(wrong))
        return
    command = ("--seconds", asked.seconds, "--clients", asked.clients, "--rate", asked.rate, "--once")
    side = Side("load", (sys.executable, __file__, *map(str, command)))
    rounds: list[Mapping[str, Outcome]] = []
    for _ in range(asked.rounds):
        rounds += pairs.in_turn([side], 1)
        pairs.keep(TABLE, "load", rounds)
    pairs.write_table(TABLE, page())


if __name__ == "__main__":
    main()
