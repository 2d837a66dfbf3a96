"""Where workers live: ``process``, an interpreter of its own; ``local``, a thread of this process."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import BinaryIO

from slmeval.api import Channel, Executor, Launch
from slmeval.errors import UsageError
from slmeval.frames import read_frame, write_frame
from slmeval.hookspecs import hookimpl

#: seconds that a worker is given to end by itself once its input has ended
_GRACE = 5.0
#: bytes of a worker's stderr that are kept as its last words
_LAST_WORDS = 4000


class StreamChannel(Channel):
    """Frames over two byte streams; a thread reads, so that ``receive`` can time out."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self._frames: queue.Queue[bytes | None] = queue.Queue()
        self._left = False
        self._listener = threading.Thread(target=self._listen, daemon=True, name="slmeval-channel-reader")
        self._listener.start()

    def _listen(self) -> None:
        try:
            while (frame := read_frame(self._reader)) is not None:
                self._frames.put(frame)
        except (OSError, ValueError):
            pass  # closed under us, or damaged: either way nothing more comes
        self._frames.put(None)
        if self._left:
            _close_quietly(self._reader)

    def send(self, frame: bytes) -> None:
        try:
            write_frame(self._writer, frame)
        except ValueError as error:
            raise BrokenPipeError(str(error)) from None

    def receive(self, timeout: float) -> bytes | None:
        try:
            frame = self._frames.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if frame is None:
            self._frames.put(None)  # whoever asks again hears the same
        return frame

    def last_words(self) -> str:
        return "its thread ended"

    def close(self, *, kill: bool = False) -> None:  # noqa: ARG002  a thread cannot be killed
        _close_quietly(self._writer)
        self._close_reader()

    def _close_reader(self) -> None:
        # closing a stream that another thread reads would wait for that read: that thread does it then
        self._left = True
        self._listener.join(_GRACE)
        if not self._listener.is_alive():
            _close_quietly(self._reader)


class ProcessChannel(StreamChannel):
    """A worker in a child process, its stderr kept in a file until it is needed."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the channel
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
            )
        except OSError as error:
            self._stderr.close()
            raise UsageError(f"cannot start a worker with {command[0]}: {error.strerror}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        super().__init__(self._process.stdout, self._process.stdin)  # type: ignore[arg-type]

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def last_words(self) -> str:
        status = _describe_status(self._wait(_GRACE))
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _LAST_WORDS))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"{status}; it said: {lines[-1]}" if lines else status

    def close(self, *, kill: bool = False) -> None:
        # first: a thread that writes to a worker that does not read would hold up the closing
        if kill:
            self._process.kill()
        _close_quietly(self._writer)
        if self._wait(_GRACE) is None:
            self._process.kill()
            self._process.wait()
        self._close_reader()
        self._stderr.close()

    def _wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def _close_quietly(stream: BinaryIO) -> None:
    # an error means that the other end is gone already
    with suppress(OSError):
        stream.close()


def _describe_status(status: int | None) -> str:
    if status is None:
        return "the worker closed its pipe and hangs"
    if status >= 0:
        return f"the worker ended with status {status}"
    name = signal.Signals(-status).name
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"the worker was ended by {name}{hint}"


class ProcessExecutor(Executor):
    """Each job in a child process: what it held is surely given back, and its crash is its own."""

    name = "process"

    def start(self, launch: Launch) -> Channel:
        return ProcessChannel(launch.command)


class LocalExecutor(Executor):
    """Each job in a thread of this process: for tests and debugging. It cannot be killed."""

    name = "local"

    def start(self, launch: Launch) -> Channel:
        (read_here, write_there), (read_there, write_here) = os.pipe(), os.pipe()
        there = os.fdopen(read_there, "rb"), os.fdopen(write_there, "wb")

        def run() -> None:
            with there[0], there[1]:
                launch.serve(*there)

        threading.Thread(target=run, daemon=True, name="slmeval-local-worker").start()
        return StreamChannel(os.fdopen(read_here, "rb"), os.fdopen(write_here, "wb"))


@hookimpl
def slmeval_register_executors() -> Iterable[type[Executor]]:
    """The two executors that need nothing."""
    return (ProcessExecutor, LocalExecutor)
