"""Who may do what: tokens, their scopes, and how one is recognized."""

from __future__ import annotations

from slmeval.service.desk import Desk
from slmeval.service.settings import Settings


class Keys:
    """The tokens of a server."""

    def __init__(self, settings: Settings, desk: Desk) -> None:
        self._settings, self._desk = settings, desk
