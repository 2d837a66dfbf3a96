"""What a server may be called in a Host header, so that no name of a stranger's leads a browser to it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from slmeval.errors import UsageError
from slmeval.service.settings import Settings, is_loopback

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\\\s]+)(?::(\d{1,5}))?")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: addresses that stand for all of a machine's
_ALL = frozenset({"0.0.0.0", "::", ""})
_PORTS = {"http": "80", "https": "443"}


def check_names(settings: Settings) -> None:
    """:raises UsageError: a further name is none that a Host header could have."""
    for name in settings.hosts:
        # an address of IPv6 may stand without its brackets
        match = _HOST.fullmatch(f"[{name}]" if name.count(":") > 1 and name[0] != "[" else name)
        if match is None or match[2] is not None:
            raise UsageError(f"--allow-host {name!r}: a name alone, without scheme, port and path")


class Names:
    """The names of one server: where it is bound, and those it was told of."""

    def __init__(self, settings: Settings) -> None:
        self._all = settings.host in _ALL
        told = {name for name in (settings.host, *settings.hosts) if name not in _ALL}
        self._names = {_plain(name) for name in told} | (_LOOPBACK if is_loopback(settings.host) else set())

    def has(self, host: str, reached: Sequence[object] | None) -> bool:
        """Whether a Host header names it.

        ``reached`` is the address that the connection came to: where all of a machine's are listened on,
        this one is a name, too; and those of the loopback are where it is of the loopback.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _plain(match[1])
        if name in self._names:
            return True
        return self._all and bool(reached) and _is_reached(name, str((reached or ("",))[0]))


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header is of the server that a Host header (already checked) names."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    match = _HOST.fullmatch(host)
    if match is None or parts.scheme not in _PORTS or parts.path or parts.query or "@" in parts.netloc:
        return False
    ports = (str(port or _PORTS[parts.scheme]), match[2] or _PORTS[parts.scheme])
    return _plain(parts.hostname or "") == _plain(match[1]) and ports[0] == ports[1]


def _is_reached(name: str, address: str) -> bool:
    address = _plain(address)
    return name == address or (is_loopback(address) and name in _LOOPBACK)


def _plain(name: str) -> str:
    """Lower case and without brackets; addresses in their shortest form, IPv4's without IPv6 around."""
    name = name.strip("[]").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    inner = getattr(address, "ipv4_mapped", None)
    return str(inner or address)
