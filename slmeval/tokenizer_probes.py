"""Texts in which tokenizers differ, and the first of them that two do not encode alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from slmeval.api import Tokenizer

#: spaces, line ends, digits, accents, scripts, and what needs several bytes
PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    " leading space",
    "two  spaces,   three, trailing ",
    "line\nline\n\n\tline\r\n  line",
    "0 12 345 6789 3.14159 1,000,000",
    "don't we're I'LL they’ve",
    "naïve Ærø ſtraße ﬁn",
    "日本語 한국어 العربية Русский 🙂",
    "def f(x):\n    return x**2  # ~!@$%^&*",
)


def probes() -> Iterator[tuple[str, bool]]:
    """Each text, with the tokenizer's own marks (BOS) and without."""
    return ((text, special) for text in PROBES for special in (True, False))


def first_difference(
    tokenizer: Tokenizer, encode: Callable[[str, bool], Sequence[int]], whose: str
) -> str | None:
    """One sentence on the first probe that both encode differently, or ``None``.

    ``encode(text, special)`` is the other tokenizer, which belongs to ``whose``.
    """
    found = (difference(tokenizer, text, special, encode(text, special), whose) for text, special in probes())
    return next((sentence for sentence in found if sentence), None)


def difference(
    tokenizer: Tokenizer, text: str, special: bool, theirs: Sequence[int], whose: str
) -> str | None:
    """One sentence where ``tokenizer`` makes other ids of ``text`` than ``theirs``, else ``None``."""
    ours = list(tokenizer.encode(text, special=special))
    if ours == list(theirs):
        return None
    marks = "with" if special else "without"
    return f"{text!r} ({marks} special tokens) is {ours} here, and {list(theirs)} to {whose}"
