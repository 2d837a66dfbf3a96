"""All that a running server has, made once and handed to each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from slmeval.registry import Registry
from slmeval.service.allowed import Allowed
from slmeval.service.desk import Desk
from slmeval.service.dispatcher import Dispatcher
from slmeval.service.hub import Hub
from slmeval.service.keys import Keys
from slmeval.service.roster import Roster
from slmeval.service.settings import Settings


@dataclass(frozen=True)
class Service:
    """The parts of a server."""

    settings: Settings
    registry: Registry
    desk: Desk
    hub: Hub
    roster: Roster
    allowed: Allowed
    keys: Keys
    dispatcher: Dispatcher


def service_of(connection: HTTPConnection) -> Service:
    """The service that a request or WebSocket reached."""
    return cast(Service, connection.app.state.service)
