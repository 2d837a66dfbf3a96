"""What this machine tells of itself: its name, its engines, its memory."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping

from slmeval import __version__
from slmeval.api import Backend
from slmeval.document import to_plain
from slmeval.environments import python_of, trouble_with
from slmeval.machine import largest_memory, this_machine
from slmeval.service.wire import WIRE, pack_message


def own_name() -> str:
    """This machine's, as far as it can be a device's."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", platform.node())[:64] or "device"


def able(backends: Mapping[str, type[Backend]]) -> dict[str, type[Backend]]:
    """The engines that can run here: beside this slmeval, or in an environment that works.

    :raises slmeval.errors.UsageError: what is remembered of environments cannot be read.
    """
    return {name: backend for name, backend in backends.items() if _runs(backend)}


def _runs(backend: type[Backend]) -> bool:
    python = python_of(backend.name)
    if python is not None:
        return trouble_with(backend.name, python) is None
    try:
        return backend.missing() is None
    except Exception:  # noqa: BLE001  a stranger's engine that fails at this runs nowhere
        return False


def hello(name: str, instance: str, engines: list[str]) -> str:
    """The first that a device says."""
    return pack_message(
        "hello",
        protocol=WIRE,
        version=__version__,
        name=name,
        instance=instance,
        machine=to_plain(this_machine()),
        engines=engines,
        memory=largest_memory(),
    )
