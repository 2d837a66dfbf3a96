"""What devices say, read with care: whoever has a token may send anything."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from slmeval import __version__
from slmeval.document import from_plain, to_plain
from slmeval.errors import DataError
from slmeval.service.wire import WIRE, Message, WireError, is_name, unpack_message
from slmeval.text import clean
from slmeval.types import Machine

#: characters of a control message, of a text in it, and entries of a list
_LONGEST, _LONGEST_TEXT, _MOST = 64 * 1024, 8 * 1024, 256
#: numbers of bytes and of workers; more is no number of anything
_LARGEST, _LARGEST_WORKER = 2**62, 2**32 - 1
_INSTANCE = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Hello:
    """A device as it tells of itself; ``instance`` is another one each time it is started."""

    name: str
    instance: str
    machine: Machine
    engines: tuple[str, ...]
    memory: int | None

    def told(self) -> dict[str, Any]:
        """What is kept of it."""
        machine, engines = to_plain(self.machine), list(self.engines)
        return {"machine": machine, "engines": engines, "memory": self.memory, "version": __version__}


def read_hello(said: str | bytes) -> Hello:
    """The first that a device says.

    :raises WireError: it is no hello, or that of a device that cannot work for this server, and why.
    """
    message = _message(said)
    if message["kind"] != "hello":
        raise WireError(f"a device that begins with {_short(message['kind'])}, not with hello")
    _check_version(message)
    name, instance, memory = message.get("name"), message.get("instance"), message.get("memory")
    if not is_name(name):
        raise WireError(
            f"a device named {_short(name)}: a name is 1 to 64 letters, digits, dots, dashes and underscores"
        )
    if not _matches(_INSTANCE, instance):
        raise WireError(f"a hello whose instance is {_short(instance)}, not 32 hexadecimal digits")
    _check_memory(memory)
    return Hello(str(name), str(instance), _machine(message), _engines(message), memory)


def _check_version(message: Message) -> None:
    protocol, version = message.get("protocol"), message.get("version")
    if (protocol, version) != (WIRE, __version__):
        raise WireError(
            f"the device has slmeval {_short(version)} (protocol {_short(protocol)}), this server "
            f"{__version__} (protocol {WIRE}): install the same on both"
        )


def _machine(message: Message) -> Machine:
    try:
        machine = from_plain(Machine, message.get("machine"), "machine")
    except DataError as error:
        raise WireError(f"a hello that tells of no machine: {error}") from None
    numbers = (machine.cores, machine.memory)
    texts = [each for field in fields(machine) for each in _texts(getattr(machine, field.name))]
    if not all(0 <= number < _LARGEST for number in numbers) or max(map(len, texts)) > _LONGEST_TEXT:
        raise WireError("a hello that tells of a machine that cannot be")
    return replace(
        machine,
        system=clean(machine.system),
        processor=clean(machine.processor),
        python=clean(machine.python),
        accelerators=tuple(map(clean, machine.accelerators[:_MOST])),
    )


def _texts(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()


def _engines(message: Message) -> tuple[str, ...]:
    engines = message.get("engines")
    if not isinstance(engines, list) or len(engines) > _MOST or not all(map(is_name, engines)):
        raise WireError(f"a hello whose engines are {_short(engines)}, not a list of names")
    return tuple(sorted(set(engines)))


def read_told(said: str) -> Message:
    """Any later control message of a device, seen to have what one of its kind has.

    :raises WireError: it has not, or a device does not say such things.
    """
    message = _message(said)
    kind = message["kind"]
    if kind not in _TOLD:
        raise WireError(f"a device that says {_short(kind)}")
    _TOLD[kind](message)
    return message


def _check_gone(message: Message) -> None:
    worker = message.get("worker")
    if type(worker) is not int or not 0 <= worker <= _LARGEST_WORKER:
        raise WireError(f"a worker whose number is {_short(worker)}")
    _check_text(message, "words")


def _check_located(message: Message) -> None:
    _check_sha256(message)
    _check_text(message, "location")


def _check_unlocated(message: Message) -> None:
    _check_sha256(message)
    _check_text(message, "reason")


def _check_beat(message: Message) -> None:
    _check_memory(message.get("memory"))


def _check_nothing(_: Message) -> None:
    pass


_TOLD: Mapping[str, Callable[[Message], None]] = {
    "gone": _check_gone,
    "located": _check_located,
    "unlocated": _check_unlocated,
    "beat": _check_beat,
    "cleared": _check_nothing,
}


def _message(said: str | bytes) -> Message:
    if isinstance(said, bytes):
        raise WireError("a frame where a message was due")
    if len(said) > _LONGEST:
        raise WireError(f"a message of {len(said):,} characters, and the longest has {_LONGEST:,}")
    return unpack_message(said)


def _check_memory(memory: object) -> None:
    if memory is not None and (type(memory) is not int or not 0 <= memory < _LARGEST):
        raise WireError(f"memory of {_short(memory)} bytes")


def _check_sha256(message: Message) -> None:
    if not _matches(_SHA256, sha256 := message.get("sha256")):
        raise WireError(f"a model whose sha256 is {_short(sha256)}")


def _check_text(message: Message, name: str) -> None:
    text = message.get(name)
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT or "\0" in text:
        raise WireError(f"{message['kind']} whose {name} is {_short(text)}, not a text")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _short(value: object) -> str:
    return clean(reprlib.repr(value))
