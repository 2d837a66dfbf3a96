"""Who asks, in a request: by a token in a header, by a session's cookie, or nobody in particular."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPBearer
from starlette.datastructures import FormData
from starlette.requests import HTTPConnection, Request
from starlette.types import Scope as ScopeOf
from starlette.websockets import WebSocket

from slmeval.service.cookies import FRESH, form_cookie, session_cookie
from slmeval.service.keys import Caller, Scope
from slmeval.service.problems import Refused
from slmeval.service.service import service_of

__all__ = ["Caller", "caller_of", "checked_form", "form_token", "needs", "of_socket"]

#: for the OpenAPI description; what is sent is read by :func:`caller_of`
_BEARER = HTTPBearer(auto_error=False, description="A token made by: slmeval token add NAME --scopes SCOPES")
_FORM_ID = re.compile(r"[A-Za-z0-9_-]{43}")
#: the most fields that a form may have
_FIELDS = 1000
#: headers that what forwards requests adds: who sent one is not on this machine, then
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def needs(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, who may do what ``scope`` says; 401 without a right token, else 403."""

    async def caller(request: Request, _: Annotated[object, Security(_BEARER)] = None) -> Caller:
        # the layout of pages says who is logged in
        request.state.caller = found = _allowed(await caller_of(request), scope)
        return found

    return caller


async def of_socket(websocket: WebSocket) -> Caller:
    """The device at the other end; by a header alone, for a cookie would let other sites' pages in.

    :raises slmeval.service.problems.Refused: it has no token that lets it work.
    """
    given = _bearer(websocket)
    found = await _of_token(websocket, given) if given is not None else None
    websocket.state.caller = caller = _allowed(found, "work")
    return caller


async def is_still_allowed(scope: ScopeOf) -> bool:
    """Whether who was let in would be let in now."""
    caller = scope.get("state", {}).get("caller")
    return caller is None or await service_of(HTTPConnection(scope)).keys.still(caller)


async def caller_of(connection: HTTPConnection) -> Caller | None:
    """Who asks; ``None``: somebody who must say so first.

    :raises slmeval.service.problems.Refused: with a token that is none of this server's.
    """
    if (token := _bearer(connection)) is not None:
        return await _of_token(connection, token)
    keys = service_of(connection).keys
    sha256 = keys.sessions.token_of(session_of(connection))
    if sha256 is not None and (found := await keys.of_hash(sha256)) is not None:
        return found
    forwarded = any(name in connection.headers for name in _FORWARDED)
    return None if forwarded else await keys.caller(None)


async def _of_token(connection: HTTPConnection, token: str) -> Caller:
    found = await service_of(connection).keys.caller(token)
    if found is None:
        raise Refused(401, "this token is none of this server's: slmeval token list shows those it has")
    return found


def _bearer(connection: HTTPConnection) -> str | None:
    given = connection.headers.get("authorization")
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "the Authorization header is none that is understood here: Bearer TOKEN")
    return token.strip()


def _allowed(caller: Caller | None, scope: Scope) -> Caller:
    if caller is None:
        raise Refused(401, "this needs a token: send it as Authorization: Bearer TOKEN, or log in at /login")
    if scope not in caller.scopes:
        has = ", ".join(sorted(caller.scopes)) or "nothing"
        whose = f"token {caller.name!r} is" if caller.name else "whoever has no token is"
        raise Refused(403, f"this needs the scope {scope!r}, and {whose} for {has}")
    return caller


# ---- cookies and forms ---------------------------------------------------------------------------------


def session_of(connection: HTTPConnection) -> str | None:
    """The id of the session that a request names; whether it is one, the sessions know."""
    return connection.cookies.get(session_cookie(service_of(connection).settings))


def form_token(request: HTTPConnection) -> str:
    """What a form must bring back: bound to the session, or to a cookie that is set with this answer."""
    service = service_of(request)
    session = session_of(request)
    if service.keys.sessions.token_of(session) is not None and session is not None:
        return _marked(service.keys.secret, f"session {session}")
    name, fresh = form_cookie(service.settings), request.scope[FRESH]
    given = fresh.get(name) or request.cookies.get(name, "")
    if not _FORM_ID.fullmatch(given):
        given = fresh[name] = secrets.token_urlsafe(32)
    return _marked(service.keys.secret, f"form {given}")


async def checked_form(request: Request) -> FormData:
    """A dependency: the fields of a form that came from a page of this server; there are no files in it.

    :raises slmeval.service.problems.Refused: it does not bring its ``form_token``.
    """
    form = await request.form(max_files=0, max_fields=_FIELDS)
    given = form.get("form_token")
    if not isinstance(given, str) or not hmac.compare_digest(
        given.encode("utf-8", "replace"), form_token(request).encode()
    ):
        raise Refused(403, "this form is from an earlier session: go back, reload the page, send it again")
    return form


def _marked(secret: bytes, what: str) -> str:
    return hmac.new(secret, what.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
