"""A real server on the loopback in a thread, its devices as real processes, and a bare line to it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from websockets.sync.client import ClientConnection, connect

from slmeval import __version__
from slmeval.file_hash import sha256_of
from slmeval.models import FoundModel
from slmeval.service.app import create_app
from slmeval.service.roster import Device
from slmeval.service.service import Service
from slmeval.service.settings import Settings
from slmeval.service.wire import (
    LONGEST,
    WIRE,
    Message,
    pack_frame,
    pack_message,
    unpack_frame,
    unpack_message,
)

T = TypeVar("T")
#: seconds in which whatever is waited for must have happened
PATIENCE = 90.0
FILES = "/api/models/"


def until(true: Callable[[], T | None], what: str = "it") -> T:
    """What ``true`` gives as soon as it gives something.

    :raises AssertionError: it does not.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen in {PATIENCE:g} s")


class Cutting:
    """An application whose answers with files of models are cut: after so many bytes each, in turn."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.cuts: list[int] = []
        #: the ranges that were asked for
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(FILES):
            self.asked.append(dict(scope["headers"]).get(b"range", b"").decode())
            if self.cuts:
                send = self._cut(send, self.cuts.pop(0))
        await self._app(scope, receive, send)

    def _cut(self, send: Any, left: int) -> Any:
        async def cut(message: Any) -> None:
            nonlocal left
            body = message.get("body", b"")
            if message["type"] == "http.response.body":
                message = {**message, "body": body[:left]}
                left -= len(body)
            await send(message)
            if left < 0:
                raise ConnectionAbortedError("cut by the test")

        return cut


class Hall:
    """The server; its parts are used from its own loop, by :meth:`do`."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self._agents: list[Agent] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self._app = create_app(Settings(folder / "store.db", port=self.port, worker=False))
        self.cutting = Cutting(self._app)
        config = uvicorn.Config(
            self.cutting,
            ws_max_size=LONGEST,
            ws_ping_timeout=PATIENCE,
            log_level="critical",
            lifespan="on",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        until(lambda: self._server.started, "the start of the server")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        with self._socket:
            await self._server.serve(sockets=[self._socket])

    def close(self) -> None:
        """End it, and devices that a test left."""
        for agent in self._agents:
            agent.end()
        self.stop()

    def stop(self) -> None:
        """End it alone."""
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def service(self) -> Service:
        service: Service = self._app.state.service
        return service

    def do(self, work: Awaitable[T]) -> T:
        """What comes of it, in the server's loop."""

        async def done() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(PATIENCE)

    def call(self, work: Callable[..., T], *given: Any) -> T:
        """What a plain function gives there."""

        async def done() -> T:
            return work(*given)

        return self.do(done())

    def token(self, *scopes: str) -> str:
        """A new token."""
        name = f"t{time.monotonic_ns()}"
        made: str = self.do(self.service.keys.add(name, list(scopes)))
        return made

    # ---- devices -----------------------------------------------------------------------------------

    def device(self, name: str) -> Device:
        """The one of that name, as soon as it is here."""
        return until(lambda: self.call(self.service.roster.find, name), f"the coming of {name}")

    def wait_gone(self, name: str) -> None:
        """Until none of that name is here."""
        until(lambda: self.call(self.service.roster.find, name) is None, f"the going of {name}")

    @contextmanager
    def leased(self, device: Device) -> Iterator[Talk]:
        """While a run has it; afterwards it is idle."""
        self.call(self.service.roster.lease, device, "run")
        try:
            yield Talk(self, device)
        finally:
            self.call(self.service.roster.release, device)
            until(lambda: device.run is None, "the end of a lease")

    def start(
        self, name: str, *flags: str, token: str | None = None, program: str = "", **environment: str
    ) -> Agent:
        """An agent as a process."""
        given = token if token is not None else self.token("work")
        agent = Agent(self, name, flags, {"SLMEVAL_TOKEN": given, **environment}, program)
        self._agents.append(agent)
        return agent

    @contextmanager
    def line(self, token: str | None = None) -> Iterator[ClientConnection]:
        """A bare WebSocket as a device has it."""
        headers = {"Authorization": f"Bearer {token or self.token('work')}"}
        address = f"ws://127.0.0.1:{self.port}/api/devices/work"
        patience = {"open_timeout": PATIENCE, "ping_timeout": PATIENCE}
        with connect(
            address, additional_headers=headers, proxy=None, compression=None, max_size=LONGEST, **patience
        ) as line:
            yield line


class Talk:
    """With a device that is leased, as the process of a run talks with it."""

    def __init__(self, hall: Hall, device: Device) -> None:
        self._hall, self.device = hall, device

    def say(self, kind: str, **fields: Any) -> None:
        self._hall.do(self.device.send(pack_message(kind, **fields)))

    def send(self, worker: int, **message: Any) -> None:
        """A message to a worker."""
        self._hall.do(self.device.send(pack_frame(worker, json.dumps(message).encode())))

    def hear(self) -> str | bytes | None:
        """The next that it says."""
        return self._hall.do(asyncio.wait_for(self.device.inbox.get(), PATIENCE))

    def told(self) -> Message:
        """The next, which is a control message."""
        said = self.hear()
        assert isinstance(said, str), said
        return unpack_message(said)

    def answer(self, worker: int) -> Message:
        """The next but signs of life, which is of a worker."""
        while True:
            said = self.hear()
            assert isinstance(said, bytes), said
            number, frame = unpack_frame(said)
            assert number == worker
            message: Message = json.loads(frame)
            if message["kind"] != "progress":
                return message

    def start(self, worker: int) -> None:
        """A worker of the reference engine; it greets."""
        self.say("start", worker=worker, backend="reference")
        assert self.answer(worker)["kind"] == "hello"

    def fetch(self, model: FoundModel, **other: Any) -> Message:
        """What the device says when it is to have a model; ``other`` is told otherwise."""
        request = {"sha256": model.sha256, "files": listed(model), "hint": None, **other}
        files = self._hall.service.roster.files
        root = model.place if model.form == "folder" else model.place.parent
        self._hall.call(files.register, request["sha256"], root, listed(model))
        try:
            self.say("fetch", **request)
            return self.told()
        finally:
            self._hall.call(files.release, request["sha256"])


def listed(model: FoundModel) -> list[dict[str, Any]]:
    """The files of a model as a device is told of them."""
    return [
        {"path": file.name, "size": file.stat().st_size, "sha256": sha256_of(file)} for file in model.files()
    ]


class Agent:
    """``slmeval worker`` as a process."""

    def __init__(
        self, hall: Hall, name: str, flags: tuple[str, ...], environment: dict[str, str], program: str
    ) -> None:
        self.cache = hall.folder / f"cache-{name}"
        self.log = hall.folder / f"{name}-{time.monotonic_ns()}.log"
        where = ("--server", hall.address, "--name", name, "--cache", str(self.cache), *flags)
        main = f"{program or 'pass'}; from slmeval.cli import main; main()"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                (sys.executable, "-c", main, "worker", *where),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
            )

    def said(self) -> str:
        return self.log.read_text()

    def workers(self) -> list[int]:
        """Pids of the processes that it has."""
        pid = self.process.pid
        found = set()
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
                found.update(map(int, (task / "children").read_text().split()))
        return sorted(found)

    def end(self) -> int:
        """End it, if it has not ended; its status."""
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(PATIENCE)
        if self.process.stdin is not None:
            self.process.stdin.close()
        return status


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def greeting(**other: Any) -> str:
    """A hello as a device says it; ``other`` is told otherwise, ``...`` not at all."""
    machine = {"system": "s", "processor": "p", "cores": 1, "memory": 1, "python": "3", "accelerators": []}
    whole = {
        "protocol": WIRE,
        "version": __version__,
        "name": "bare",
        "instance": "0" * 32,
        "machine": machine,
        "engines": ["reference"],
        "memory": None,
    }
    return pack_message(
        "hello", **{name: value for name, value in {**whole, **other}.items() if value is not ...}
    )
