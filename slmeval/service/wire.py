"""What a server and its devices say to each other, and a server and the process that carries out a run.

Between server and device it is a WebSocket (``/api/devices/work``): control messages are texts (JSON with a
``kind``), frames of the worker protocol are binary messages. In the order of a run::

    device  hello     {protocol, version, name, instance, machine, engines, memory}
    server  welcome   {}                           or  refused {reason, final}: a ``final`` one stays refused
    server  start     {worker, backend}            begin a worker; ``worker`` is a number, new for each
    both    (binary)                               a frame to or from that worker
    server  fetch     {sha256, files, hint}        bring a model here: files are {path, size, sha256}, each
                                                   had from /api/models/SHA256/files/PLACE; hint: where it
                                                   lies on the server, for a device on its machine
    device  located   {sha256, location}           or  unlocated {sha256, reason}
    server  end       {worker, kill}               -> device  gone {worker, words}
    device  gone      {worker, words}              the worker has ended, and why
    server  clear     {}                           end all workers at once, and fetch nothing any more
                                                   -> device  cleared {}: of before, nothing more is said
    device  beat      {memory}                     now and then, while nothing is run

The process that carries out a run (:mod:`slmeval.service.conductor`) says the same through the server, on its
own pipes, where each frame begins with one byte: ``c`` for control, ``d`` for a worker's frame. Beside this::

    server     run       {run, store, options, device, limits}
    server     cancel    {}                        end at once, what was answered is kept
    server     lost      {reason}                  the device is gone
    conductor  began     {cells, requests, timed}  the plan is made; ``timed``: something will be
    conductor  progress  {label, done, total, unit}
    conductor  cell      {cell}                    a cell is finished: its figures, as in the document
    conductor  ended     {status, reason}          the last it says
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any

#: goes up whenever an older end would misread a newer one
WIRE = 1

Message = dict[str, Any]

_WORKER = struct.Struct(">I")
#: bytes of the longest frame that is passed on, and of the longest message
LONGEST_FRAME = 128 * 2**20
LONGEST = LONGEST_FRAME + _WORKER.size
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class WireError(Exception):
    """The other end does not speak as it should."""


def is_name(value: object) -> bool:
    """Whether a device, or an engine, may be called so."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def pack_message(kind: str, **fields: Any) -> str:
    """A control message as text."""
    return json.dumps({"kind": kind, **fields}, separators=(",", ":"))


def unpack_message(text: str | bytes) -> Message:
    """:raises WireError: it is no message."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message that is not JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise WireError("a message without a kind")
    return message


def pack_frame(worker: int, frame: bytes) -> bytes:
    """A frame with the number of the worker that it goes to or comes from."""
    return _WORKER.pack(worker) + frame


def unpack_frame(packed: bytes) -> tuple[int, bytes]:
    """:raises WireError: it is too short to have a number."""
    if len(packed) < _WORKER.size:
        raise WireError("a frame without the number of its worker")
    (worker,) = _WORKER.unpack_from(packed)
    return int(worker), packed[_WORKER.size :]
