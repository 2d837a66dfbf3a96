"""The page of devices: which are there, what each can run and is busy with, and how to add one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from slmeval.document import from_plain
from slmeval.errors import DataError
from slmeval.service.auth import Caller, needs
from slmeval.service.ledger import DeviceRecord, Ledger
from slmeval.service.pages.render import page
from slmeval.service.roster import Device
from slmeval.service.service import service_of
from slmeval.store import Store
from slmeval.types import Machine

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Line:
    """A device. ``memory`` is in bytes, ``None`` where it does not tell; ``run`` is what it is busy with."""

    name: str
    state: str
    machine: Machine | None
    engines: tuple[str, ...]
    memory: int | None
    run: str | None
    local: bool
    seen: str | None


@router.get("/devices")
async def devices(request: Request, _: Annotated[Caller, Depends(needs("read"))]) -> Response:
    """All that are connected, then all that ever were."""
    service = service_of(request)

    def read(store: Store) -> tuple[int, list[DeviceRecord]]:
        ledger = Ledger(store)
        return ledger.last_event(), ledger.devices()

    after, records = await service.desk.read(read)
    seen = {record.name: record.last for record in records}
    here = [_connected(device, seen.get(device.name)) for device in service.roster.devices()]
    names = {line.name for line in here}
    gone = [_gone(record) for record in records if record.name not in names]
    server = str(request.base_url).rstrip("/")
    return page(
        request,
        "devices.html",
        after=after,
        lines=[*here, *gone],
        server=shlex.quote(server),
        reached=not service.settings.is_local,
    )


def _connected(device: Device, seen: str | None) -> Line:
    return Line(
        device.name, "here", device.machine, device.engines, device.memory, device.run, device.local, seen
    )


def _gone(record: DeviceRecord) -> Line:
    told = record.told
    engines = tuple(map(str, told.get("engines") or ()))
    return Line(record.name, "gone", _machine(told), engines, None, None, False, record.last)


def _machine(told: Mapping[str, Any]) -> Machine | None:
    """``None`` where another version told of it in another way."""
    try:
        return from_plain(Machine, told.get("machine"), "machine")
    except DataError:
        return None
