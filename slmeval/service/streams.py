"""What happens, as it happens: server-sent events, which a client takes up again where it left off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from slmeval.errors import SlmevalError
from slmeval.service.auth import Caller, needs
from slmeval.service.hub import Follower, Hub
from slmeval.service.ledger import ENDED, Ledger
from slmeval.service.news import News
from slmeval.service.problems import Refused
from slmeval.service.schemas import PROBLEMS
from slmeval.service.service import Service, service_of
from slmeval.store import Store

#: streams that are open at most
MOST_STREAMS = 1000
#: seconds between two looks at whether whoever listens still may
CHECK = 10.0
#: the largest id that the ledger can give
LARGEST = 2**63 - 1
#: what a stream begins with: milliseconds after which a client that lost it comes back
_HELLO = b"retry: 2000\n\n"
_BEAT = b": still here\n\n"

_TEXT = {"text/event-stream": {"schema": {"type": "string"}}}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": _TEXT, "description": "events, as they happen"}}
_OVER: dict[int | str, dict[str, Any]] = {
    204: {"description": "the run has ended, and nothing is left to tell"}
}

router = APIRouter()


class EventStream(Response):
    """Events after one, to a run or to all, while the client listens; a run's end with the run.

    ``may_listen`` is asked now and then.
    """

    media_type = "text/event-stream"

    def __init__(
        self, hub: Hub, after: int, run: str | None, may_listen: Callable[[], Awaitable[bool]]
    ) -> None:
        self._hub, self._after, self._run, self._may_listen = hub, after, run, may_listen
        self.status_code, self.background = 200, None
        # a proxy that collects answers would hold events back
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """ASGI's."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._hub.following(self._after, self._run) as follower:
            listening = asyncio.ensure_future(_until_gone(receive))
            listening.add_done_callback(lambda _: follower.end())
            try:
                # what has begun cannot be answered otherwise: the client comes back, and hears of it
                with suppress(SlmevalError, OSError):
                    await self._send_all(follower, send)
            finally:
                listening.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, follower: Follower, send: Send) -> None:
        text, is_last, checked = _HELLO, False, monotonic()
        while True:
            await send({"type": "http.response.body", "body": text, "more_body": True})
            if is_last:
                return
            found = await follower.more()
            if found is None:
                return
            if monotonic() > checked + CHECK:
                checked = monotonic()
                if not await self._may_listen():
                    return
            found, is_last = self._up_to_end(found)
            text = b"".join(news.text for news in found) or _BEAT

    def _up_to_end(self, found: list[News]) -> tuple[list[News], bool]:
        """What is before the run's end, with it; whether it was there."""
        if self._run is not None:
            for place, news in enumerate(found):
                if news.event.kind in ENDED:
                    return found[: place + 1], True
        return found, False


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# ---- where it left off -------------------------------------------------------------------------------

_After = Annotated[
    int | None,
    Query(ge=0, le=LARGEST, description="the id of the last event that is known: those after it are told"),
]
_LastEvent = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID", description="as `after`, and before it: what a client says that comes back"
    ),
]


def _left_off(after: int | None, last_event_id: str | None) -> int | None:
    """The id after which events are told; a header stands before an address, which stays as it was.

    :raises Refused: the header is no id.
    """
    if not last_event_id:
        return after
    if last_event_id.isascii() and last_event_id.isdigit() and int(last_event_id[:20]) <= LARGEST:
        return int(last_event_id[:20])
    said = ascii(last_event_id[:40])
    raise Refused(422, f"Last-Event-ID is {said}: give the id of an event, a whole number, or leave it out")


@dataclass(frozen=True)
class _Standing:
    """How a run stands: whether there is one, and its last event if it has ended (0: none was ever told)."""

    newest: int
    is_known: bool = True
    end: int | None = None


def _stand(store: Store, run: str | None) -> _Standing:
    newest = Ledger(store).last_event()
    if run is None:
        return _Standing(newest)
    submission = Ledger(store).submission(run)
    if submission is None:
        made_elsewhere = store.select("SELECT 1 FROM runs WHERE id = ?", run)
        return _Standing(newest, bool(made_elsewhere), 0)
    if submission.state not in ENDED:
        return _Standing(newest)
    marks = ",".join("?" * len(ENDED))
    ((end,),) = store.select(
        f"SELECT coalesce(min(id), 0) FROM events WHERE run = ? AND kind IN ({marks})", run, *ENDED
    )
    return _Standing(newest, end=int(end))


async def _stream(service: Service, caller: Caller, after: int | None, run: str | None) -> Response:
    standing = await service.desk.read(lambda store: _stand(store, run))
    if not standing.is_known:
        raise Refused(404, f"there is no run {run!a}: GET /api/runs lists those that there are")
    if after is None:
        after = standing.newest if run is None else 0
    # an id that was never given is of another store: what happens from now on
    after = min(after, standing.newest)
    if standing.end is not None and after >= standing.end:
        # 204 tells a client not to come back
        return Response(status_code=HTTPStatus.NO_CONTENT)
    if service.hub.followers >= MOST_STREAMS:
        raise Refused(503, f"{MOST_STREAMS} streams are open, the most that there may be: close one")
    return EventStream(service.hub, after, run, partial(service.keys.still, caller))


_Reader = Annotated[Caller, Depends(needs("read"))]


@router.get(
    "/api/events",
    tags=["events"],
    response_class=EventStream,
    status_code=200,
    responses={**PROBLEMS, **_STREAM},
)
async def events(
    request: Request, caller: _Reader, after: _After = None, last_event_id: _LastEvent = None
) -> Response:
    """All that happens, of all runs and devices: from now on, or after an event."""
    return await _stream(service_of(request), caller, _left_off(after, last_event_id), None)


@router.get(
    "/api/runs/{run}/events",
    tags=["events"],
    response_class=EventStream,
    status_code=200,
    responses={**PROBLEMS, **_STREAM, **_OVER},
)
async def events_of_run(
    request: Request,
    caller: _Reader,
    run: str,
    after: _After = None,
    last_event_id: _LastEvent = None,
) -> Response:
    """What happens to a run, from its beginning or after an event; the stream ends when it has."""
    return await _stream(service_of(request), caller, _left_off(after, last_event_id), run)
