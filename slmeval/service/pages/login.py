"""Logging in with a token, and out again."""

from __future__ import annotations

import re
from math import ceil
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, RedirectResponse, Response

from slmeval.service.auth import caller_of, checked_form, session_of
from slmeval.service.cookies import FRESH, session_cookie
from slmeval.service.keys import Keys, hash_of
from slmeval.service.pages import render
from slmeval.service.service import service_of
from slmeval.service.settings import is_loopback

router = APIRouter(include_in_schema=False)

#: addresses that are no page to come back to
_NO_PAGES = ("/login", "/logout", "/api/", "/static/")
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
_LONGEST = 2000


@router.get("/login")
async def ask(request: Request, next: str = "/") -> Response:  # noqa: A002  as the address has it
    """The form; who is logged in already is led on."""
    after = local(next)
    caller = await caller_of(request) if session_of(request) else None
    if caller is not None and caller.name:
        return RedirectResponse(after, 303)
    # a link on another site brings no cookie along; one from here does, where there is one
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return render.page(request, "login_again.html", again=f"/login?next={quote(after, safe='/')}")
    return _form(request, after)


@router.post("/login")
async def log_in(request: Request, form: Annotated[FormData, Depends(checked_form)]) -> Response:
    """A session for whoever has a token that reads."""
    keys = service_of(request).keys
    after, address = local(_text(form, "next")), _address(request)
    if (seconds := keys.slowing.wait(address)) > 0:
        wait = ceil(seconds)
        sentence = f"too many wrong tokens came from your address: try again in {wait} s"
        return _form(request, after, 429, sentence, {"Retry-After": str(wait)})
    token = _text(form, "token").strip()
    if trouble := await _trouble(keys, token):
        keys.slowing.count(address)
        return _form(request, after, 403, trouble)
    _end(request)
    request.scope[FRESH][session_cookie(service_of(request).settings)] = keys.sessions.open(hash_of(token))
    return RedirectResponse(after, 303)


@router.post("/logout")
async def log_out(request: Request, _: Annotated[FormData, Depends(checked_form)]) -> Response:
    """The end of the session."""
    _end(request)
    request.scope[FRESH][session_cookie(service_of(request).settings)] = ""
    return RedirectResponse("/login", 303)


def local(address: str) -> str:
    """A page of this server, to which one may be led after logging in; "/" instead of anything else."""
    if len(address) > _LONGEST or not address.startswith("/") or _ODD.search(address):
        return "/"
    # two slashes begin the name of a host
    if address.startswith("//") or urlsplit(address).netloc or address.startswith(_NO_PAGES):
        return "/"
    return address


def _address(request: Request) -> str:
    """Where a request comes from; of what comes through a proxy on this machine, what that one says."""
    address = request.client.host if request.client else ""
    told = request.headers.get("x-forwarded-for", "")
    if told and is_loopback(address) and service_of(request).settings.hosts:
        # what stands before the last one is what the client itself claims
        return told.rpartition(",")[2].strip()[:100]
    return address


async def _trouble(keys: Keys, token: str) -> str:
    """Why a token opens no session; "": it does. It is not told again, not even in parts."""
    caller = await keys.caller(token)
    if caller is None:
        return "this token is none of this server's: slmeval token list shows those it has"
    if "read" not in caller.scopes:
        return "this token is for devices, and opens no pages: log in with one whose scopes have read"
    return ""


def _end(request: Request) -> None:
    service_of(request).keys.sessions.end(session_of(request))


def _form(
    request: Request,
    after: str,
    status: int = 200,
    trouble: str = "",
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    page = render.page(request, "login.html", status=status, next=after, trouble=trouble)
    page.headers.update(headers or {})
    return page


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
