"""A word stands for another: associative recall, and words in classes.

One row::

    {"input": "wet red lamp", "choices": ["coin", "hill", "song", "gate"], "label": 2, "rule": "icl_recall_3"}

The last word of the input is the key; the two before it say nothing. In ``icl_recall`` each of four keys
has a value of its own, in ``icl_classify`` four words belong to two classes. The examples show the keys in
rounds, each once, so that any four tell the rule in full. Recall from pairs in the prompt: Arora et al. 2023,
"Zoology: Measuring and Improving Recall in Efficient Language Models", arXiv:2312.04927.
"""

from __future__ import annotations

from collections.abc import Iterator

from slmeval_icl.drawing import Draw
from slmeval_icl.induction import EXAMPLES, Block, Rule, induction
from slmeval_icl.words import NOUNS

KEYS, ROWS = 4, 200


def recall() -> Iterator[Rule]:
    """Four keys with a value each."""
    return _rules("icl_recall 1.0", values=4)


def classify() -> Iterator[Rule]:
    """Four words, two in either class."""
    return _rules("icl_classify 1.0", values=2)


def _rules(name: str, values: int) -> Iterator[Rule]:
    draw = Draw(name)
    for _ in range(ROWS // values):
        words = draw.some(NOUNS, KEYS + values)
        asked = [*draw.rounds(KEYS, 1), *draw.rounds(KEYS, EXAMPLES)]
        pairs = list(zip(draw.idle(len(asked)), asked, strict=True))
        for turn in range(values):
            yield _rule(words, pairs, turn)


def _rule(words: list[str], asked: list[tuple[str, int]], turn: int) -> Rule:
    """The question and its examples under one of the mirror images."""
    values = tuple(words[KEYS:])
    question, *examples = [
        Block(f"{idle} {words[key]}", values, (key + turn) % len(values)) for idle, key in asked
    ]
    return Rule(question, tuple(examples))


RECALL = induction("icl_recall", recall, ROWS)
CLASSIFY = induction("icl_classify", classify, ROWS)
