"""Measure small language models: what they can do and what they cost, on any engine."""

__all__ = ["__version__", "hookimpl"]
__version__ = "0.1.0"

from slmeval.hookspecs import hookimpl
