"""A server in a thread of the test, on a free port of the loopback, and requests sent as they stand."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvicorn
from fastapi import FastAPI

from slmeval.service import api_health
from slmeval.service.app import create_app
from slmeval.service.keys import Tokens
from slmeval.service.service import Service
from slmeval.service.settings import Settings
from slmeval.store import Store


@dataclass
class Reply:
    """What came back. ``headers`` are in lower case; of one that came twice, the last."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server that runs."""

    settings: Settings
    app: FastAPI
    port: int

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        body: Any = None,
        chunked: bool = False,
    ) -> Reply:
        """One request, with nothing in it that is not said; redirects are not followed."""
        given = dict(headers or {})
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        if json is not None:
            body, given["Content-Type"] = _json(json), "application/json"
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it has answered before all was sent
                line.request(method, path, body, given, encode_chunked=chunked)
            answer = line.getresponse()
            return _reply(answer)
        finally:
            line.close()

    def ours(self, method: str, path: str, **more: Any) -> Reply:
        """As :meth:`ask`, from a page of the server."""
        return self.ask(
            method, path, **{**more, "headers": {"Sec-Fetch-Site": "same-origin", **more.get("headers", {})}}
        )

    def say(self, raw: bytes) -> bytes:
        """Bytes as they are, and all that comes back until the server ends the line, or says nothing more."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as line:
            line.sendall(raw)
            line.settimeout(60)
            came = b""
            try:
                while piece := line.recv(65536):
                    came += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return came


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _reply(answer: http.client.HTTPResponse) -> Reply:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    cookies = {}
    for name, value in answer.getheaders():
        if name.lower() == "set-cookie":
            cookies[value.partition("=")[0]] = value.partition("=")[2]
    return Reply(answer.status, headers, answer.read(), cookies)


@contextmanager
def running(
    settings: Settings,
    tokens: Mapping[str, str] | None = None,
    change: Callable[[FastAPI], None] | None = None,
) -> Iterator[tuple[Running, dict[str, str]]]:
    """A server with tokens of these names and scopes; ``change`` is done to the application before."""
    with Store.open(settings.store) as store:
        made = {name: Tokens(store).add(name, scopes.split(",")) for name, scopes in (tokens or {}).items()}
    app = create_app(settings)
    if change is not None:
        change(app)
    config = uvicorn.Config(
        app, http="h11", log_config=None, lifespan="on", server_header=False, proxy_headers=False
    )
    server = uvicorn.Server(config)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    # a disk that others write to may take its time
    readiness = patch.object(api_health, "_PATIENCE", 60.0)
    readiness.start()
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.01)
        yield Running(settings, app, listening.getsockname()[1]), made
    finally:
        server.should_exit = True
        thread.join(120)
        listening.close()
        readiness.stop()


def no_worker(folder: Path, **more: Any) -> Settings:
    """A server's settings, with a store in ``folder``."""
    return Settings(folder / "store.db", worker=False, **more)
