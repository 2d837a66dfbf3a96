"""Models behind servers: what is in another process, or on another machine, is not seen from here."""

from __future__ import annotations

from slmeval.types import ModelRef


def is_served(model: ModelRef) -> bool:
    """Whether ``model`` is a server's address, told without opening it."""
    return model.location.lower().startswith(("http://", "https://"))
