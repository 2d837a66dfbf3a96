"""What the API takes and gives, as its OpenAPI description shows it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

# ---- what goes wrong -----------------------------------------------------------------------------------


class Problem(BaseModel):
    """Every error of the API."""

    model_config = ConfigDict(extra="forbid")

    #: one sentence: the value, the place and the way out
    error: str


def _problem(description: str) -> dict[str, Any]:
    return {"model": Problem, "description": description}


#: what any route may answer instead, for ``responses=`` of a router
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem("The request is not what HTTP, or this server's addresses, allow."),
    401: _problem("A token is needed, or the one given is none of this server's."),
    403: _problem("The token is not for this, or the request came from another site."),
    404: _problem("There is no such thing."),
    408: _problem("The body did not come in time."),
    413: _problem("The body is longer than the server takes."),
    415: _problem("The body is not application/json."),
    421: _problem("The Host header does not name this server."),
    422: _problem("The request cannot be carried out as it is given."),
    503: _problem("The store cannot be read or written now."),
}
