"""The two cookies of a server, and how they are set."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from slmeval.service.settings import Settings

#: where a request keeps the cookies that are set with its answer, by name
FRESH = "slmeval.cookies"


def session_cookie(settings: Settings) -> str:
    """Of whoever is logged in. A browser sends cookies to every port of a host: each server has its own."""
    return f"slmeval_session_{settings.port}"


def form_cookie(settings: Settings) -> str:
    """Of whoever is not: forms are bound to it."""
    return f"slmeval_form_{settings.port}"


def cookie(name: str, value: str, scope: Scope) -> str:
    """A Set-Cookie header: for this server alone, unseen by scripts; without a value it is removed."""
    # a server before this one, that speaks https to the browser, says so
    told = Headers(scope=scope).get("x-forwarded-proto", scope["scheme"])
    secure = "; Secure" if told == "https" else ""
    ended = "" if value else "; Max-Age=0"
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{ended}"
