"""Tokens over the API, for those who may do everything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from slmeval.service.auth import Caller, needs
from slmeval.service.keys import NAME, NameTaken
from slmeval.service.problems import Refused
from slmeval.service.schemas import PROBLEMS, Problem, TokenKnown, TokenMade, TokenRequest
from slmeval.service.service import service_of
from slmeval.service.strict import StrictRoute

router = APIRouter(prefix="/api/tokens", tags=["tokens"], responses=PROBLEMS, route_class=StrictRoute)

_Admin = Annotated[Caller, Depends(needs("admin"))]
_Name = Annotated[
    str, Path(pattern=f"^{NAME.pattern}$", description="The name that the token was made with.")
]


@router.get("")
async def tokens(request: Request, _: _Admin) -> list[TokenKnown]:
    """All tokens, without what is secret."""
    listed = await service_of(request).keys.listed()
    return [TokenKnown(name=each.name, scopes=list(each.scopes), created=each.created) for each in listed]


@router.post("", status_code=201, responses={409: {"model": Problem, "description": "The name is taken."}})
async def add_token(request: Request, asked: TokenRequest, _: _Admin) -> TokenMade:
    """Make a token. It is told in this answer, and never again."""
    try:
        token = await service_of(request).keys.add(asked.name, asked.scopes)
    except NameTaken as error:
        raise Refused(409, str(error)) from None
    return TokenMade(name=asked.name, scopes=asked.scopes, token=token)


@router.delete("/{name}", status_code=204)
async def remove_token(request: Request, name: _Name, _: _Admin) -> None:
    """A token is worth nothing from now on, and the sessions that were opened with it end."""
    if not await service_of(request).keys.remove(name):
        raise Refused(404, f"there is no token {name!r}: GET /api/tokens lists them")
