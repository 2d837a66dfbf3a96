"""Which models may be named: the demo model, and those of allowed folders, hubs and servers."""

from __future__ import annotations

from slmeval.service.settings import Settings


class Allowed:
    """The allow-list of a server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
