"""What finds the answers in texts about BBH's questions: equal to lm-evaluation-harness 0.4.13.

There these are ``bbh/zeroshot/utils.py`` and ``bbh/cot_zeroshot/utils.py``. Where it says ``[invalid]`` there
is no answer here; where it would fail over a text (number words that mean no number) there is none either.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import ClassVar
from unicodedata import category

from slmeval.api import Filter
from slmeval.types import Sample
from slmeval_knowledge.bbh.number_words import NUMBER_WORDS, read_number


def _match(regex: re.Pattern[str], text: str, occurrence: int) -> str:
    """One match of a pattern with at most one group, without the white space around it; "" for none."""
    found: list[str] = regex.findall(text)
    return found[occurrence].strip() if found else ""


class WholeText(Filter):
    """The whole text as it was written, white space included."""

    name: ClassVar[str] = "whole_text"

    def find(self, text: str) -> str:
        return text


class Meaning(Filter):
    """Which of a few answers the text means, whatever its case.

    ``answers`` has for each the regular expression of the whole words that mean it; ``occurrence`` says which
    of all matches counts: 0 is the first, -1 the last.
    """

    name: ClassVar[str] = "meaning"

    def __init__(self, answers: Mapping[str, str], occurrence: int = 0) -> None:
        self._regexes = {answer: re.compile(rf"\b(?:{words})\b") for answer, words in answers.items()}
        self._all = re.compile("|".join(regex.pattern for regex in self._regexes.values()))
        self._occurrence = occurrence

    def find(self, text: str) -> str | None:
        words = _match(self._all, text.lower(), self._occurrence)
        return next((answer for answer, regex in self._regexes.items() if regex.search(words)), None)


class NumberOrWords(Filter):
    """A whole number: one in digits, or else one in English words.

    ``occurrence`` as in :class:`Meaning`.
    """

    name: ClassVar[str] = "number_or_words"
    _digits = re.compile("[-0-9]+")

    def __init__(self, occurrence: int = 0) -> None:
        self._occurrence = occurrence

    def find(self, text: str) -> str | None:
        if digits := _match(self._digits, text, self._occurrence):
            return digits
        number = read_number(_match(NUMBER_WORDS, text.lower(), self._occurrence))
        return None if number is None else str(number)


class ShownChoice(Filter):
    """One of the choices that the question shows, each on its line behind a letter: ``(A) a dog``.

    A letter in brackets is the answer; where there is none, the words of a choice, without their case and
    punctuation, and where these are not there either, a letter after a colon. ``occurrence`` as in
    :class:`Meaning`.
    """

    name: ClassVar[str] = "shown_choice"
    _lettered = re.compile(r"\([A-Z]\)")
    # the sign ^ ends a choice too: that is how it stands there
    _shown = re.compile(r"\([A-Z]\)([^\n^(]*)")

    def __init__(self, occurrence: int = 0) -> None:
        self._occurrence = occurrence

    def find(self, text: str) -> str | None:
        return _match(self._lettered, text, self._occurrence) or None

    def find_for(self, text: str, sample: Sample) -> str | None:
        return self.find(text) or self._of_question(text, self._shown.findall(sample.asked)) or None

    def _of_question(self, text: str, shown: list[str]) -> str:
        choices = [_bare(choice.strip()) for choice in shown]
        letters = string.ascii_uppercase[: len(choices)]
        # the longest first, for one choice may begin as another does
        words = re.compile("|".join(sorted(map(re.escape, choices), key=len, reverse=True)))
        if found := _match(words, _bare(text), self._occurrence):
            letter = dict(zip(choices, letters, strict=False)).get(found)
            return f"({letter})" if letter else found
        after = re.compile(rf":\s*({'|'.join(letters)})")
        letter = _match(after, text, self._occurrence)
        return f"({letter})" if letter else ""


def _bare(text: str) -> str:
    """Without its case and punctuation (Unicode's)."""
    return "".join(sign for sign in text.lower() if not category(sign).startswith("P"))


class WordsOfQuestion(Filter):
    """The words that the question lists after ``List:``, in the order in which the text has them last."""

    name: ClassVar[str] = "words_of_question"

    def find(self, text: str) -> str | None:  # noqa: ARG002
        """None: without a question there is no list."""
        return None

    def find_for(self, text: str, sample: Sample) -> str | None:
        _, *lists = sample.asked.split("List:")
        if not lists:
            return None
        listed = "|".join(rf"\b{re.escape(word)}\b" for word in lists[0].split())
        places = {word: place for place, word in enumerate(re.findall(listed, text))}
        return " ".join(sorted(places, key=places.__getitem__))


FILTERS: tuple[type[Filter], ...] = (WholeText, Meaning, NumberOrWords, ShownChoice, WordsOfQuestion)
