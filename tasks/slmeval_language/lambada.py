"""LAMBADA: the last word of a passage, which only the whole passage gives away.

One row::

    {"text": "The keeper counted the goats twice. One was missing, and it was the old goat"}

Paperno et al. 2016, "The LAMBADA dataset: Word prediction requiring a broad discourse context",
arXiv:1606.06031, in OpenAI's processing. Split and metrics are those of lambada_openai, version 1.0, in
lm-evaluation-harness 0.4.13; ``acc`` is the share of endings that greedy decoding would write.
"""

from __future__ import annotations

from slmeval.tasks import NextWords, text
from slmeval.types import DatasetSpec, Row, Use


def context(row: Row) -> str:
    """All but the last word; words are what single spaces separate."""
    return text(row, "text").rpartition(" ")[0]


def ending(row: Row) -> str:
    return " " + text(row, "text").rpartition(" ")[2]


LAMBADA_OPENAI = NextWords(
    name="lambada_openai",
    version="1.0",
    dataset=DatasetSpec(
        name="lambada_openai",
        evaluation="test",
        shots="test",
        fields=("text",),
        hub="EleutherAI/lambada_openai",
        config="default",
        rows=5153,
        licence="MIT",
        source="LAMBADA, Paperno et al. 2016, processed by OpenAI",
    ),
    context=context,
    ending=ending,
    metrics=(Use("perplexity"), Use("greedy", label="acc")),
)
