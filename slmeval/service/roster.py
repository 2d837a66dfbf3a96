"""The devices that are connected: what each can run, what it is busy with, and the line to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from slmeval.service.inbox import Inbox
from slmeval.service.model_files import ModelFiles
from slmeval.types import Machine


@dataclass(eq=False)
class Device:
    """A connected device. ``send`` takes control messages (text) and workers' frames (bytes).

    ``send`` raises ``ConnectionError`` where the device is gone. While it is leased to a run, what it says
    goes to the ``inbox``; ``None`` there: it is gone. ``clear`` returns when nothing runs on it any more.
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
    #: a run that has it, or whose workers are still being ended
    run: str | None = None
    inbox: Inbox = field(default_factory=Inbox)
    clear: Callable[[], Awaitable[None]] | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)


class Roster:
    """Who is connected. ``changed`` is set whenever someone came, went, or has nothing to do any more.

    ``files`` are those of the models that devices may fetch.
    """

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._clearing: set[asyncio.Future[None]] = set()
        self.changed = asyncio.Event()
        self.files = ModelFiles()

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
        if device.left.is_set():
            return
        if self._devices.get(device.name) is device:
            del self._devices[device.name]
        device.left.set()
        device.inbox.shut()
        device.inbox.put_nowait(None)
        self.changed.set()

    def lease(self, device: Device, run: str) -> None:
        """It is busy with a run from now on."""
        device.run, device.inbox = run, Inbox()
        if device.left.is_set():
            device.inbox.put_nowait(None)

    def release(self, device: Device) -> None:
        """The run is over: the device is idle as soon as nothing of it runs there any more."""
        device.inbox.shut()
        task = asyncio.ensure_future(self._clear(device))
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)

    async def _clear(self, device: Device) -> None:
        if device.clear is not None and not device.left.is_set():
            await device.clear()
        device.run = None
        self.changed.set()
