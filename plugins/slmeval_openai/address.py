"""The address of a server, and of a model behind it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from slmeval.errors import ModelError


@dataclass(frozen=True)
class Address:
    """``base`` ends in no slash ("http://127.0.0.1:8000/v1"); ``name`` is "" for the server's only model."""

    base: str
    name: str = ""

    @property
    def root(self) -> str:
        """The server without OpenAI's part of it, where servers keep what is their own."""
        return self.base.removesuffix("/v1")

    @property
    def host(self) -> str:
        """The host's name or number."""
        return urlsplit(self.base).hostname or ""

    @property
    def on_this_machine(self) -> bool:
        """Whether the host is the loopback."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def in_clear(self) -> bool:
        """Whether whoever is on the way can read what is sent."""
        return urlsplit(self.base).scheme == "http" and not self.on_this_machine

    def named(self, name: str) -> str:
        """The whole address of the model ``name``."""
        return f"{self.base}#{quote(name, safe='/:@._-+~')}"


def parse(location: str) -> Address:
    """``http://HOST:PORT[/v1][#NAME]``; a bare host gets ``/v1``.

    :raises ModelError: it is no such address, or holds a secret.
    """
    try:
        parts = urlsplit(location)
        port = parts.port
    except ValueError as error:
        # the address is not quoted: what cannot be read may hold a secret
        raise ModelError(f"the address of the server cannot be read ({_plain(error)}): {_FORM}") from None
    if parts.username is not None or parts.password is not None:
        raise ModelError(
            f"an address with a user name or a key in it would end in reports: write "
            f"{parts.scheme}://{_host(parts.hostname)} and set SLMEVAL_API_KEY in the environment"
        )
    if parts.query:
        raise ModelError(
            "an address with a ? would carry what stands behind it into reports: leave it out, and set "
            "SLMEVAL_API_KEY in the environment if it is a key"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError(f"{location} is no address of a server: {_FORM}")
    authority = _host(parts.hostname) + ("" if port is None else f":{port}")
    path = parts.path.rstrip("/") or "/v1"
    return Address(f"{parts.scheme}://{authority}{path}", unquote(parts.fragment))


_FORM = "write http://HOST:PORT/v1#NAME"


def _host(name: str | None) -> str:
    # an IPv6 address stands in brackets
    return f"[{name}]" if name and ":" in name else name or "HOST"


def _plain(error: ValueError) -> str:
    return "its port is no number" if "port" in str(error).lower() else "its brackets do not match"
