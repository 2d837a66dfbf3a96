"""Routes of whoever watches the server: is it there, can it work, how does it stand."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.datastructures import State
from starlette.responses import Response

from slmeval import __version__
from slmeval.service.auth import needs
from slmeval.service.desk import Desk
from slmeval.service.ledger import Ledger
from slmeval.service.ledger import State as RunState
from slmeval.service.metrics import Counted, Counts, Standing, exposition
from slmeval.service.problems import Refused
from slmeval.service.schemas import PROBLEMS, Health
from slmeval.service.service import service_of
from slmeval.store import Store

router = APIRouter(tags=["the server"], responses=PROBLEMS)

#: seconds that the store may take until the server counts as not ready
_PATIENCE = 5.0
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


class _Exposition(Response):
    media_type = "text/plain; version=0.0.4"


def add_to(app: FastAPI) -> None:
    """Count an application's requests; to be put before all else, so that what is refused counts too."""
    app.state.counts = counts = Counts()
    app.state.touching = None
    app.add_middleware(Counted, counts=counts)


@router.get("/healthz", operation_id="health")
async def health() -> Health:
    """The server answers."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readiness")
async def readiness(request: Request) -> Health:
    """The server can work: its store can be written, and runs are given out. Otherwise 503."""
    service = service_of(request)
    if not service.dispatcher.is_at_work:
        raise Refused(503, "runs are not given out: the server is starting or ending")
    try:
        await asyncio.wait_for(asyncio.shield(_touched(request.app.state, service.desk)), _PATIENCE)
    except asyncio.TimeoutError:
        raise Refused(503, f"the store could not be written within {_PATIENCE:g} seconds") from None
    return Health(status="ok")


def _touched(state: State, desk: Desk) -> asyncio.Task[None]:
    """One write for all who ask: those of askers who gave up would stand before what others write."""
    if state.touching is None or state.touching.done():
        state.touching = asyncio.ensure_future(desk.write(_touch))
        # whoever asked may be gone
        state.touching.add_done_callback(lambda task: task.cancelled() or task.exception())
    task: asyncio.Task[None] = state.touching
    return task


def _touch(store: Store) -> None:
    """Write, and leave nothing: what changes no row would find room on a full disk, too."""
    with store.writing() as db:
        db.execute("INSERT INTO devices VALUES ('', '', '', '')")
        db.execute("DELETE FROM devices WHERE name = ''")


@router.get(
    "/metrics",
    operation_id="metrics",
    dependencies=[Depends(needs("read"))],
    response_class=_Exposition,
    responses=_TEXT,
)
async def metrics(request: Request) -> Response:
    """How the server stands, for Prometheus."""
    service = service_of(request)
    runs, last = await service.desk.read(_counted)
    devices = service.roster.devices()
    busy = sum(device.run is not None for device in devices)
    standing = Standing(__version__, runs, len(devices), busy, last)
    return _Exposition(exposition(request.app.state.counts, standing))


def _counted(store: Store) -> tuple[dict[str, int], int]:
    found = dict(store.select("SELECT state, count(*) FROM submissions GROUP BY state"))
    return {state: found.get(state, 0) for state in get_args(RunState)}, Ledger(store).last_event()
