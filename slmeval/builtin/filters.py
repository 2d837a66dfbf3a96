"""What finds the answer in a text that a model wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slmeval.api import Filter
from slmeval.hookspecs import hookimpl


class Regex(Filter):
    """One match of a regular expression, without the white space around it.

    ``occurrence`` says which of the matches: 0 is the first, -1 the last. Of a pattern with several
    groups the first group that matched some text counts (lm_eval/filters/extraction.py).
    """

    name = "regex"

    def __init__(self, pattern: str, occurrence: int = 0) -> None:
        self._regex = re.compile(pattern)
        self._occurrence = occurrence

    def find(self, text: str) -> str | None:
        try:
            match = self._regex.findall(text)[self._occurrence]
        except IndexError:
            return None
        groups = [match] if isinstance(match, str) else [group for group in match if group]
        return groups[0].strip() if groups else None


@hookimpl
def slmeval_register_filters() -> Iterable[type[Filter]]:
    return [Regex]
