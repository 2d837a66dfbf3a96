"""The pipes between the server and the process that carries out a run, seen from that process."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

from slmeval.frames import read_frame, write_frame
from slmeval.service.wire import Message, pack_frame, pack_message, unpack_frame, unpack_message

#: the first byte of each frame on the pipes
CONTROL, DATA = b"c", b"d"
#: seconds that the run is given to put away what it has once the server is gone
_GRACE = 10.0


class DeviceLost(KeyboardInterrupt):
    """The device is gone: the run ends as one that was interrupted does, and can go on."""


class Line:
    """What is said to the server, and what it says, sorted by whom it is for. A thread reads.

    A cancel, and the server's end, interrupt the main thread as Ctrl-C does.
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._writing = threading.Lock()
        self._workers: dict[int, queue.Queue[bytes | str]] = {}
        self._run: queue.Queue[Message] = queue.Queue()
        self._located: queue.Queue[Message] = queue.Queue()
        self._interrupted = False
        #: why the device is gone, once it is
        self.lost: str | None = None
        #: the server asked for the end
        self.cancelled = False
        #: nothing is to be interrupted any more
        self.closing = False
        threading.Thread(target=self._listen, daemon=True, name="slmeval-line").start()

    # ---- to the server -----------------------------------------------------------------------------

    def say(self, kind: str, **fields: Any) -> None:
        """A control message."""
        self._write(CONTROL + pack_message(kind, **fields).encode())

    def send(self, worker: int, frame: bytes) -> None:
        """A frame to a worker.

        :raises DeviceLost: the device is gone.
        """
        self.check()
        self._write(DATA + pack_frame(worker, frame))

    def _write(self, frame: bytes) -> None:
        try:
            with self._writing:
                write_frame(self._writer, frame)
        except (OSError, ValueError):
            self.lost = self.lost or "the server is gone"

    # ---- from the server ---------------------------------------------------------------------------

    def task(self) -> Message:
        """What is to be run; waited for."""
        return self._run.get()

    def check(self) -> None:
        """:raises DeviceLost: the device is gone."""
        if self.lost is not None:
            raise DeviceLost(self.lost)

    def begin(self, worker: int, backend: str) -> queue.Queue[bytes | str]:
        """Have a worker started; what comes from it: frames, and at its end, as a text, its last words."""
        self.check()
        inbox: queue.Queue[bytes | str] = queue.Queue()
        self._workers[worker] = inbox
        self.say("start", worker=worker, backend=backend)
        return inbox

    def forget(self, worker: int) -> None:
        """What still comes from a worker is for nobody."""
        self._workers.pop(worker, None)

    def fetch(self, request: Mapping[str, Any]) -> Message:
        """Have a model brought to the device; waited for.

        :raises DeviceLost: the device is gone.
        """
        self.say("fetch", **request)
        while True:
            self.check()
            try:
                message = self._located.get(timeout=0.5)
            except queue.Empty:
                continue
            if message.get("sha256") == request["sha256"]:
                return message

    def _listen(self) -> None:
        try:
            while (frame := read_frame(self._reader)) is not None:
                if frame[:1] == DATA:
                    worker, payload = unpack_frame(frame[1:])
                    self._give(worker, payload)
                else:
                    self._hear(unpack_message(frame[1:]))
        except (OSError, ValueError):
            pass  # damaged or closed: either way nothing more comes
        self.lost = self.lost or "the server is gone"
        self._interrupt()
        time.sleep(_GRACE)
        os._exit(1)

    def _hear(self, message: Message) -> None:
        if message["kind"] == "run":
            self._run.put(message)
        elif message["kind"] == "cancel":
            self.cancelled = True
            self._interrupt()
        elif message["kind"] == "lost":
            self.lost = str(message["reason"])
            for inbox in list(self._workers.values()):
                inbox.put("")  # wakes who waits; who asks hears that the device is lost
        elif message["kind"] == "gone":
            self._give(int(message["worker"]), str(message["words"]))
        elif message["kind"] in ("located", "unlocated"):
            self._located.put(message)

    def _give(self, worker: int, what: bytes | str) -> None:
        if (inbox := self._workers.get(worker)) is not None:
            inbox.put(what)

    def _interrupt(self) -> None:
        if self._interrupted or self.closing:
            return
        self._interrupted = True
        # to that very thread: it may wait for a lock, and another's signal would not wake it
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
