"""A real `slmeval serve` on the loopback with a store of its own, further devices, and a small client.

All that is started is known by the folder for temporary files that it was given, which whatever it starts
in turn inherits: so what outlives a killed server is found (Linux), and ended when the test is.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmeval.service.keys import Tokens
from slmeval.store import Store

#: states of a submission that nothing follows
ENDED = frozenset({"done", "failed", "cancelled"})
#: a system's proxy has no business between this machine and itself
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# ---- asking ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came back, whatever the status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """Asks one server; with a ``token`` it says it each time."""

    address: str
    token: str | None = None
    seconds: float = 120.0

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; ``body`` is sent as it is where it is bytes, else as JSON.

        :raises OSError: nobody answers.
        """
        given = {"Accept": "application/json", **self._who(), **(headers or {})}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.address + path, data=data, headers=given, method=method)
        try:
            with _OPENER.open(request, timeout=self.seconds) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path: str) -> Any:
        """The JSON that is there."""
        return self._good("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON that came back."""
        return self._good("POST", path, {} if body is None else body)

    def submit(self, **request: Any) -> list[str]:
        """The ids of the runs that a submission became."""
        return [run["id"] for run in self.post("/api/runs", request)["runs"]]

    def state(self, run: str) -> str:
        """Of the submission."""
        return str(self.get(f"/api/runs/{run}")["state"])

    def wait_for(
        self, runs: Sequence[str], states: frozenset[str] = ENDED, seconds: float = 240.0
    ) -> dict[str, str]:
        """Each run's state as soon as all are in ``states``; a server that is away is waited for."""
        found: dict[str, str] = {}

        def are_there() -> bool:
            for run in runs:
                if found.get(run) not in states:
                    found[run] = self.state(run)
            return all(state in states for state in found.values())

        until(are_there, seconds, lambda: f"runs are not in {sorted(states)}, but: {found}")
        return found

    def events(self, path: str = "/api/events", after: int = 0) -> Iterator[dict[str, Any]]:
        """What the stream tells until it ends: {id, event, data}."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after), **self._who()}
        request = urllib.request.Request(self.address + path, headers=headers)
        with closing(_OPENER.open(request, timeout=self.seconds)) as stream:
            told: dict[str, Any] = {}
            for raw in stream:
                name, _, value = raw.decode().rstrip("\r\n").partition(":")
                if name:
                    told[name] = value.removeprefix(" ")
                elif "event" in told:
                    yield {"id": int(told["id"]), "event": told["event"], "data": json.loads(told["data"])}
                    told = {}

    def _who(self) -> dict[str, str]:
        # without a token, what changes something must say that it comes from here
        return {"Authorization": f"Bearer {self.token}"} if self.token else {"Origin": self.address}

    def _good(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.text[:500]}"
        return answer.json()


def until(true: Callable[[], bool], seconds: float, trouble: Callable[[], str]) -> None:
    """Wait; nobody answering (a server that is starting) is no harm.

    :raises AssertionError: it did not come true.
    """
    deadline = time.monotonic() + seconds
    refusal = ""
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except OSError as error:
            refusal = f" ({error})"
        time.sleep(0.05)
    raise AssertionError(f"after {seconds:g} s: {trouble()}{refusal}")


def kept_port() -> tuple[int, socket.socket]:
    """A port that nobody listens on, and what keeps it until it is closed: nobody else is given it.

    On Linux, where a server that is told the port may listen there all the same; elsewhere it is free.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    port = int(kept.getsockname()[1])
    if sys.platform != "linux":
        kept.close()
    return port, kept


# ---- processes ---------------------------------------------------------------------------------------


def marked(folder: Path) -> dict[int, str]:
    """Living processes that were given this folder for temporary files: command lines by pid (Linux)."""
    mark = f"TMPDIR={folder}".encode()
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        if mark in _read(place / "environ").split(b"\0"):
            words = _read(place / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
            found[int(place.name)] = words
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended meanwhile, or is another user's
        return b""


@dataclass
class Started:
    """A process of ours with all that it starts: its temporary files and what it says are in ``folder``."""

    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, again perhaps; what it says is added to the log."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        # a key of whoever runs the tests is not the processes' business
        kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        marks = {"TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**kept, **marks, **self.environment},
                cwd=self.folder,
            )

    def kill(self) -> None:
        """``kill -9``: of this process alone, as when the system runs out of memory."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 90.0) -> int:
        """End it as its user does; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def others(self) -> dict[int, str]:
        """What it started, or started before, and lives: command lines by pid."""
        return {pid: words for pid, words in marked(self.temporary).items() if pid != self._living()}

    def end(self) -> None:
        """End it and all that it left."""
        if self._living() is not None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        for pid in self.others():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def said(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.is_file() else ""

    def _living(self) -> int | None:
        return self.pid if self.process is not None and self.process.poll() is None else None


class Server(Client):
    """`slmeval serve` with a store in ``folder``; ``flags`` are further ones."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        store: Path | None = None,
    ) -> None:
        # from now on, and while it is started again: what is free may be another's a second later
        self.port, self._kept = kept_port()
        super().__init__(f"http://127.0.0.1:{self.port}")
        self.folder, self.store = folder, store or folder / "store.db"
        where = ("--store", str(self.store), "--host", "127.0.0.1", "--port", str(self.port))
        command = (python, "-m", "slmeval", "serve", *where, *flags)
        self.running = Started(command, folder / "server", environment or {})
        self.workers: list[Started] = []

    def start(self, seconds: float = 120.0) -> None:
        """Start it, again perhaps, and wait until it is ready."""
        self.running.start()
        self.wait_ready(seconds)

    def wait_ready(self, seconds: float = 120.0) -> None:
        """:raises AssertionError: it has ended, or is not ready in time."""

        def is_ready() -> bool:
            assert self.running.process is not None
            status = self.running.process.poll()
            assert status is None, f"the server ended with {status}: {self.running.said()}"
            return self.ask("GET", "/readyz").status == 200

        until(is_ready, seconds, lambda: f"the server is not ready: {self.running.said()}")

    def kill(self) -> None:
        """``kill -9`` of the server's own process."""
        self.running.kill()

    def stop(self) -> int:
        """End it as its user does; its exit status."""
        return self.running.stop()

    def add_token(self, name: str, *scopes: str) -> str:
        """A new token; the first one ends that everybody on this machine may ask anything."""
        with Store.open(self.store) as store:
            return Tokens(store).add(name, scopes)

    def worker(
        self,
        name: str,
        *flags: str,
        token: str | None = None,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> Started:
        """Start a device under a name; ended with the server."""
        where = ("--server", self.address, "--name", name, "--cache", str(self.folder / f"cache-{name}"))
        command = (python, "-m", "slmeval", "worker", *where, *flags)
        # a secret on a command line can be read by everybody on the machine
        secret = {"SLMEVAL_TOKEN": token} if token else {}
        started = Started(command, self.folder / f"worker-{name}", {**(environment or {}), **secret})
        self.workers.append(started)
        started.start()
        return started

    def wait_for_devices(self, *names: str, seconds: float = 120.0) -> None:
        """Until devices of these names are here."""
        seen: set[str] = set()

        def are_here() -> bool:
            seen.clear()
            seen.update(each["name"] for each in self.devices() if each.get("state", "here") == "here")
            return seen >= set(names)

        said = [each.said() for each in self.workers]
        until(are_here, seconds, lambda: f"of {names} only {sorted(seen)} are here: {said}")

    def devices(self) -> list[dict[str, Any]]:
        """As the API lists them."""
        listed = self.get("/api/devices")
        return list(listed["devices"] if isinstance(listed, dict) else listed)

    def end(self) -> None:
        """End everything that was started."""
        for each in (*self.workers, self.running):
            each.end()
        self._kept.close()


@contextmanager
def serving(folder: Path, *flags: str, **more: Any) -> Iterator[Server]:
    """A server that is ready; at the end it, its devices and all that they started are ended."""
    server = Server(folder, *flags, **more)
    try:
        server.start()
        yield server
    finally:
        server.end()
