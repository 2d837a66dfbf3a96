"""The pages: rendered here, with one small script for what is live."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from slmeval.service.pages import compare, devices, history, items, login, matrix, runs, submit

_PAGES = (runs, submit, devices, login, items, compare, history, matrix)


def add_to(app: FastAPI) -> None:
    """Add the pages and what they need."""
    for module in _PAGES:
        app.include_router(module.router)
    app.mount("/static", StaticFiles(packages=[("slmeval.service", "static")]), name="static")
