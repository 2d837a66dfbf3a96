"""Workers on a device, as the core sees them: an executor whose channels go through the server."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from slmeval.api import Channel, Executor, Launch
from slmeval.errors import JobFailed
from slmeval.models import FoundModel
from slmeval.service.line import Line
from slmeval.types import ModelRef

#: seconds in which a worker that was ended must say so: the next one would be timed beside it
_ENDING = 15.0


class DeviceExecutor(Executor):
    """Starts workers on the one device that a run has."""

    name: ClassVar[str] = "device"

    def __init__(self, line: Line, file_hash: Callable[[Path], str]) -> None:
        self._line, self._file_hash = line, file_hash
        self._numbers = itertools.count(1)
        self._models: dict[str, FoundModel] = {}
        #: a worker ended by itself
        self.died = False

    def know(self, models: Iterable[FoundModel]) -> None:
        """The models that may be asked for; to be called before a worker is told of one."""
        self._models.update({model.sha256: model for model in models})

    def start(self, launch: Launch) -> Channel:
        number = next(self._numbers)
        return _DeviceChannel(self, self._line, number, self._line.begin(number, launch.backend))

    def bring(self, sha256: str) -> str | None:
        """The model with this hash is on the device afterwards, and where; ``None``: a server has it."""
        found = self._models[sha256]
        if not found.files():
            return None
        root = found.place if found.form == "folder" else found.place.parent
        files = [
            {
                "path": file.relative_to(root).as_posix(),
                "size": file.stat().st_size,
                "sha256": self._file_hash(file),
            }
            for file in found.files()
        ]
        said = self._line.fetch(
            {"sha256": sha256, "root": str(root), "files": files, "hint": str(found.place)}
        )
        if said["kind"] == "unlocated":
            raise JobFailed(f"the device cannot have the model {found.ref}: {said['reason']}")
        return str(said["location"])


class _DeviceChannel(Channel):
    """One worker on the device. What is sent to a device that is gone raises :class:`DeviceLost`."""

    def __init__(
        self, executor: DeviceExecutor, line: Line, number: int, inbox: queue.Queue[bytes | str]
    ) -> None:
        self._executor, self._line, self._number, self._inbox = executor, line, number, inbox
        self._words: str | None = None

    def send(self, frame: bytes) -> None:
        if self._words is not None:
            raise BrokenPipeError(self._words)
        self._line.send(self._number, frame)

    def receive(self, timeout: float) -> bytes | None:
        self._line.check()
        if self._words is not None:
            return None
        try:
            said = self._inbox.get(timeout=timeout)
        except queue.Empty:
            self._line.check()
            raise TimeoutError from None
        self._line.check()
        if isinstance(said, str):
            self._words, self._executor.died = said, True
            return None
        return said

    def locate(self, model: ModelRef, sha256: str) -> ModelRef:
        location = self._executor.bring(sha256)
        return model if location is None else ModelRef(location, model.revision)

    def last_words(self) -> str:
        return self._words or "the device said nothing of its end"

    def close(self, *, kill: bool = False) -> None:
        if self._line.lost is None and self._words is None:
            self._line.say("end", worker=self._number, kill=kill)
            self._wait()
        self._line.forget(self._number)

    def _wait(self) -> None:
        try:
            while self._line.lost is None and not isinstance(self._inbox.get(timeout=_ENDING), str):
                pass
        except queue.Empty:
            return
