"""What a server is started with: where it listens, whom it trusts with what, and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """The most that one may ask. Bytes, rows of one task, seconds of one run, runs that wait."""

    body: int = 2 * 2**20
    upload: int = 64 * 2**20
    items: int | None = None
    seconds: float = 24 * 3600.0
    queued: int = 10_000
    #: how often in a row a run may be lost without one more answer, before it has failed
    attempts: int = 25


@dataclass(frozen=True)
class Settings:
    """One ``slmeval serve``; made once from the flags.

    ``folders`` hold the models that may be named, ``hubs`` are patterns of hub ids ("HuggingFaceTB/*") and
    ``servers`` beginnings of addresses that may be; without any, there is the demo model alone. ``data`` is
    where rows lie. ``hosts`` are further names that the server may be called by (behind a proxy, say).
    """

    store: Path
    host: str = "127.0.0.1"
    port: int = 8765
    folders: tuple[Path, ...] = ()
    hubs: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    data: str | None = None
    hosts: tuple[str, ...] = ()
    #: whether this machine works, too
    worker: bool = True
    limits: Limits = field(default_factory=Limits)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, by its name alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
