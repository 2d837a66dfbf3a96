"""The pages: rendered here, with one small script for what is live."""

from __future__ import annotations

from fastapi import FastAPI


def add_to(app: FastAPI) -> None:
    """Add the pages and what they need."""
