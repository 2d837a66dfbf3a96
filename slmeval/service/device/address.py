"""The server that a device works for: its addresses, and how it is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from slmeval.errors import UsageError
from slmeval.service.settings import is_loopback

_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Address:
    """Where a server is (``http://HOST[:PORT][/BELOW]``), and the token that lets a device work for it."""

    url: str
    token: str | None

    @property
    def work(self) -> str:
        """Of the WebSocket."""
        scheme, _, rest = self.url.partition("://")
        return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/api/devices/work"

    def file(self, sha256: str, place: int) -> str:
        """Of a model's file."""
        return f"{self.url}/api/models/{sha256}/files/{place}"

    @property
    def headers(self) -> dict[str, str]:
        """What is sent with each request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, to which no proxy leads."""
        return is_loopback(urlsplit(self.url).hostname or "")


def address_of(url: str, token: str | None) -> Address:
    """:raises UsageError: it is no address of a server, or the token is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"--server {url!r} is no address of a server: http://HOST:PORT, or https://HOST")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(f"--server {url!r} has more than scheme, host, port and path: give the token apart")
    if token is not None and not _TOKEN.fullmatch(token):
        raise UsageError("the token is empty, or has characters that no token has: copy it anew")
    return Address(url.rstrip("/"), token)
