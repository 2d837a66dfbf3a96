"""From what went wrong to what a client is told: one sentence, as JSON for programs, as a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match

from slmeval.errors import SlmevalError, StoreError
from slmeval.service.logs import discreet
from slmeval.service.pages import render
from slmeval.service.problems import Refused

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: of what was given, this many characters are shown
_SHOWN = 80
#: what Starlette says of these says nothing
_SENTENCES = {
    404: "there is nothing at {path}",
    405: "{method} cannot be done at {path}",
}
#: what a 401 has beside
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="slmeval"'}
#: what these give is for programs, whoever asks
_PROGRAMS = ("/api/", "/healthz", "/readyz", "/metrics")


def add_to(app: FastAPI) -> None:
    """Have an application answer so."""
    for kind in (SlmevalError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)


async def _answer(connection: HTTPConnection, error: Exception) -> Response:
    status, headers = status_of(error), dict(getattr(error, "headers", None) or {})
    if status == 401:
        if _is_page(connection) and "authorization" not in connection.headers:
            return RedirectResponse(f"/login?next={_here(connection)}", 303)
        headers.update(_CHALLENGE)
    if status == 405:
        headers["Allow"] = ", ".join(_allowed(connection))
    sentence = sentence_of(error, connection)
    if _wants_page(connection):
        response: Response = render.problem(cast(Request, connection), status, sentence)
        response.headers.update(headers)
        return response
    return problem(status, sentence, headers)


def _allowed(connection: HTTPConnection) -> Iterator[str]:
    """The methods that an address knows: the router tells those of the first route that has it."""
    for method in _METHODS:
        scope = {**connection.scope, "method": method}
        if any(route.matches(scope)[0] == Match.FULL for route in connection.app.routes):
            yield method


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """The body of every error of the API."""
    # escaped where it is not ASCII: half a character cannot be written as UTF-8
    given = {**(_CHALLENGE if status == 401 else {}), **(headers or {})}
    return Response(json.dumps({"error": sentence}), status, given, "application/json")


def status_of(error: Exception) -> int:
    """HTTP's for an error."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, HTTPException):
        return error.status_code
    return 503 if isinstance(error, StoreError) else 422


def sentence_of(error: Exception, connection: HTTPConnection) -> str:
    """What is told of an error."""
    if isinstance(error, RequestValidationError):
        return _of_validation(error.errors())
    if isinstance(error, HTTPException):
        told = _SENTENCES.get(error.status_code, str(error.detail))
        path = repr(connection.scope["path"][:_SHOWN])
        return told.format(path=path, method=connection.scope.get("method", "")) if "{path}" in told else told
    return discreet(str(error))


def _of_validation(errors: Sequence[Any]) -> str:
    """The first of what does not fit: the place, the value and what it should be."""
    first = errors[0]
    place = ".".join(map(str, first["loc"]))[:_SHOWN] or "the request"
    told = str(first["msg"])
    told = told[:1].lower() + told[1:]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "missing":
        return f"{place} is missing{more}"
    if first["type"] == "extra_forbidden":
        return f"{place} is no field of this request: leave it out{more}"
    return discreet(f"{place} is {_shown(first.get('input'))}: {told}{more}")


def _shown(value: Any) -> str:
    """Short, whatever it is."""
    if isinstance(value, (str, bytes)):
        return repr(value[:_SHOWN]) + ("..." if len(value) > _SHOWN else "")
    if isinstance(value, (int, float, bool)) or value is None:
        # a number of millions of digits is not written out
        return "a very large number" if isinstance(value, int) and value.bit_length() > 256 else repr(value)
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "odd"


# ---- pages ---------------------------------------------------------------------------------------------


def _wants_page(connection: HTTPConnection) -> bool:
    if connection.scope["type"] != "http" or connection.scope["path"].startswith(_PROGRAMS):
        return False
    return "text/html" in connection.headers.get("accept", "")


def _is_page(connection: HTTPConnection) -> bool:
    """A page that a person asked for: it is shown when that person has logged in."""
    return _wants_page(connection) and connection.scope["method"] in ("GET", "HEAD")


def _here(connection: HTTPConnection) -> str:
    query = connection.scope.get("query_string", b"").decode("latin-1")
    return quote(connection.scope["path"] + (f"?{query}" if query else ""), safe="/")
