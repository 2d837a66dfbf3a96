"""Clients that are slow, take nothing, or are too many: none of them keeps the others from being answered."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import uvicorn
from service_server import Server

from slmeval.service import connections
from slmeval.service.connections import Patient, most_connections

PATIENCE = 60.0


class App:
    """Answers at once at /, never ends an answer at /stream, never begins one at /wait."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.begun = threading.Semaphore(0)
        self.piece = b"x" * 65_536

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": []}
        path = scope["path"]
        self.begun.release()
        if path == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await send(start)
        while path == "/stream":
            await send({"type": "http.response.body", "body": self.piece, "more_body": True})
            if await _is_gone(receive):
                break
        if path == "/":
            await send({"type": "http.response.body", "body": b"here"})
        self.ended.append(path)


async def _is_gone(receive: Any) -> bool:
    try:
        message = await asyncio.wait_for(receive(), 0.01)
    except asyncio.TimeoutError:
        return False
    return bool(message["type"] == "http.disconnect")


class Place:
    """Where the application is served."""

    def __init__(self, app: App, port: int) -> None:
        self.app, self.port = app, port

    def connect(self, said: bytes = b"") -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        line.sendall(said)
        return line

    def ask(self, path: str) -> bytes:
        with self.connect(request(path, b"Connection: close\r\n")) as line:
            return rest(line)


def request(path: str, more: bytes = b"") -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: here\r\n%s\r\n" % (path.encode(), more)


def rest(line: socket.socket) -> bytes:
    """All that comes until the other side ends it; a reset is an end."""
    came = b""
    try:
        while piece := line.recv(65_536):
            came += piece
    except ConnectionError:
        pass
    return came


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.01)


@contextmanager
def served(most: int = 100) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patched, socket.socket() as listening:
        patched.setattr(Patient, "most", most)
        patched.setattr(connections, "LOOK", 0.05)
        # until a test has said what it has to say
        patched.setattr(connections, "HEAD_PATIENCE", 3600.0)
        patched.setattr(connections, "STALL_PATIENCE", 3600.0)
        app = App()
        server = uvicorn.Server(
            uvicorn.Config(app, http=Patient, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        )
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started, "the start")
            yield Place(app, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def hurry() -> Iterator[None]:
    """With little patience from now on."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connections, "HEAD_PATIENCE", 0.3)
        patched.setattr(connections, "STALL_PATIENCE", 0.3)
        yield


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\nHost: he", request("/") + b"GET / HTT"], ids=["none", "half", "second"]
)
def test_a_request_that_does_not_come_is_not_waited_for(said: bytes) -> None:
    whole = said.count(b"GET / HTTP/1.1\r\nHost: here")
    with served() as place, place.connect(said) as line:
        until(lambda: len(place.app.ended) == whole, "the answer to what came")
        with hurry():
            came = rest(line)
        assert came.count(b"200 OK") == whole


def test_headers_that_come_byte_by_byte_are_not_waited_for() -> None:
    with served() as place, place.connect(b"GET / HTTP/1.1\r\nx: ") as line:

        def is_cut() -> bool:
            try:
                line.sendall(b"x")
            except ConnectionError:
                return True
            return False

        with hurry():
            until(is_cut, "the end of the line")


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("POST", b""),
        ("GET", b"Content-Length: 5\r\n"),
        ("GET", b"x: y\r\n" * 300),
        ("GET", b"x: " + b"y" * 20_000 + b"\r\n"),
    ],
    ids=["method", "body", "many headers", "long header"],
)
def test_what_is_no_handshake_is_answered_and_not_kept(method: str, more: bytes) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + more
    said = request("/", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + upgrade)
    with served() as place, place.connect(said.replace(b"GET", method.encode(), 1)) as line:
        told = rest(line)
    # a newer websockets answers some of it itself
    assert told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))


def test_an_answer_that_nobody_takes_is_given_up() -> None:
    with served() as place, place.connect(request("/stream")):
        assert place.app.begun.acquire(timeout=PATIENCE)
        with hurry():
            until(lambda: place.app.ended == ["/stream"], "the end of the stream")


def test_one_who_reads_is_served_as_long_as_it_takes() -> None:
    with served() as place:
        # what waits to be read has room, however seldom the reader has its turn
        place.app.piece = b"x"
        with place.connect(request("/stream")) as line:
            assert place.app.begun.acquire(timeout=PATIENCE)
            begun, came = time.monotonic(), 0
            with hurry():
                while time.monotonic() < begun + 1.5:
                    came += len(line.recv(1024))
                assert came > 10
                assert not place.app.ended


def test_one_who_waits_for_an_answer_is_not_slow() -> None:
    with served() as place, place.connect(request("/wait")):
        assert place.app.begun.acquire(timeout=PATIENCE)
        for _ in range(3):
            with hurry(), place.connect() as idle:
                # who came later and says nothing has gone meanwhile
                assert rest(idle) == b""
            assert b"here" in place.ask("/")
        assert "/wait" not in place.app.ended


def test_of_too_many_the_one_that_has_owed_its_request_the_longest_goes() -> None:
    with served(most=4) as place, ExitStack() as open_ones:
        idle = [open_ones.enter_context(place.connect(b"GET / ")) for _ in range(4)]
        assert b"here" in place.ask("/")
        assert rest(idle[0]) == b""
        idle[3].sendall(b"HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert b"here" in rest(idle[3])


def test_where_all_are_served_one_more_is_told_so() -> None:
    with served(most=3) as place, ExitStack() as open_ones:
        for _ in range(3):
            open_ones.enter_context(place.connect(request("/wait")))
            assert place.app.begun.acquire(timeout=PATIENCE)
        with place.connect() as line:
            told = rest(line)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b"as many connections as it can hold" in told


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_files_are_left_for_what_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, set_to = [256, 256], []
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(connections.resource, "setrlimit", lambda _, to: set_to.append(to))
    assert most_connections() == 128
    assert set_to == []
    limits[:] = [256, 4096]
    assert most_connections() == 2688
    assert set_to == [(4096, 4096)]
    limits[:] = [20, 20]
    assert most_connections() == 16


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_server_with_few_files_is_there_for_others(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.running.command = ("bash", "-c", 'ulimit -n 128; exec "$@"', "serve", *server.running.command)
    try:
        server.start()
        server.wait_for_devices(*[each["name"] for each in server.devices()])
        with ExitStack() as open_ones:
            for _ in range(300):
                line = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
                open_ones.enter_context(line)
                line.sendall(b"GET /")
            server.wait_ready()
            runs = server.submit(tasks=["arc_easy"], backends=["reference"], limit=2, shots=[0])
            assert set(server.wait_for(runs).values()) == {"done"}
        assert "Too many open files" not in server.running.said()
    finally:
        server.end()
