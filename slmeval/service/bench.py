"""Which devices a submission may go to, by the engines that they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slmeval.errors import UnknownName, UsageError

#: every connected device that has the engine
EVERY = "*"


@dataclass(frozen=True)
class Bench:
    """The engines of each device that is known, and of those that are connected."""

    known: Mapping[str, tuple[str, ...]]
    here: Mapping[str, tuple[str, ...]]

    def named(self, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The devices that a request may go to.

        :raises UnknownName: one that never worked for this server.
        """
        if not names or EVERY in names:
            return self.here
        for name in names:
            if name not in self.known:
                raise UnknownName("device", name, self.known)
        return {name: self.known[name] for name in names}

    def targets(self, names: Sequence[str], backend: str) -> list[str | None]:
        """The devices that a run of an engine is made for; ``None``: any that can.

        :raises UsageError: a device that is named does not have it.
        """
        if not names:
            return [None]
        devices = self.named(names)
        if EVERY in names:
            found = sorted(name for name, engines in devices.items() if backend in engines)
            if not found:
                raise UsageError(f"no connected device has backend {backend!r}: {self._told()}")
            return list(found)
        for name, engines in devices.items():
            if backend not in engines:
                raise UsageError(
                    f"device {name!r} has no backend {backend!r} (but {', '.join(engines) or 'none'}): "
                    f"submit each engine by itself, or name {EVERY!r} for all devices that have it"
                )
        return list(devices)

    def _told(self) -> str:
        engines = sorted({engine for names in self.here.values() for engine in names})
        if not self.here:
            return "none is connected (slmeval worker --server URL connects one)"
        return f"they have {', '.join(engines) or 'none'}"
