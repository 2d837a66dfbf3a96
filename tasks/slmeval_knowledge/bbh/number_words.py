"""English number words, read as lm-evaluation-harness reads them where BBH's answers are numbers.

It looks for them with a regular expression (``bbh/zeroshot/utils.py``) and reads them with word2number 1.1,
oddities and all, for its figures follow from these: "six", "seven", "eight" and "nine" alone are not found,
and "twenty-one" is found as "twenty" and "one".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_BASIC = "zero|one|two|three|four|five"
_STEMS = "(?:twen|thir|for|fif|six|seven|nine)"
_LARGE = "ten|eleven|twelve|fourteen|hundred|thousand|(?:m|b|tr)illion"


def _word(stem_ends: str, eight_ends: str, more: str = "") -> str:
    return f"(?:{_BASIC}|{_STEMS}(?:{stem_ends})|eight(?:{eight_ends})|{_LARGE}{more})"


# their ends differ with the place; white space is Unicode's, to which Python adds four control characters
_FIRST = _word("teen|ty", "|een|y")
_INNER = _word("|teen|ty", "een|y", r"|[^\S\r\n\x1c-\x1f]|,|and|&")
_LAST = _word("teen|ty", "een|y")
#: finds number words in a text of small letters
NUMBER_WORDS = re.compile(f"(?:{_FIRST}{_INNER}+)?{_LAST}")

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
#: the largest first
_SCALES = {"billion": 10**9, "million": 10**6, "thousand": 10**3}
_VALUES = {
    **{word: value for value, word in enumerate(_SMALL)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
    "hundred": 100,
    **_SCALES,
}


def read_number(text: str) -> int | None:
    """The number that words of small letters mean; what is no number word is passed over.

    ``None`` where word2number refuses or fails: no number word, a scale twice or after a smaller one, or
    nothing before it.
    """
    words = [word for word in text.split() if word in _VALUES]
    ends = [words.index(scale) for scale in _SCALES if scale in words]
    if not words or ends != sorted(ends) or any(words.count(scale) > 1 for scale in _SCALES):
        return None
    if len(words) == 1:
        return _VALUES[words[0]]
    starts = [0, *(end + 1 for end in ends)]
    parts = [words[start:end] for start, end in zip(starts, ends, strict=False)]
    if not all(parts):
        return None
    scaled = sum(_formed(part) * _VALUES[words[end]] for part, end in zip(parts, ends, strict=True))
    return scaled + _last(words, starts)


def _last(words: Sequence[str], starts: Sequence[int]) -> int:
    """What is added to the scaled parts: the words after the last scale that words follow, if any does.

    Where the text ends in a scale, these are, once more, the words after the scale before it.
    """
    begun = [start for start in starts if start < len(words) and (start or len(starts) == 1)]
    return _formed(words[begun[-1] :]) if begun else 0


def _formed(words: Sequence[str]) -> int:
    """A number below a scale, by how many words it has; of five and more only the first counts."""
    first, *others = (_VALUES[word] for word in words)
    if len(others) == 1:
        return first * others[0] if 100 in (first, *others) else first + others[0]
    if len(others) in (2, 3):
        return first * others[0] + sum(others[1:])
    return first
