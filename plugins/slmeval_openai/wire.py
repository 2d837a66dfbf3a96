"""One request over one connection of its own, and the whole of what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from slmeval.errors import ModelError
from slmeval_openai.address import Address
from slmeval_openai.secret import Key
from slmeval_openai.words import clean

#: bytes; the log-probabilities of a prompt of 100,000 tokens take a quarter of it
LARGEST_ANSWER = 64 << 20


class Trouble(Exception):
    """What may pass: the request can be sent again. ``wait`` is what the server asked for, in seconds.

    ``damaged``: an answer came, and it makes no sense.
    """

    def __init__(
        self, reason: str, *, status: int = 0, wait: float | None = None, damaged: bool = False
    ) -> None:
        super().__init__(reason)
        self.status, self.wait, self.damaged = status, wait, damaged


@dataclass(frozen=True)
class Response:
    """A whole answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Requests to one server; made and closed on one event loop.

    No connection is used twice: bytes that follow an answer are read by nobody. No redirect is followed,
    so that the key goes nowhere else. Proxies of the environment count, but not for this machine's own.

    :raises ModelError: the address cannot be used, or what the environment says of proxies and certificates.
    """

    def __init__(self, address: Address, key: Key, timeout: float) -> None:
        self._key, self._timeout = key, timeout
        self._client = client_for(address, key, timeout)

    async def send(self, url: str, body: Mapping[str, Any] | None) -> Response:
        """A GET, or a POST of ``body`` as JSON; the whole answer within the time-out.

        :raises Trouble: there is none, or not a whole one, and why.
        """
        try:
            return await asyncio.wait_for(self._exchange(url, body), self._timeout)
        except (asyncio.TimeoutError, httpx2.TimeoutException):
            raise Trouble(
                f"no whole answer came within {self._timeout:g} s (-o timeout= allows more, and "
                "-o concurrency= asks for fewer at once)"
            ) from None
        except httpx2.TransportError as error:
            raise Trouble(broken(error, self._key)) from None

    async def _exchange(self, url: str, body: Mapping[str, Any] | None) -> Response:
        content = None if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        kind = {} if body is None else {"Content-Type": "application/json"}
        async with self._client.stream(method, url, content=content, headers=kind) as response:
            check_plain(response)
            parts, size = [], 0
            async for part in response.aiter_raw():
                size += len(part)
                if size > LARGEST_ANSWER:
                    raise Trouble(f"the answer has more than {LARGEST_ANSWER >> 20} MiB")
                parts.append(part)
            return Response(response.status_code, dict(response.headers), b"".join(parts))

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()


def client_for(address: Address, key: Key, timeout: float, *, keep: bool = False) -> httpx2.AsyncClient:
    """What makes connections to one server; with ``keep`` they stay open for the next request.

    :raises ModelError: as :class:`Wire`.
    """
    try:
        httpx2.URL(address.base)
    except httpx2.InvalidURL as error:
        raise ModelError(f"{address.base} is no address of a server: {clean(str(error))}") from None
    way = {} if keep else {"Connection": "close"}
    kept = None if keep else 0
    try:
        return httpx2.AsyncClient(
            headers={**way, "Accept-Encoding": "identity", **key.headers},
            timeout=httpx2.Timeout(timeout),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=None),
            trust_env=not address.on_this_machine,
            follow_redirects=False,
        )
    except (httpx2.InvalidURL, ValueError, ImportError, OSError) as error:
        # what the environment says of proxies may hold a password: it is not quoted
        raise ModelError(
            "the proxy (HTTP_PROXY, ALL_PROXY, ...) or the certificates (SSL_CERT_FILE, ...) that the "
            f"environment names cannot be used: {type(error).__name__}"
        ) from None


def check_plain(response: httpx2.Response) -> None:
    """:raises Trouble: the answer is compressed."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Trouble("the answer is compressed, which was not asked for")


def broken(error: httpx2.TransportError, key: Key) -> str:
    """Why there was no whole answer, in words that can be shown."""
    said = key.hide(clean(str(error) or str(error.__cause__ or "")))
    if isinstance(error, httpx2.ConnectError):
        secure = "certificate" in said.lower() or "ssl" in said.lower()
        what = "no secure connection" if secure else "no connection"
        return f"{what} can be made ({said or 'no reason is given'})"
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy that the environment names refuses ({said})"
    return f"the connection broke before the answer was whole ({said or type(error).__name__})"
