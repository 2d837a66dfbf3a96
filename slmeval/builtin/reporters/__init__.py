"""What writes runs, comparisons and gates: for readers, for programs, and for CI systems."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval.api import Reporter
from slmeval.builtin.reporters.bmf import BmfReporter
from slmeval.builtin.reporters.github import GithubReporter
from slmeval.builtin.reporters.junit import JunitReporter
from slmeval.builtin.reporters.readable import MarkdownReporter, TableReporter
from slmeval.builtin.reporters.records import CsvReporter, JsonReporter
from slmeval.hookspecs import hookimpl

__all__ = [
    "BmfReporter",
    "CsvReporter",
    "GithubReporter",
    "JsonReporter",
    "JunitReporter",
    "MarkdownReporter",
    "TableReporter",
]


@hookimpl
def slmeval_register_reporters() -> Iterable[type[Reporter]]:
    readers = [TableReporter, MarkdownReporter]
    return [*readers, JsonReporter, CsvReporter, JunitReporter, BmfReporter, GithubReporter]
