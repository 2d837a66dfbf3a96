"""The workers that run here for a server: each a process, its frames passed on both ways."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial

from slmeval.api import Backend, Channel, Executor
from slmeval.errors import SlmevalError
from slmeval.head_start import start
from slmeval.places import HERE
from slmeval.service.wire import LONGEST_FRAME, pack_frame, pack_message
from slmeval.text import clean

#: seconds after which a worker is looked at that says nothing: what it began may hold its pipe open
_LOOK = 1.0
#: seconds in which a worker must have taken what it was sent before it is ended
_GRACE = 5.0
#: characters of a worker's last words
_LONGEST_WORDS = 4000

#: workers at a time: a run has one for each of its sides
_MOST = 16

Say = Callable[[str | bytes], None]


class Workers:
    """Those of one line to a server; ``say`` sends to it."""

    def __init__(self, backends: Mapping[str, type[Backend]], executor: Executor, say: Say) -> None:
        self._backends, self._executor, self._say = backends, executor, say
        self._workers: dict[int, _Worker] = {}
        self._lock = threading.Lock()

    @property
    def are_idle(self) -> bool:
        """Whether none runs."""
        return not self._workers

    def start(self, number: int, backend: str) -> None:
        """Begin one; where that is not possible it is gone at once, and says why."""
        if backend not in self._backends:
            self._say_gone(number, f"this device does not have backend {clean(repr(backend))}")
        elif number in self._workers:
            self._say_gone(number, f"there is a worker {number} already")
        elif len(self._workers) >= _MOST:
            self._say_gone(number, f"this device has {_MOST} workers already, the most that it may")
        else:
            try:
                engine = self._backends[backend]
                channel = start(self._executor, engine, HERE.python(engine))
            except SlmevalError as error:
                self._say_gone(number, str(error))
                return
            worker = _Worker(number, channel, self._say, self._forget)
            with self._lock:
                self._workers[number] = worker
            worker.begin()

    def send(self, number: int, frame: bytes) -> None:
        """A frame to one; what is for one that has ended is for nobody."""
        worker = self._workers.get(number)
        if worker is not None:
            worker.send(frame)

    def end(self, number: int, *, kill: bool) -> None:
        """End one; it says when it is gone."""
        worker = self._workers.get(number)
        if worker is not None:
            threading.Thread(target=worker.end, args=(kill,), daemon=True, name="slmeval-end").start()

    def clear(self) -> None:
        """End all at once, and wait until they are gone."""
        left = list(self._workers.values())
        for worker in left:
            worker.end(True)
        for worker in left:
            worker.wait()

    def _forget(self, number: int, words: str) -> None:
        with self._lock:
            self._workers.pop(number, None)
        self._say_gone(number, words)

    def _say_gone(self, number: int, words: str) -> None:
        self._say(pack_message("gone", worker=number, words=words.replace("\0", "")[:_LONGEST_WORDS]))


class _Worker:
    """One: a thread passes on what it says, another what it is sent, so that a hung one holds up nobody."""

    def __init__(self, number: int, channel: Channel, say: Say, gone: Callable[[int, str], None]) -> None:
        self._number, self._channel, self._say, self._gone = number, channel, say, gone
        self._sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True, name="slmeval-from-worker")
        self._writer = threading.Thread(target=self._write, daemon=True, name="slmeval-to-worker")
        self._ending = threading.Lock()
        self._words: str | None = None

    def begin(self) -> None:
        """Pass frames on from now on."""
        self._listener.start()
        self._writer.start()

    def send(self, frame: bytes) -> None:
        """To the worker, when it takes it."""
        self._sent.put(frame)

    def end(self, kill: bool, words: str = "it was ended") -> None:
        """With ``kill`` at once, else when it has taken what it was sent."""
        if not kill:
            self._sent.put(None)
            self._writer.join(_GRACE)
        self._close(partial(str, words), kill=kill or self._writer.is_alive())

    def wait(self) -> None:
        """Until it has said that it is gone."""
        self._listener.join()

    def _close(self, words: Callable[[], str], *, kill: bool) -> None:
        """End it, if nobody has; afterwards its process is gone."""
        with self._ending:
            if self._words is None:
                self._words = words()
                self._channel.close(kill=kill)
        self._sent.put(None)

    def _listen(self) -> None:
        while (frame := self._next()) is not None:
            if len(frame) > LONGEST_FRAME:
                words = f"it said a frame of {len(frame):,} bytes, more than is passed on"
                self._close(partial(str, words), kill=True)
                break
            self._say(pack_frame(self._number, frame))
        self._close(self._channel.last_words, kill=True)
        self._gone(self._number, self._words or "")

    def _next(self) -> bytes | None:
        while True:
            try:
                return self._channel.receive(_LOOK)
            except TimeoutError:
                if self._words is not None:
                    return None

    def _write(self) -> None:
        while (frame := self._sent.get()) is not None:
            try:
                self._channel.send(frame)
            except OSError:
                return  # it has ended, and the other thread says so
