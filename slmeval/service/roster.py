"""The devices that are connected: what each can run, what it is busy with, and the line to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slmeval.document import from_plain
from slmeval.types import Machine


@dataclass(eq=False)
class Device:
    """A connected device. ``send`` takes control messages (text) and workers' frames (bytes).

    While it is leased to a run, what it says goes to the ``inbox``; ``None`` there: it is gone.
    """

    name: str
    instance: str
    machine: Machine
    engines: tuple[str, ...]
    #: bytes free for a model, as it last told; ``None`` where it cannot tell
    memory: int | None
    #: it is on the server's own machine, and finds models where the server has them
    local: bool
    send: Callable[[str | bytes], Awaitable[None]]
    run: str | None = None
    inbox: asyncio.Queue[str | bytes | None] = field(default_factory=asyncio.Queue)


class Roster:
    """Who is connected. ``changed`` is set whenever someone came, went, or has nothing to do any more."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self.changed = asyncio.Event()

    def devices(self) -> list[Device]:
        """Those that are connected, by name."""
        return [self._devices[name] for name in sorted(self._devices)]

    def find(self, name: str) -> Device | None:
        """The one of that name, if it is connected."""
        return self._devices.get(name)

    def enter(self, device: Device) -> None:
        """It is there from now on; one of its name that was there is gone."""
        if (before := self._devices.get(device.name)) is not None:
            self.leave(before)
        self._devices[device.name] = device
        self.changed.set()

    def leave(self, device: Device) -> None:
        """It is gone: whoever leased it hears ``None``."""
        if self._devices.get(device.name) is device:
            del self._devices[device.name]
        device.inbox.put_nowait(None)
        self.changed.set()

    def lease(self, device: Device, run: str) -> None:
        """It is busy with a run from now on."""
        device.run, device.inbox = run, asyncio.Queue()

    def release(self, device: Device) -> None:
        """It has nothing to do any more."""
        device.run = None
        self.changed.set()


def told_by(message: Mapping[str, Any]) -> dict[str, Any]:
    """What a device's hello says of it, as it is kept."""
    return {name: message[name] for name in ("machine", "engines", "memory", "version")}


def machine_of(message: Mapping[str, Any]) -> Machine:
    """:raises slmeval.errors.DataError: it tells of no machine."""
    return from_plain(Machine, message["machine"], "machine")
