"""Going on as before: a made-up round of words, and the word that comes next in it.

One row::

    {"input": "cold old river bell coin", "choices": ["lamp", "king", "gate", "snow"], "label": 1,
     "rule": "icl_copy_7"}

Seven words follow each other in a round; the input is two words that say nothing and a stretch of three
from the round, and the answer is the next. The examples end at each place of the round once, then again:
any five of them show the asked word after the one before it. That is what induction heads do: Olsson et al.
2022, "In-context Learning and Induction Heads", arXiv:2209.11895.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slmeval_icl.drawing import Draw
from slmeval_icl.induction import EXAMPLES, Block, Rule, induction
from slmeval_icl.words import NOUNS

STRETCH, CHOICES, ROWS = 3, 4, 200
ROUND = STRETCH + CHOICES


def rules() -> Iterator[Rule]:
    """The question's stretch begins the round; in the mirror images the words after it are turned."""
    draw = Draw("icl_copy 1.0")
    for _ in range(ROWS // CHOICES):
        words = draw.some(NOUNS, ROUND)
        starts = [0, *draw.rounds(ROUND, EXAMPLES)]
        asked = list(zip(draw.idle(len(starts)), starts, strict=True))
        listed = draw.some(words, ROUND)
        for turn in range(CHOICES):
            rest = words[STRETCH + turn :] + words[STRETCH : STRETCH + turn]
            yield _rule([*words[:STRETCH], *rest], listed, asked)


def _rule(words: Sequence[str], listed: Sequence[str], asked: Sequence[tuple[str, int]]) -> Rule:
    """``listed`` are the words in the order in which choices stand, which must not tell the round."""
    question, *examples = [_block(words, listed, idle, start) for idle, start in asked]
    return Rule(question, tuple(examples))


def _block(words: Sequence[str], listed: Sequence[str], idle: str, start: int) -> Block:
    *stretch, right = (words[(start + step) % ROUND] for step in range(STRETCH + 1))
    choices = tuple(word for word in listed if word not in stretch)
    return Block(" ".join([idle, *stretch]), choices, choices.index(right))


COPY = induction("icl_copy", rules, ROWS)
