"""Routes of what there is: devices, tasks, engines, models."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request

from slmeval.api import Backend, Option
from slmeval.registry import Parts
from slmeval.service.auth import needs
from slmeval.service.ledger import DeviceRecord, Ledger
from slmeval.service.roster import Device
from slmeval.service.schemas import (
    PROBLEMS,
    BackendLine,
    BackendList,
    DeviceLine,
    DeviceList,
    ModelList,
    OptionLine,
    TaskLine,
    TaskList,
)
from slmeval.service.service import service_of
from slmeval.service.strict import StrictRoute

router = APIRouter(
    prefix="/api",
    tags=["what there is"],
    responses=PROBLEMS,
    dependencies=[Depends(needs("read"))],
    route_class=StrictRoute,
)


@router.get("/devices", operation_id="devices")
async def devices(request: Request) -> DeviceList:
    """Every device that ever worked for this server, and what those that are connected do."""
    service = service_of(request)
    records = {each.name: each for each in await service.desk.read(lambda store: Ledger(store).devices())}
    here = {device.name: device for device in service.roster.devices()}
    names = sorted({*records, *here})
    return DeviceList(devices=[_device(name, here.get(name), records.get(name)) for name in names])


def _device(name: str, device: Device | None, record: DeviceRecord | None) -> DeviceLine:
    told: dict[str, Any] = dict(record.told) if record is not None else {}
    return DeviceLine(
        name=name,
        state="gone" if device is None else "here",
        run=device.run if device is not None else None,
        local=device is not None and device.local,
        engines=list(device.engines if device is not None else told.get("engines", ())),
        memory=device.memory if device is not None else told.get("memory"),
        machine=told.get("machine", {}),
        first=record.first if record is not None else None,
        last=record.last if record is not None else None,
    )


@router.get("/tasks", operation_id="tasks")
async def tasks(request: Request) -> TaskList:
    """Tasks, groups and probes: what `tasks` of a submission may name."""
    parts = service_of(request).registry.parts
    return TaskList(tasks=await asyncio.to_thread(_tasks, parts))


def _tasks(parts: Parts) -> list[TaskLine]:
    lines = [
        TaskLine(
            name=task.name,
            kind="task",
            version=task.version,
            shots=task.shots,
            rows=task.dataset.rows,
            chance=task.chance,
            licence=task.dataset.licence,
            source=task.dataset.source or task.dataset.hub or "",
        )
        for task in parts.tasks.values()
    ]
    lines += [
        TaskLine(
            name=each.name, kind="group", version=each.version, shots=each.shots, members=list(each.members)
        )
        for each in parts.groups.values()
    ]
    lines += [
        TaskLine(name=each.name, kind="probe", version=each.version, options=_options(each.options))
        for each in parts.probes.values()
    ]
    return lines


@router.get("/backends", operation_id="backends")
async def backends(request: Request) -> BackendList:
    """Engines, with their options and the connected devices that have them."""
    service = service_of(request)
    here = service.roster.devices()
    return BackendList(backends=[_backend(each, here) for each in service.registry.parts.backends.values()])


def _backend(backend: type[Backend], here: list[Device]) -> BackendLine:
    return BackendLine(
        name=backend.name,
        preference=backend.preference,
        forms=list(backend.forms),
        capabilities=sorted(backend.capabilities),
        options=_options(backend.options),
        devices=[device.name for device in here if backend.name in device.engines],
    )


def _options(options: tuple[Option, ...]) -> list[OptionLine]:
    """Those that the service takes."""
    return [
        OptionLine(name=each.name, default=each.default, help=each.help, choices=list(each.choices))
        for each in options
        if not each.local
    ]


@router.get("/models", operation_id="models")
async def models(request: Request) -> ModelList:
    """Names of models that may be given; where patterns of hubs and servers are allowed, so may others."""
    service = service_of(request)
    return ModelList(
        models=await asyncio.to_thread(service.allowed.listed),
        hubs=list(service.settings.hubs),
        servers=list(service.settings.servers),
    )
