"""Things of two categories under true, exchanged or meaningless names: what is known before, what is learnt.

One row::

    {"input": "wolf, goat and bear", "choices": ["river", "coin"], "label": 0, "rule": "icl_labels_12"}

The same questions after the same examples, with three sorts of choices:

- ``icl_named``: the categories' true names. Who knows the words may need no examples.
- ``icl_flipped``: the two names exchanged. What is known pulls the wrong way: right is who follows the
  examples against it. Without examples, ``acc`` is exactly 1 minus that of ``icl_named``.
- ``icl_labels``: two words that mean nothing here, each question under both assignments. Nothing can be
  known before, so without examples ``acc`` is exactly 1/2.

At k shots, flipped above 1/2 is induction that overrides prior knowledge, and named above labels is what
prior knowledge adds. Chance is 1/2 in all three. No word of a question stands in its examples, of which
two show either category. Flipped and semantically unrelated labels are those of Wei et al. 2023, "Larger
language models do in-context learning differently", arXiv:2303.03846; there the gold of a flipped question
is its true label, here it is what the examples say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from slmeval_icl.drawing import Draw
from slmeval_icl.induction import EXAMPLES, Block, Rule, induction
from slmeval_icl.words import CATEGORIES, NOUNS

QUESTIONS = 240


@dataclass(frozen=True)
class Sorting:
    """Two categories with two meaningless words, and inputs of either (0 or 1): the question's first."""

    names: tuple[str, ...]
    words: tuple[str, ...]
    inputs: tuple[tuple[str, int], ...]

    def rule(self, choices: tuple[str, ...], turn: int) -> Rule:
        """The inputs under ``choices``, exchanged if ``turn`` is 1."""
        question, *examples = [Block(given, choices, (which + turn) % 2) for given, which in self.inputs]
        return Rule(question, tuple(examples))


@cache
def sortings() -> tuple[Sorting, ...]:
    """Each category is asked as often as the others, and as often in first place as in second."""
    draw, names = Draw("icl_labels 1.0"), list(CATEGORIES)
    return tuple(_sorting(draw, names[number // 2 % len(names)], number % 2) for number in range(QUESTIONS))


def _sorting(draw: Draw, asked: str, place: int) -> Sorting:
    (other,) = draw.some([name for name in CATEGORIES if name != asked], 1)
    names = (asked, other) if place == 0 else (other, asked)
    question = draw.some(CATEGORIES[asked], 3)
    pools = [[word for word in CATEGORIES[name] if word not in question] for name in names]
    left = [iter(draw.some([*combinations(pool, 3)], EXAMPLES // 2)) for pool in pools]
    examples = [(_listed(next(left[which])), which) for which in draw.rounds(2, EXAMPLES)]
    return Sorting(names, tuple(draw.some(NOUNS, 2)), ((_listed(question), place), *examples))


def _listed(words: Sequence[str]) -> str:
    first, second, third = words
    return f"{first}, {second} and {third}"


def named() -> Iterator[Rule]:
    """Each category under its own name."""
    return (each.rule(each.names, 0) for each in sortings())


def flipped() -> Iterator[Rule]:
    """Each category under the other's name."""
    return (each.rule(each.names, 1) for each in sortings())


def labels() -> Iterator[Rule]:
    """Each category under a meaningless word, and then under the other."""
    return (each.rule(each.words, turn) for each in sortings() for turn in (0, 1))


NAMED = induction("icl_named", named, QUESTIONS)
FLIPPED = induction("icl_flipped", flipped, QUESTIONS)
LABELS = induction("icl_labels", labels, 2 * QUESTIONS)
