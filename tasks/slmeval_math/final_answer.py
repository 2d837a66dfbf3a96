r"""Where a worked solution says its final answer, for problems in the style of MATH.

lm-evaluation-harness looks for one sentence, "Final Answer: The final answer is ... I hope it is correct.",
and for nothing else. Our own way, ``robust``, also takes a box, "answer is ...", the last formula between
dollar signs and the last number, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from slmeval_math.boxed import boxed
from slmeval_math.normal_form import normal_form
from slmeval_math.stated_number import numbers, written

_FINAL, _END = "Final Answer: The final answer is", "I hope it is correct."
#: any one sign stands before the end, and another one for its dot
_ENDED = re.compile(r". I hope it is correct.")
_SAID = re.compile(
    r"(?:\banswers?\s*(?:(?:is|are|was)\s*[=:]?|[=:])\s*(?:the\s+(?:final\s+)?(?=answer))?)+", re.IGNORECASE
)
_STOP = re.compile(r"\.\s")
#: what begins a formula ends at the next sign that ends one, and does not reach over another beginning
_FORMULA = re.compile(
    r"\$\$([^$]+)\$\$|\$([^$]+)\$|\\\(((?:(?!\\\().)+?)\\\)|\\\[((?:(?!\\\[).)+?)\\\]",
    re.DOTALL,
)


def gold_answer(solution: str) -> str:
    r"""The answer of a solution of the data set, in its normal form.

    :raises ValueError: it has no box.
    """
    found = boxed(solution)
    if found is None:
        raise ValueError("the solution has no answer in \\boxed{}")
    return normal_form(found)


def final_answer(text: str) -> str | None:
    """The answer in the one sentence, in its normal form; the sentence's end may be missing."""
    found = _sentence(text + _END)
    return None if found is None else normal_form(found.strip())


def robust_answer(text: str) -> str | None:
    """The answer that a text gives in any of several ways, in its normal form."""
    ways: tuple[Callable[[str], str | None], ...] = (_sentence, boxed, _said, _formula, _number)
    found = (way(text) for way in ways)
    return next((normal_form(each.strip()) for each in found if each and each.strip()), None)


def _sentence(text: str) -> str | None:
    for line in text.split("\n"):
        _, mark, rest = line.partition(_FINAL)
        if mark and (end := _ENDED.search(rest)):
            return rest[: end.start()]
    return None


def _said(text: str) -> str | None:
    found = _SAID.search(text)
    if not found:
        return None
    line, _, _ = text[found.end() :].partition("\n")
    told = _STOP.split(line, maxsplit=1)[0].rstrip().removesuffix(".")
    return _formula(told) or told.strip(" *")


def _formula(text: str) -> str | None:
    *_, last = ("", *(next(filter(None, groups)) for groups in _FORMULA.findall(text)))
    return last or None


def _number(text: str) -> str | None:
    found = numbers(text)
    return written(found[-1]) if found else None
