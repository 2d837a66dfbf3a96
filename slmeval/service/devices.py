"""The line to each device: a WebSocket on which it says what it can run, and works; and files of models."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import FileResponse, JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from slmeval.errors import StoreError
from slmeval.service.auth import Caller, needs, of_socket
from slmeval.service.greeting import Hello, read_hello, read_told
from slmeval.service.ledger import Ledger
from slmeval.service.problems import Refused
from slmeval.service.roster import Device, Roster
from slmeval.service.service import Service, service_of
from slmeval.service.wire import LONGEST, Message, WireError, pack_message, unpack_frame

router = APIRouter()

#: seconds in which a device must have said who it is, and must have ended its workers
_PATIENCE = 30.0
_SHORT = 0.05
#: a WebSocket's code for one who does not do as was agreed (RFC 6455, 7.4.1), and bytes of its reason
_VIOLATION, _LONGEST_REASON = 1008, 120
#: characters of a reason that a device is told
_LONGEST_WORDS = 1000


@router.websocket("/api/devices/work")
async def work(socket: WebSocket) -> None:
    """A device's line, from its hello until one of both is gone."""
    service = service_of(socket)
    try:
        caller = await of_socket(socket)
    except Refused as refusal:
        await socket.send_denial_response(JSONResponse({"error": str(refusal)}, refusal.status))
        # uvicorn complains of a handshake left half done, unless the line has gone by then
        await asyncio.sleep(_SHORT)
        return
    await socket.accept()
    line = _Line(socket)
    try:
        await _greet(service, caller, line)
    except WireError as error:
        await line.refuse(str(error))
    except StoreError as error:
        # it is full, or held: the device comes back, and perhaps finds it as it should be
        await line.refuse(str(error), final=False)
    except (ConnectionError, asyncio.TimeoutError):
        await line.close("")


# part of the devices' own protocol (slmeval.service.wire), as the WebSocket is
@router.get("/api/models/{sha256}/files/{place}", include_in_schema=False)
async def model_file(
    service: Annotated[Service, Depends(service_of)],
    _: Annotated[Caller, Depends(needs("work"))],
    sha256: str,
    place: int,
) -> FileResponse:
    """A file of a model that a run brings to a device; in parts, where parts are asked for."""
    path = service.roster.files.find(sha256, place)
    if path is None or not await asyncio.to_thread(path.is_file):
        raise Refused(404, "no run that is under way brings this file of a model")
    return FileResponse(path, media_type="application/octet-stream")


class _Line:
    """The WebSocket, with one error for all the ways in which it ends."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        #: the device has said that nothing of before runs any more
        self.cleared = asyncio.Event()

    async def hear(self) -> str | bytes:
        """:raises ConnectionError: the device is gone."""
        try:
            message = await self._socket.receive()
        except RuntimeError:
            raise ConnectionResetError("the line is closed") from None
        if message["type"] == "websocket.disconnect":
            raise ConnectionResetError("the device is gone")
        text: str | None = message.get("text")
        frame: bytes | None = message.get("bytes")
        return text if text is not None else bytes(frame or b"")

    async def send(self, said: str | bytes) -> None:
        """:raises ConnectionError: the device is gone."""
        try:
            if isinstance(said, str):
                await self._socket.send_text(said)
            else:
                await self._socket.send_bytes(said)
        except (RuntimeError, WebSocketDisconnect, OSError):
            raise ConnectionResetError("the device is gone") from None

    async def refuse(self, reason: str, *, final: bool = True) -> None:
        """Say why, and close; a ``final`` refusal is one that asking again does not change."""
        with suppress(ConnectionError):
            await self.send(pack_message("refused", reason=reason[:_LONGEST_WORDS], final=final))
        await self.close(reason)

    async def close(self, reason: str) -> None:
        """End it, if it has not ended."""
        short = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
        with suppress(RuntimeError, WebSocketDisconnect, OSError):
            await self._socket.close(_VIOLATION, short)

    async def clear(self) -> None:
        """Have all ended that runs there; a device that does not is let go."""
        self.cleared.clear()
        try:
            await self.send(pack_message("clear"))
            await asyncio.wait_for(self.cleared.wait(), _PATIENCE)
        except ConnectionError:
            return
        except asyncio.TimeoutError:
            await self.close("the device does not end its workers")


# ---- a device comes ------------------------------------------------------------------------------------


async def _greet(service: Service, caller: Caller, line: _Line) -> None:
    """Seat a device, and listen to it until it is gone.

    :raises WireError: it says what it should not.
    :raises ConnectionError: it is gone; as ``asyncio.TimeoutError``: it says nothing.
    """
    hello = read_hello(await asyncio.wait_for(line.hear(), _PATIENCE))
    device = _device(hello, caller, line)
    if not _is_free(service.roster, device):
        reason = f"another device named {device.name} is connected: call this one otherwise (--name)"
        await line.refuse(reason, final=False)
        return
    service.roster.enter(device)
    watch = asyncio.ensure_future(_close_when_left(device, line))
    try:
        await line.send(pack_message("welcome"))
        await service.desk.write(lambda store: Ledger(store).see_device(device.name, hello.told()))
        await service.hub.tell("", "device", {"name": device.name, "state": "here"})
        await _listen(device, line)
    finally:
        watch.cancel()
        line.cleared.set()
        service.roster.leave(device)
        if service.roster.find(device.name) is None:
            # that it is gone is not less true where it cannot be written down
            with suppress(StoreError):
                await service.hub.tell("", "device", {"name": device.name, "state": "gone"})


def _device(hello: Hello, caller: Caller, line: _Line) -> Device:
    device = Device(
        hello.name,
        hello.instance,
        hello.machine,
        hello.engines,
        hello.memory,
        caller.local,
        line.send,
        clear=line.clear,
    )
    device.send = partial(_send, device, line)
    return device


def _is_free(roster: Roster, device: Device) -> bool:
    """Whether it may have its name: the same one may come anew, and the server's own goes before all."""
    before = roster.find(device.name)
    return before is None or device.local or before.instance == device.instance


async def _close_when_left(device: Device, line: _Line) -> None:
    """Another one has its name now."""
    await device.left.wait()
    await line.close("this device has connected anew")


# ---- it works ------------------------------------------------------------------------------------------


async def _send(device: Device, line: _Line, said: str | bytes) -> None:
    """What is too long for the line ends the worker that it is for, and not the line."""
    if isinstance(said, bytes) and len(said) > LONGEST:
        worker, frame = unpack_frame(said)
        words = f"a frame of {len(frame):,} bytes is more than a server passes on"
        await device.inbox.take(pack_message("gone", worker=worker, words=words))
        said = pack_message("end", worker=worker, kill=True)
    await line.send(said)


async def _listen(device: Device, line: _Line) -> None:
    """Hand on what it says of the run that has it; of its own state, note it."""
    while True:
        said = await line.hear()
        if isinstance(said, bytes):
            unpack_frame(said)
            await _hand_on(device, said)
        else:
            await _note(device, line, read_told(said), said)


async def _note(device: Device, line: _Line, message: Message, said: str) -> None:
    if message["kind"] == "beat":
        device.memory = message["memory"]
    elif message["kind"] == "cleared":
        line.cleared.set()
    else:
        await _hand_on(device, said)


async def _hand_on(device: Device, said: str | bytes) -> None:
    # what comes when no run has it is of none
    if device.run is not None:
        await device.inbox.take(said)
