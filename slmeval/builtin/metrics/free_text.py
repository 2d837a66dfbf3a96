"""Free text, scored by an exact match."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import ClassVar

from slmeval.api import Metric
from slmeval.types import Answer

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class ExactMatch(Metric):
    """Is the answer that was found the right one? No answer found is a wrong answer.

    Both sides lose what ``regexes_to_ignore`` match, in their order, and then what ``ignore_case`` and
    ``ignore_punctuation`` (ASCII) take away, as in lm-evaluation-harness.
    """

    name: ClassVar[str] = "exact_match"
    proportion = True

    def __init__(
        self,
        ignore_case: bool = False,
        ignore_punctuation: bool = False,
        regexes_to_ignore: Sequence[str] = (),
    ) -> None:
        self._ignore_case = ignore_case
        self._ignore_punctuation = ignore_punctuation
        self._ignored = [re.compile(regex) for regex in regexes_to_ignore]

    def score(self, answer: Answer) -> float:
        if answer.found is None:
            return 0.0
        return float(self._bare(answer.found) == self._bare(str(answer.sample.target)))

    def vote(self, answer: Answer) -> str | None:
        """The answer as it is compared: ``1,000`` votes with ``1000`` where commas are ignored."""
        return None if answer.found is None else self._bare(answer.found)

    def _bare(self, text: str) -> str:
        for regex in self._ignored:
            text = regex.sub("", text)
        if self._ignore_case:
            text = text.lower()
        return text.translate(_NO_PUNCTUATION) if self._ignore_punctuation else text
