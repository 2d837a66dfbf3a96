"""Addresses of pages, with what they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode


def address(path: str, **asked: Any) -> str:
    """``path`` with a query of all that has a value; what is a list stands there once for each."""
    parts: list[tuple[str, str]] = []
    for name, value in asked.items():
        each = value if isinstance(value, (list, tuple)) else [value]
        parts += [(name, str(one)) for one in each if one not in (None, "", False)]
    # what UTF-8 cannot say is asked for in vain, but does no harm
    query = urlencode(parts, errors="replace")
    return f"{path}?{query}" if query else path


def cell_address(run: str, cell: int, **asked: Any) -> str:
    """The items of a cell."""
    return address(f"/runs/{quote(run, safe='', errors='replace')}/cells/{cell}", **asked)


def run_address(run: str) -> str:
    """One run."""
    return f"/runs/{quote(run, safe='', errors='replace')}"


def reference(run: str, backend: str, model: str) -> str:
    """A side as it is called: RUN#BACKEND:MODEL."""
    return f"{run}#{backend}:{model}"


def filled(values: Iterable[str]) -> tuple[str, ...]:
    """Those that are not empty: a form sends its empty fields too."""
    return tuple(stripped for value in values if (stripped := value.strip()))
