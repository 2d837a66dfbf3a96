"""What stands before every request: its host, where it comes from, its body; and what goes with every answer.

It is plain ASGI: a stream that is open for days costs one more call for each of its pieces.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slmeval.errors import SlmevalError
from slmeval.service import answers, bodies
from slmeval.service.auth import caller_of, is_still_allowed
from slmeval.service.bodies import Body, too_long
from slmeval.service.cookies import FRESH, cookie
from slmeval.service.logs import discreet, log_config
from slmeval.service.names import Names, is_same_origin
from slmeval.service.problems import Refused
from slmeval.service.settings import Settings

__all__ = ["Guard", "add_to", "log_config"]

_LOG = logging.getLogger("slmeval.service")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # with "no-referrer", browsers would not say either where a form comes from (Origin: null)
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), "
    "payment=(), usb=()",
}
#: bytes of all headers together
_LONGEST = 65_536
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UPLOADS = "/api/uploads"
_STATIC = "/static/"
#: the only WebSocket
_LINES = "/api/devices/work"
#: what stands in an address once or not at all
_ONCE = ("host", "authorization", "content-type", "content-length", "origin")
_TOKEN = re.compile(r"slm_[A-Za-z0-9_-]{20,}")
_ODD = re.compile(r"[\x00-\x1f\x7f\\]")


def add_to(app: FastAPI, settings: Settings) -> None:
    """Put the guard before an application."""
    answers.add_to(app)
    app.add_middleware(Guard, settings=settings)


class Guard:
    """The application with the guard before it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._names = Names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, partial(_tell_of_life, send))
            return
        scope[FRESH] = {}
        answer = _Answer(scope, send, self._settings)
        try:
            self._check(scope)
            if scope["type"] == "websocket":
                if scope["path"] != _LINES:
                    raise Refused(404, f"no WebSocket is at {scope['path'][:80]!r}")
                await self._hold_line(scope, receive, answer)
                return
            answer.body = body = Body(receive, await self._limit(scope), partial(is_still_allowed, scope))
            await self._app(scope, body.receive, answer.send)
        except SlmevalError as error:
            await answer.instead(Refused(answers.status_of(error), discreet(str(error))))
        except ClientDisconnect:
            pass  # there is nobody to be told
        except asyncio.CancelledError:
            # nothing else cancels a request; its task ends with this
            await answer.instead(Refused(503, "the server is ending: ask again when it is there again"))
        except Exception as error:
            if answer.begun:
                raise
            # what it was is for whoever keeps the server
            _LOG.error("%s %s failed", scope.get("method", ""), scope["path"], exc_info=error)
            await answer.instead(Refused(500, "something failed in the server: its log says what"))
        else:
            await answer.finish()

    async def _hold_line(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        watching = asyncio.ensure_future(_close_when_removed(scope, answer))
        try:
            await self._app(scope, receive, answer.send)
        finally:
            watching.cancel()

    # ---- before --------------------------------------------------------------------------------------

    def _check(self, scope: Scope) -> None:
        """:raises slmeval.service.problems.Refused: it goes no further."""
        headers = Headers(scope=scope)
        _check_form(scope, headers)
        host = headers.get("host", "")
        if not self._names.has(host, scope.get("server")):
            raise Refused(
                421, f"{host[:80]!r} is no name of this server: slmeval serve --allow-host NAME adds one"
            )
        _check_address(scope)
        _check_origin(scope, headers, host)
        if scope["type"] == "http":
            _check_body(scope, headers)

    async def _limit(self, scope: Scope) -> int:
        """Bytes that a body may have; many only from those who may upload, for bodies are kept in memory.

        :raises slmeval.service.problems.Refused: it is said to be longer.
        """
        limit = self._settings.limits.body
        if scope["path"] == _UPLOADS and await _may_submit(scope):
            limit = self._settings.limits.upload
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > limit:
            raise too_long(limit)
        return limit


async def _tell_of_life(send: Send, message: Message) -> None:
    """A start that fails for a reason that we know, of a full disk, say, is told in its sentence alone."""
    last = message.get("message", "").strip().rpartition("\n")[2]
    if message["type"] == "lifespan.startup.failed" and last.startswith("slmeval.errors."):
        message = {**message, "message": last.partition(": ")[2]}
    await send(message)


async def _may_submit(scope: Scope) -> bool:
    caller = await caller_of(HTTPConnection(scope))
    return caller is not None and "submit" in caller.scopes


def _check_body(scope: Scope, headers: Headers) -> None:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and scope["method"] not in _SAFE and scope["path"].startswith("/api/"):
        kind = headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, f"the body is {kind[:80]!r}: send application/json")


async def _close_when_removed(scope: Scope, answer: _Answer) -> None:
    """A device whose token is removed is let go."""
    while await is_still_allowed(scope):
        await asyncio.sleep(bodies.LOOKS)
    # it may have gone by itself this moment
    with suppress(RuntimeError, OSError):
        await answer.send({"type": "websocket.close", "code": 1008, "reason": "the token was removed"})


def _check_form(scope: Scope, headers: Headers) -> None:
    if sum(len(name) + len(value) for name, value in headers.raw) > _LONGEST:
        raise Refused(431, f"the headers of the request are longer than the {_LONGEST:,} bytes taken here")
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            raise Refused(400, f"the header {name} stands there more than once")
    if "transfer-encoding" in headers and "content-length" in headers:
        # what stands before a server may take the other one, and another end of the request
        raise Refused(400, "the request has both Transfer-Encoding and Content-Length: send one of both")
    if _TOKEN.search(unquote(scope.get("query_string", b"").decode("latin-1"))):
        raise Refused(
            400,
            "a token in an address ends up in histories and logs: remove this one (slmeval token remove), and"
            " send the next as Authorization: Bearer TOKEN",
        )


def _check_address(scope: Scope) -> None:
    """No part of an address is meant to lead out of where it is looked up, however often it is decoded."""
    path, before = scope["path"], None
    while path != before:
        if _ODD.search(path) or not {".", ".."}.isdisjoint(path.split("/")):
            raise Refused(404, f"there is nothing at {scope['path'][:80]!r}")
        path, before = unquote(path), path


def _is_no_form(scope: Scope, headers: Headers) -> bool:
    """A program's: no browser sends it elsewhere without asking there first, which is never granted."""
    told = headers.get("content-type", "").partition(";")[0].strip().lower()
    return "cookie" not in headers and (scope["method"] != "POST" or told == "application/json")


def _check_origin(scope: Scope, headers: Headers, host: str) -> None:
    """What changes something must come from here; a page elsewhere may at most lead to one of ours."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if scope["type"] == "websocket":
        if origin is not None and not is_same_origin(origin, host):
            raise Refused(403, f"a page of {origin[:80]!r} may not connect to this server")
        return
    is_ours = site in ("same-origin", "none")
    if scope["method"] in _SAFE:
        if not is_ours and site is not None and headers.get("sec-fetch-mode") != "navigate":
            raise Refused(403, "a page of another site may not use this server")
        return
    if headers.get("authorization", "").lower().startswith("bearer "):
        return
    if site is None and origin is None and _is_no_form(scope, headers):
        return
    # a browser tells the site only where nobody on the way could change it
    if is_ours or (site is None and origin is not None and is_same_origin(origin, host)):
        return
    raise Refused(
        403,
        "where this comes from is not told, or is another site: a program sends Authorization: Bearer TOKEN"
        f" or Content-Type: application/json, a browser Origin: http://{host}",
    )


# ---- after -----------------------------------------------------------------------------------------------


class _Answer:
    """What is sent back, with what goes with every answer; unless the body was refused meanwhile."""

    def __init__(self, scope: Scope, send: Send, settings: Settings) -> None:
        self._scope, self._send, self._settings = scope, send, settings
        self.body: Body | None = None
        self.begun = False

    async def send(self, message: Message) -> None:
        """In place of the server's own."""
        if not self.begun and self._is_refused:
            return
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message = {**message, "headers": list(message.get("headers", ()))}
            self._complete(MutableHeaders(scope=message))
        self.begun = True
        await self._send(message)

    async def finish(self) -> None:
        """The application has no more to say."""
        if self._is_refused and self.body is not None and self.body.refused is not None:
            await self.instead(self.body.refused)

    async def instead(self, refused: Refused) -> None:
        """Tell this, where nothing was told yet."""
        if self.begun:
            return
        self.body = None
        # of what is not read to its end, the rest must not be taken for another request
        response = answers.problem(refused.status, str(refused), {"Connection": "close"})
        await response(self._scope, _nothing, self.send)

    @property
    def _is_refused(self) -> bool:
        return self.body is not None and self.body.refused is not None

    def _complete(self, headers: MutableHeaders) -> None:
        headers.update(_HEADERS)
        if not self._scope["path"].startswith(_STATIC):
            headers["cache-control"] = "no-store"
        elif "cache-control" not in headers:
            headers["cache-control"] = "no-cache"
        fresh: Mapping[str, Any] = self._scope[FRESH]
        for name, value in fresh.items():
            headers.append("set-cookie", cookie(name, value, self._scope))


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
