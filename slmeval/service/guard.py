"""What stands before every request."""

from __future__ import annotations

from fastapi import FastAPI

from slmeval.service.settings import Settings


def add_to(app: FastAPI, settings: Settings) -> None:
    """Put the guard before an application."""
