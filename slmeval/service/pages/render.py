"""How pages are made: one environment of templates, and what every page is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from slmeval import __version__
from slmeval.builtin.reporters.text import interval_text, number, plural
from slmeval.service import plots
from slmeval.service.auth import Caller, form_token
from slmeval.service.shown import plain, shown
from slmeval.types import Figure

#: the bar: where a page's address begins, and what it is called
_PLACES = (
    ("/", "Runs"),
    ("/submit", "Submit"),
    ("/compare", "Compare"),
    ("/history", "History"),
    ("/matrix", "Models × tasks"),
    ("/devices", "Devices"),
)
#: pages below another one
_BELOW = {"/runs": "/", "/batches": "/"}


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page of ``templates/``, told of ``caller``, ``version``, ``form_token`` and the context."""
    caller = _caller(request)
    may_submit = caller is None or "submit" in caller.scopes
    # what is refused is not offered
    places = [place for place in _PLACES if may_submit or place[0] != "/submit"]
    known = {
        "caller": caller,
        "places": places,
        "may_submit": may_submit,
        "version": __version__,
        "form_token": form_token(request),
    }
    text = _environment().get_template(template).render(**known, here=_here(request), **context)
    # whatever came past the filters that UTF-8 cannot say must not end the page
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), status)


def problem(request: Request, status: int, sentence: str) -> HTMLResponse:
    """A page that says, in the layout, why there is no other."""
    return page(request, "problem.html", status=status, code=status, sentence=sentence)


def _caller(request: Request) -> Caller | None:
    """Who asks, where the page asked who may see it (:func:`slmeval.service.auth.needs`)."""
    return getattr(request.state, "caller", None)


def _here(request: Request) -> str:
    head = "/" + request.url.path.split("/")[1]
    return _BELOW.get(head, head)


# ---- the environment -----------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("slmeval.service"),
        autoescape=True,
        undefined=StrictUndefined,
        # another version that is put in its place would not fit what is running
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        shown=shown, plain=plain, count=count, size=size, when=when, short=short, value=value, plural=plural
    )
    made.filters.update(interval=interval_text, error=error, number=number, words=words)
    made.filters.update(seconds=seconds, pace=pace, of_what=of_what, between=between)
    made.globals.update(static=static, intervals=plots.intervals, series=plots.series)
    return made


@cache
def static(name: str) -> str:
    """Where a file of ``static/`` is had; its address changes with its content, so that none is outdated."""
    content = (resources.files("slmeval.service") / "static" / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:10]}"


# ---- filters ---------------------------------------------------------------------------------------------


def count(number_of: int | None) -> str:
    """``1,234``; a dash for what is not told."""
    return "–" if number_of is None else f"{number_of:,}"


def size(number_of: int | None) -> str:
    """Bytes: ``7.8 GiB``, ``120 MiB``; a dash for what is not told."""
    if number_of is None:
        return "–"
    return f"{number_of / 2**30:,.1f} GiB" if number_of >= 2**30 else f"{number_of / 2**20:,.0f} MiB"


def when(moment: str | None) -> Markup:
    """A moment (ISO 8601, UTC) to the second; a dash where there is none yet."""
    if not moment:
        return Markup("–")
    told = plain(moment).replace("T", " ", 1)[:19]
    return Markup('<time datetime="{}">{}</time>').format(plain(moment, 40), told)


def seconds(length: float) -> str:
    """``45 s``, ``3 min``, ``2.5 h``"""
    if length < 90:
        return f"{length:.0f} s"
    return f"{length / 60:.0f} min" if length < 5400 else f"{length / 3600:.1f} h"


def pace(rate: float) -> str:
    """Units a second, with two decimals where they are few."""
    return f"{rate:.2f}" if rate < 10 else f"{rate:,.0f}"


def of_what(unit: str, number_of: int = 2) -> str:
    """What is counted, in whole words: ``requests``; ``probe`` of one."""
    word = {"req": "request"}.get(unit, unit)
    return plain(word if number_of == 1 else f"{word}s", 21)


def short(digest: str) -> str:
    """The first twelve digits of a hash."""
    return plain(digest, 400)[:12] or "unknown"


def value(figure: Figure) -> str:
    """A figure's value alone, with as many digits as are of use; ``unavailable`` where it has none."""
    return "unavailable" if figure.value is None else number(figure.value, figure.value)


def between(low: float | None, high: float | None) -> str:
    """An interval as a report writes it; empty where there is none."""
    return "" if low is None or high is None else interval_text(Figure("", low, None, (low, high), 0, ""))


def error(figure: Figure) -> str:
    """The standard error with the value's digits; empty where there is none."""
    if figure.value is None or figure.stderr is None:
        return ""
    return number(figure.stderr, figure.value)


def words(options: Mapping[str, Any]) -> str:
    """``name=value, name=value``"""
    return ", ".join(f"{name}={told}" for name, told in options.items() if told not in (None, ""))
