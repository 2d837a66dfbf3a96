"""What happens to the server and not to a run: a full disk, a store that others hold, a lost terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from slmeval.errors import JobFailed, StoreError, UsageError
from slmeval.protocol import ProtocolError, decode
from slmeval.service import conductor, server
from slmeval.service.app import create_app
from slmeval.service.guard import Guard
from slmeval.service.ledger import Ledger
from slmeval.service.settings import Settings

FULL = "the store s has no room left on its disk"


def fail_while_running() -> NoReturn:
    """As :func:`slmeval.run.execute` does."""
    try:
        raise StoreError(FULL)
    except StoreError as error:
        raise JobFailed(f"{error}; then go on with: slmeval run --resume r") from None


def fail_at_the_store() -> NoReturn:
    raise StoreError(FULL)


def fail_by_itself() -> NoReturn:
    raise JobFailed("the engine is broken")


def fail_by_a_lie() -> NoReturn:
    raise KeyError("replies")


def fail_to_begin() -> NoReturn:
    raise UsageError("no such task")


@pytest.mark.parametrize(
    ("fail", "status", "reason"),
    [
        (fail_while_running, "interrupted", FULL),
        (fail_at_the_store, "interrupted", FULL),
        (fail_by_itself, "failed", "the engine is broken"),
        (fail_to_begin, "refused", "no such task"),
        (fail_by_a_lie, "died", "it could not be carried out: KeyError: 'replies'"),
    ],
)
def test_the_stores_trouble_is_not_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Any, status: str, reason: str
) -> None:
    monkeypatch.setattr(conductor, "_run", lambda *_: fail())
    ending = conductor.conduct(SimpleNamespace(lost=None), {"store": str(tmp_path / "s.db")})  # type: ignore[arg-type]
    assert (ending.status, ending.reason) == (status, reason)


def test_a_frame_of_brackets_is_no_message() -> None:
    with pytest.raises(ProtocolError, match="not JSON"):
        decode(b"[" * 200_000)


def test_a_start_that_a_full_disk_prevents_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise StoreError(FULL)

    monkeypatch.setattr(Ledger, "submissions", full)
    said = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        said.append(message)

    async def main() -> None:
        app = create_app(Settings(tmp_path / "s.db", worker=False))
        with pytest.raises(StoreError):
            await app({"type": "lifespan", "state": {}}, receive, send)

    asyncio.run(main())
    assert said == [{"type": "lifespan.startup.failed", "message": FULL}]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_an_agent_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_GRACE", 0.2)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True);"
        " time.sleep(900)"
    )

    async def main() -> int | None:
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", deaf, stdout=asyncio.subprocess.PIPE
        )
        assert agent.stdout is not None
        await agent.stdout.readline()
        await server._end(agent)
        return agent.returncode

    assert asyncio.run(main()) == -signal.SIGKILL


def test_who_is_still_sending_when_the_server_ends_is_told_so(tmp_path: Path) -> None:
    said: list[Any] = []

    waited_for = asyncio.Event()

    async def receive() -> Any:
        waited_for.set()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message)

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def main() -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/runs",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "server": ("127.0.0.1", 80),
        }
        guarded = asyncio.ensure_future(Guard(reading, Settings(tmp_path / "s.db"))(scope, receive, send))
        await waited_for.wait()
        guarded.cancel()
        await guarded

    asyncio.run(main())
    assert (said[0]["status"], b"the server is ending" in said[1]["body"]) == (503, True)
