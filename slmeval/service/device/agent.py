"""A device at work: it keeps a line to its server, runs workers for it, and comes back when it is cut."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from slmeval.api import Backend, Executor
from slmeval.errors import UsageError
from slmeval.machine import largest_memory
from slmeval.service.device.abilities import hello
from slmeval.service.device.address import Address
from slmeval.service.device.fetching import CannotFetch, Fetcher
from slmeval.service.device.wanted import Unwanted, Wanted, read_wanted
from slmeval.service.device.working import Workers
from slmeval.service.wire import LONGEST, Message, WireError, pack_message, unpack_frame, unpack_message
from slmeval.text import clean

#: seconds before the line is tried again: the first, and the longest
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
#: seconds that a line must have held to be one that is tried again as soon as it is cut
_STEADY = 1.0
#: seconds in which the server must answer a hello, and in which a ping must be answered: it may have to wait
#: behind a long frame
_PATIENCE, _PING_PATIENCE = 30.0, 90.0
#: seconds between two beats
_BEAT = 10.0
#: answers of a server that are the same however often it is asked
_FINAL = (401, 403)
#: characters of a reason
_LONGEST_WORDS = 2000


@dataclass(frozen=True)
class Station:
    """A device and what it works with. ``is_servers``: it is on the server's own machine, as its child."""

    name: str
    backends: Mapping[str, type[Backend]]
    executor: Executor
    cache: Path
    is_servers: bool = False
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)


class _TurnedAwayError(Exception):
    """The server does not want this device now."""


def work(station: Station, address: Address, tell: Callable[[str], None]) -> None:
    """Work for a server until the process ends; ``tell`` hears what a person should know.

    :raises UsageError: the server will not have this device, and why.
    """
    fetcher = Fetcher(address, station.cache)
    pause = _FIRST_PAUSE
    while True:
        began = time.monotonic()
        trouble = _work_once(station, address, fetcher, tell)
        pause = _FIRST_PAUSE if time.monotonic() - began > _STEADY else pause
        tell(f"{address.url}: {clean(trouble)}: tried again in {pause:g} s")
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


def _work_once(station: Station, address: Address, fetcher: Fetcher, tell: Callable[[str], None]) -> str:
    """Work until the line is cut, and say why it was.

    :raises UsageError: trying again is no use.
    """
    try:
        with connect(address.work, **_manner(address)) as connection:
            _Shift(station, fetcher, connection).work(lambda: tell(f"works for {address.url}"))
        return "the server has ended the line"
    except InvalidStatus as error:
        trouble = _refusal(error)
        if error.response.status_code in _FINAL:
            raise UsageError(f"{address.url}: {trouble}") from None
        return trouble
    except InvalidURI as error:
        raise UsageError(f"--server {address.url}: {error}") from None
    except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed, WireError, _TurnedAwayError) as error:
        return str(error) or type(error).__name__


def _manner(address: Address) -> dict[str, Any]:
    """How the line is made and kept."""
    return {
        "additional_headers": address.headers,
        # numbers do not compress well, and the other end would have to
        "compression": None,
        "proxy": None if address.is_here else True,
        "open_timeout": _PATIENCE,
        "close_timeout": 2.0,
        "ping_timeout": _PING_PATIENCE,
        "max_size": LONGEST,
    }


def _refusal(error: InvalidStatus) -> str:
    """What the server says of its refusal, if it says something."""
    status = error.response.status_code
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(error.response.body or b"")["error"])[:_LONGEST_WORDS]
    return f"it answers {status}, and not as a server of slmeval does"


class _Shift:
    """One line to the server, from hello to its end."""

    def __init__(self, station: Station, fetcher: Fetcher, connection: ClientConnection) -> None:
        self._station, self._fetcher, self._connection = station, fetcher, connection
        self._workers = Workers(station.backends, station.executor, self._say)
        self._over = threading.Event()
        #: set when what is being fetched is not wanted any more; another one for what comes later
        self._given_up = threading.Event()
        self._telling = threading.Lock()

    def work(self, welcome: Callable[[], None]) -> None:
        """Do what the server says until the line ends; then end all workers.

        :raises UsageError: it will not have this device.
        """
        try:
            self._greet()
            welcome()
            threading.Thread(target=self._beat, daemon=True, name="slmeval-beat").start()
            for said in self._connection:
                self._hear(said)
        finally:
            self._over.set()
            self._given_up.set()
            self._workers.clear()

    def _greet(self) -> None:
        station = self._station
        self._connection.send(hello(station.name, station.instance, sorted(station.backends)))
        said = self._connection.recv(timeout=_PATIENCE)
        message = unpack_message(said)
        self._heed(message)
        if message["kind"] != "welcome":
            raise WireError(f"a server that answers a hello with {message['kind']!r}")

    def _heed(self, message: Message) -> None:
        """Stop where the server does not want this device."""
        if message["kind"] == "refused":
            reason = clean(str(message.get("reason")))[:_LONGEST_WORDS]
            if message.get("final"):
                raise UsageError(f"the server refuses this device: {reason}")
            raise _TurnedAwayError(reason)

    def _hear(self, said: str | bytes) -> None:
        if isinstance(said, bytes):
            self._workers.send(*unpack_frame(said))
            return
        message = unpack_message(said)
        self._heed(message)
        kind = message["kind"]
        if kind == "start":
            self._workers.start(_worker(message), str(message.get("backend")))
        elif kind == "end":
            self._workers.end(_worker(message), kill=message.get("kill") is True)
        elif kind == "fetch":
            self._fetch(message)
        elif kind == "clear":
            self._clear()
        else:
            raise WireError(f"a server that says {kind!r}")

    def _clear(self) -> None:
        with self._telling:
            self._given_up.set()
            self._given_up = threading.Event()
        self._workers.clear()
        self._say(pack_message("cleared"))

    def _say(self, said: str | bytes) -> None:
        # at its end it is the device that leaves: its workers did not die
        if self._over.is_set():
            return
        # a line that is cut is noticed where it is listened to
        with suppress(ConnectionClosed):
            self._connection.send(said)

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            if self._workers.are_idle:
                self._say(pack_message("beat", memory=largest_memory()))

    # ---- models ------------------------------------------------------------------------------------

    def _fetch(self, message: Message) -> None:
        given_up = self._given_up
        try:
            wanted = read_wanted(message)
        except Unwanted as error:
            self._tell_of(str(message.get("sha256")), given_up, reason=str(error))
            return
        if wanted.hint is not None and self._station.is_servers:
            self._tell_of(wanted.sha256, given_up, location=wanted.hint)
            return
        threading.Thread(
            target=self._bring, args=(wanted, given_up), daemon=True, name="slmeval-fetch"
        ).start()

    def _bring(self, wanted: Wanted, given_up: threading.Event) -> None:
        try:
            location = self._fetcher.fetch(wanted, given_up)
        except CannotFetch as error:
            self._tell_of(wanted.sha256, given_up, reason=str(error))
        except Exception as error:  # noqa: BLE001  the run waits for an answer
            self._tell_of(wanted.sha256, given_up, reason=f"{type(error).__name__}: {error}")
        else:
            self._tell_of(wanted.sha256, given_up, location=location)

    def _tell_of(self, sha256: str, given_up: threading.Event, **told: str) -> None:
        """Of a model that is still wanted: after a clear nothing of before is said."""
        kind = "located" if "location" in told else "unlocated"
        said = pack_message(
            kind, sha256=sha256, **{name: text[:_LONGEST_WORDS] for name, text in told.items()}
        )
        with self._telling:
            if not given_up.is_set():
                self._say(said)


def _worker(message: Message) -> int:
    number = message.get("worker")
    if type(number) is not int or not 0 <= number < 2**32:
        raise WireError(f"a worker whose number is {number!r}")
    return number
