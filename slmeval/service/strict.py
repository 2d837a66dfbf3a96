"""Requests read strictly: no unknown parameter, nothing twice in a body; in a sentence what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from slmeval.errors import DataError, UnknownName
from slmeval.json_file import document_in
from slmeval.service.auth import caller_of
from slmeval.service.logs import discreet
from slmeval.service.problems import Refused


class StrictRoute(APIRoute):
    """A route whose requests are read so, for ``route_class=`` of a router."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own, over a request that is read strictly."""
        handle = super().get_route_handler()
        known = {parameter.alias for parameter in self.dependant.query_params}

        async def strict(request: Request) -> Response:
            unknown = next((name for name in request.query_params if name not in known), None)
            # who has no token is told that first, by the route
            if unknown is not None and await caller_of(request) is not None:
                raise UnknownName("parameter of this request", discreet(unknown[:80]), known)
            _refuse_packed(request.headers.get("content-encoding", ""))
            return await handle(_Strict(request.scope, request.receive))

        return strict


def _refuse_packed(encoding: str) -> None:
    if encoding.lower() not in ("", "identity"):
        raise Refused(415, f"the body is packed ({discreet(encoding[:80])}): send it plain")


class _Strict(Request):
    async def json(self) -> Any:
        try:
            return document_in(await self.body(), "the body")
        except DataError as error:
            # FastAPI has no ear for other errors here
            raise HTTPException(422, discreet(str(error))) from None
