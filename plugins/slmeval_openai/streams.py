"""Streamed answers over connections that are kept open, with the time at which each part of them came."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import httpx2

from slmeval_openai.address import Address
from slmeval_openai.secret import Key
from slmeval_openai.wire import LARGEST_ANSWER, Response, Trouble, broken, check_plain, client_for

ResultT = TypeVar("ResultT")

#: questions that may come to nothing until a connection stays open
_KNOCKS = 3
#: how httpx names the beginning of a new connection
_CONNECTS = "connection.connect_tcp.started"


@dataclass(frozen=True)
class Arrival:
    """A whole answer, and how it came: after each read the bytes there were, and seconds since the start."""

    response: Response
    reads: tuple[tuple[int, float], ...]


class Streams:
    """Requests that are sent together; made and closed on one event loop.

    Before the clock starts each has a connection, which a question has shown to be open; none is sent twice.
    """

    def __init__(self, address: Address, key: Key, timeout: float) -> None:
        self._address, self._key, self._timeout = address, key, timeout
        self._client = client_for(address, key, timeout, keep=True)
        #: connections that had to be made after the clock had started, for the server had closed them
        self.late = 0

    async def together(self, url: str, bodies: Sequence[bytes], most: int) -> list[Arrival]:
        """The answers to POSTs of ``bodies``, of up to ``most`` bytes each; the clock starts with the first.

        :raises Trouble: one of them is not whole, and why.
        """
        await self._within(_all([self._knock() for _ in bodies]))
        requests = [self._request(url, body) for body in bodies]
        began = perf_counter()
        return await self._within(_all([self._exchange(request, began, most) for request in requests]))

    def _request(self, url: str, body: bytes) -> httpx2.Request:
        kind, watched = {"Content-Type": "application/json"}, {"trace": self._watch}
        request = self._client.build_request("POST", url, content=body, headers=kind)
        request.extensions.update(watched)
        return request

    async def _watch(self, event: str, _: Any) -> None:
        self.late += event == _CONNECTS

    async def _knock(self) -> None:
        """Ask for what costs nothing, whatever the answer: the connection is there afterwards.

        Of connections that were kept one may be closed in this moment: the next question has another.
        """
        for _ in range(_KNOCKS - 1):
            with suppress(httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
                await self._ask()
                return
        await self._ask()

    async def _ask(self) -> None:
        async with self._client.stream("GET", f"{self._address.base}/models") as response:
            size = 0
            async for part in response.aiter_raw():
                size += len(part)
                if size > LARGEST_ANSWER:
                    raise Trouble(f"its list of models has more than {LARGEST_ANSWER >> 20} MiB")

    async def _exchange(self, request: httpx2.Request, began: float, most: int) -> Arrival:
        response = await self._client.send(request, stream=True)
        try:
            check_plain(response)
            body, reads = bytearray(), []
            async for part in response.aiter_raw():
                now = perf_counter()
                body += part
                reads.append((len(body), now - began))
                if len(body) > most:
                    raise Trouble(f"the stream has more than {most >> 10} KiB, which no such text needs")
        finally:
            await response.aclose()
        whole = Response(response.status_code, dict(response.headers), bytes(body))
        return Arrival(whole, tuple(reads))

    async def _within(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """:raises Trouble: it takes too long, or a connection breaks."""
        try:
            return await asyncio.wait_for(work, self._timeout)
        except (asyncio.TimeoutError, httpx2.TimeoutException):
            raise Trouble(
                f"no whole answer came within {self._timeout:g} s (-o timeout= allows more)"
            ) from None
        except httpx2.TransportError as error:
            raise Trouble(broken(error, self._key)) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


async def _all(works: Sequence[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """What each of ``works`` returns; the first error of any of them ends all."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
