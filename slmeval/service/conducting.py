"""One run that is being carried out: its process, the device, and what passes between the two."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from slmeval.children import AWAY
from slmeval.document import to_plain
from slmeval.service.desk import Desk
from slmeval.service.hub import Hub
from slmeval.service.ledger import Ledger, Submission
from slmeval.service.line import CONTROL, DATA
from slmeval.service.roster import Device, Roster
from slmeval.service.settings import Settings
from slmeval.service.wire import Message, WireError, pack_message, unpack_frame, unpack_message

_COMMAND = (sys.executable, "-c", f"{AWAY}from slmeval.service.conductor import main; main()")
_HEADER = 8
#: seconds in which a process that was asked to end must have ended
_GRACE = 20.0
#: bytes of a process's stderr that are kept as its last words
_LAST_WORDS = 4000


@dataclass(frozen=True)
class Outcome:
    """How it ended: done, failed, cancelled, or lost (it can go on), and why.

    ``progressed``: something was answered or measured that had not been before. ``died``: of what was lost,
    it was the engine's own process, on a device that is still there.
    """

    kind: str
    reason: str = ""
    progressed: bool = False
    died: bool = False


class Conducting:
    """Carries out one submission on one device; each method is called from the event loop."""

    def __init__(
        self,
        submission: Submission,
        device: Device,
        settings: Settings,
        desk: Desk,
        hub: Hub,
        roster: Roster,
    ) -> None:
        self._submission, self._device = submission, device
        self._settings, self._desk, self._hub, self._roster = settings, desk, hub, roster
        self._process: asyncio.subprocess.Process | None = None
        self._writing = asyncio.Lock()
        self._ended: Message | None = None
        self._asked_to_end = ""
        self._lost = ""
        self._progressed = False
        self._models: set[str] = set()

    async def run(self) -> Outcome:
        """Carry it out, and say how it ended."""
        with tempfile.TemporaryFile() as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                await self._converse()
            finally:
                await self._end_process()
            return self._outcome(_last_line(stderr))

    async def cancel(self, reason: str) -> None:
        """Have it end soon, with what was answered kept."""
        self._asked_to_end = self._asked_to_end or reason
        if self._process is not None:
            await self._say("cancel")
        asyncio.get_running_loop().call_later(_GRACE, self._kill)

    # ---- what passes -------------------------------------------------------------------------------

    async def _converse(self) -> None:
        await self._say("run", **self._task())
        if self._asked_to_end:
            await self._say("cancel")
        talks = (self._from_process(), self._from_device(), self._watch_the_time())
        tasks = [asyncio.ensure_future(talk) for talk in talks]
        try:
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError, OSError, WireError):
                    await task

    def _task(self) -> dict[str, Any]:
        device = self._device
        told = {
            "name": device.name,
            "engines": list(device.engines),
            "memory": device.memory,
            "machine": to_plain(device.machine),
        }
        return {
            "run": self._submission.run,
            "store": str(self._settings.store),
            "options": to_plain(self._submission.options),
            "device": told,
            "limits": {"items": self._settings.limits.items},
        }

    async def _from_process(self) -> None:
        """What the process says, until it says no more."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout
        while True:
            try:
                size = int.from_bytes(await pipe.readexactly(_HEADER), "big")
                frame = await pipe.readexactly(size)
            except asyncio.IncompleteReadError:
                return
            if frame[:1] == DATA:
                await self._to_device(frame[1:])
            else:
                await self._hear(unpack_message(frame[1:]))

    async def _from_device(self) -> None:
        """What the device says is the process's business."""
        inbox = self._device.inbox
        while (said := await inbox.get()) is not None:
            await self._write(CONTROL + said.encode() if isinstance(said, str) else DATA + said)
        self._lost = f"device {self._device.name} is gone"
        await self._say("lost", reason=self._lost)

    async def _watch_the_time(self) -> None:
        seconds = self._settings.limits.seconds
        await asyncio.sleep(seconds)
        await self.cancel(f"it ran longer than the {seconds:g} seconds that this server allows")

    async def _hear(self, message: Message) -> None:
        kind = message.pop("kind")
        if kind in ("start", "end"):
            await self._to_device(pack_message(kind, **message))
        elif kind == "fetch":
            await self._fetch(message)
        elif kind == "began":
            if message.pop("timed"):
                await self._desk.write(lambda store: Ledger(store).pin(self._submission.run))
            await self._hub.tell(self._submission.run, "planned", message)
        elif kind in ("progress", "cell"):
            self._progressed = self._progressed or (kind == "progress" and message["done"] > 0)
            await self._hub.tell(self._submission.run, kind, message)
        elif kind == "ended":
            self._ended = message

    async def _fetch(self, message: Mapping[str, Any]) -> None:
        sha256 = message["sha256"]
        if sha256 not in self._models:
            self._models.add(sha256)
            self._roster.files.register(sha256, message["root"], message["files"])
        hint = message["hint"] if self._device.local else None
        await self._to_device(pack_message("fetch", sha256=sha256, files=message["files"], hint=hint))

    async def _to_device(self, said: str | bytes) -> None:
        if isinstance(said, bytes):
            unpack_frame(said)
        with suppress(Exception):
            await self._device.send(said)

    async def _say(self, kind: str, **fields: Any) -> None:
        await self._write(CONTROL + pack_message(kind, **fields).encode())

    async def _write(self, frame: bytes) -> None:
        assert self._process is not None
        pipe = self._process.stdin
        assert pipe is not None
        async with self._writing:
            with suppress(OSError, RuntimeError):  # it has ended: its status tells
                pipe.write(len(frame).to_bytes(_HEADER, "big") + frame)
                await pipe.drain()

    # ---- its end -----------------------------------------------------------------------------------

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _end_process(self) -> None:
        assert self._process is not None
        for sha256 in self._models:
            self._roster.files.release(sha256)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE)
        except asyncio.TimeoutError:
            self._kill()
            await self._process.wait()

    def _outcome(self, last_words: str) -> Outcome:
        ended = self._ended or {"status": "gone", "reason": ""}
        status, reason = ended["status"], ended["reason"]
        if status == "done":
            return Outcome("done")
        if self._asked_to_end:
            kind = "cancelled" if self._asked_to_end == CANCELLED else "failed"
            return Outcome(kind, self._asked_to_end)
        if status in ("failed", "refused") and not self._lost:
            return Outcome("failed", reason)
        if status == "gone":
            assert self._process is not None
            code = self._process.returncode
            reason = f"the process that carried it out ended with status {code}"
            reason += f"; it said: {last_words}" if last_words else ""
        died = status == "died" and not self._lost
        return Outcome("lost", self._lost or reason, self._progressed, died)


#: why a run ends that somebody cancelled
CANCELLED = "cancelled"


def _last_line(stderr: Any) -> str:
    stderr.seek(0, 2)
    stderr.seek(max(0, stderr.tell() - _LAST_WORDS))
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return str(lines[-1]) if lines else ""
