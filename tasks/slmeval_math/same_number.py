"""Is the number that was found the right one?"""

from __future__ import annotations

from fractions import Fraction

from slmeval.api import Metric
from slmeval.types import Answer
from slmeval_math.stated_number import numbers

#: how far off a number may be, as a share of the right one. Whole numbers below 100,000 must be exact (SVAMP
#: keeps six digits of larger ones); a fraction may be rounded to four digits, as in math-evaluation-harness
WHOLE, BROKEN = Fraction(1, 100_000), Fraction(1, 10_000)


class SameNumber(Metric):
    """Is it equal to the right number? No number found is a wrong answer."""

    name = "same_number"
    proportion = True

    def score(self, answer: Answer) -> float:
        """
        :raises TypeError: the right answer is no number.
        """
        right = numbers(str(answer.sample.target))
        if len(right) != 1:
            raise TypeError(
                f"{self.name} needs a right answer that is a number, not {answer.sample.target!r}"
            )
        found = numbers(answer.found or "")
        return float(bool(found) and same(found[-1], right[0]))


def same(found: Fraction, right: Fraction) -> bool:
    """Whether ``found`` is as near to ``right`` as it must be."""
    return abs(found - right) <= abs(right) * (WHOLE if right.denominator == 1 else BROKEN)
