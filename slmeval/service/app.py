"""The web application: its parts made, its routes put together, its beginning and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from slmeval import __version__
from slmeval.registry import load
from slmeval.service import (
    api_devices,
    api_health,
    api_results,
    api_runs,
    api_tokens,
    api_uploads,
    devices,
    guard,
    pages,
    streams,
)
from slmeval.service.allowed import Allowed
from slmeval.service.desk import Desk
from slmeval.service.dispatcher import Dispatcher
from slmeval.service.hub import Hub
from slmeval.service.keys import Keys
from slmeval.service.roster import Roster
from slmeval.service.service import Service
from slmeval.service.settings import Settings

_API = (api_health, api_runs, api_results, api_uploads, api_devices, api_tokens, streams)


def create_app(settings: Settings) -> FastAPI:
    """The application of one server; it opens the store when it starts, and lets go of it when it ends."""

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        service = _service(settings)
        app.state.service = service
        try:
            async with service.dispatcher.at_work():
                yield
        finally:
            await service.hub.finish()
            service.desk.close()

    # the pages of FastAPI's own load scripts from elsewhere
    app = FastAPI(
        title="slmeval",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=living,
    )
    for module in _API:
        app.include_router(module.router)
    app.include_router(devices.router)
    pages.add_to(app)
    guard.add_to(app, settings)
    api_health.add_to(app)
    return app


def _service(settings: Settings) -> Service:
    registry, desk = load(), Desk(settings.store)
    hub, roster, allowed = Hub(desk), Roster(), Allowed(settings)
    dispatcher = Dispatcher(settings, desk, hub, roster)
    return Service(settings, registry, desk, hub, roster, allowed, Keys(settings, desk), dispatcher)
