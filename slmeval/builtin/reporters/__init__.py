"""What writes a run: ``table`` and ``md`` for readers, ``json`` and ``csv`` for programs."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval.api import Reporter
from slmeval.builtin.reporters.readable import MarkdownReporter, TableReporter
from slmeval.builtin.reporters.records import CsvReporter, JsonReporter
from slmeval.hookspecs import hookimpl

__all__ = ["CsvReporter", "JsonReporter", "MarkdownReporter", "TableReporter"]


@hookimpl
def slmeval_register_reporters() -> Iterable[type[Reporter]]:
    return [TableReporter, MarkdownReporter, JsonReporter, CsvReporter]
