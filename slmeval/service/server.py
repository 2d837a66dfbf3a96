"""A running server: it listens, and this machine works for it, in a process that is begun again."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import re
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from slmeval.children import AWAY
from slmeval.errors import UsageError
from slmeval.service.alone import alone
from slmeval.service.app import create_app
from slmeval.service.connections import Patient, most_connections
from slmeval.service.guard import log_config
from slmeval.service.keys import check_exposed
from slmeval.service.service import Service
from slmeval.service.settings import Settings
from slmeval.service.wire import LONGEST
from slmeval.store import Store

_AGENT = (sys.executable, "-c", f"{AWAY}from slmeval.cli import main; main()", "worker")
#: connections that are accepted before one that is too many is turned away; and that wait in the system
_AT_ONCE, _BACKLOG = 8, 2048
#: seconds that connections, and this machine's agent, are given at the end
_GRACE = 5
#: seconds between the end of this machine's agent and its next beginning
_PAUSE = 2.0
#: seconds in which a device must answer a ping, which may have to wait behind a long frame
_PING_PATIENCE = 90.0


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until the process is asked to end; ``ready`` hears the address when it listens.

    :raises UsageError: it may not or cannot listen there.
    """
    with Store.open(settings.store) as store:
        check_exposed(settings, store)
    with alone(settings.store):
        _serve(settings, ready)


def _serve(settings: Settings, ready: Callable[[str], None]) -> None:
    listening = _bound(settings)
    port = listening.getsockname()[1]
    app = create_app(settings)
    Patient.most = most_connections()
    config = uvicorn.Config(
        app,
        # h11's: the other parser, where it is installed, has no limit for headers
        http=Patient,
        log_config=log_config(),
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        backlog=_AT_ONCE,
        ws="auto",
        ws_max_size=LONGEST,
        ws_ping_timeout=_PING_PATIENCE,
        lifespan="on",
    )
    address = f"http://{_reached(settings.host)}:{port}"
    server = _Server(config, settings, address, ready)
    with listening:
        server.run(sockets=[listening])
    if not server.started:
        raise UsageError("the server could not start: what it said stands above")


def _bound(settings: Settings) -> socket.socket:
    """A socket that listens, or one sentence why not."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        listening.close()
        told = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {settings.host} port {settings.port}: {told}; others: --host, --port"
        ) from None
    return listening


def _reached(host: str) -> str:
    """How this machine reaches what listens there."""
    own = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return own.get(host, f"[{host}]" if ":" in host else host)


class _Server(uvicorn.Server):
    """uvicorn's, with this machine's agent beside it; its end closes streams that have none."""

    def __init__(
        self, config: uvicorn.Config, settings: Settings, address: str, ready: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._settings, self._address, self._ready = settings, address, ready
        self._agent: asyncio.Task[None] | None = None

    @property
    def _service(self) -> Service:
        service: Service = self.config.loaded_app.state.service
        return service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.should_exit:
            return
        for listening in sockets or ():
            listening.listen(_BACKLOG)
        # a collection that walks through all that was loaded so far would hold everybody up
        gc.collect()
        gc.freeze()
        if self._settings.worker:
            self._agent = asyncio.ensure_future(_keep_working(self._address, self._service.keys.local_token))
        self._ready(self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        with suppress(AttributeError):
            self._service.hub.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._agent is not None:
            self._agent.cancel()
            await asyncio.gather(self._agent, return_exceptions=True)
        await super().shutdown(sockets)


async def _keep_working(address: str, token: str) -> None:
    """This machine's agent, begun again whenever it ends."""
    environment = {**os.environ, "SLMEVAL_TOKEN": token, "SLMEVAL_AGENT_PARENT": "1"}
    name = re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:64] or "here"
    while True:
        # its input stays open as long as this process lives, and no longer
        agent = await asyncio.create_subprocess_exec(
            *_AGENT,
            "--server",
            address,
            "--name",
            name,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        try:
            await agent.wait()
        finally:
            if agent.returncode is None:
                await _end(agent)
        await asyncio.sleep(_PAUSE)


async def _end(agent: asyncio.subprocess.Process) -> None:
    """Have it end, and its workers with it; one that stands still is not waited for."""
    agent.terminate()
    try:
        await asyncio.wait_for(agent.wait(), _GRACE)
    except asyncio.TimeoutError:
        agent.kill()
        await agent.wait()
