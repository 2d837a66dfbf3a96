"""What tasks are scored with."""

from __future__ import annotations

from collections.abc import Iterable

from slmeval.api import Metric
from slmeval.builtin.metrics.choices import (
    Accuracy,
    AccuracyBytes,
    AccuracyCorrected,
    AccuracyNorm,
    BitsPerByte,
    Chance,
    Margin,
    ProbabilityMass,
)
from slmeval.builtin.metrics.free_text import ExactMatch
from slmeval.builtin.metrics.likelihood import (
    BytePerplexity,
    Greedy,
    Perplexity,
    TextBitsPerByte,
    WordPerplexity,
)
from slmeval.builtin.metrics.positions import AccuracyRotated, Picked, SameChoice
from slmeval.hookspecs import hookimpl

__all__ = [
    "Accuracy",
    "AccuracyBytes",
    "AccuracyCorrected",
    "AccuracyNorm",
    "AccuracyRotated",
    "BitsPerByte",
    "BytePerplexity",
    "Chance",
    "ExactMatch",
    "Greedy",
    "Margin",
    "Perplexity",
    "Picked",
    "ProbabilityMass",
    "SameChoice",
    "TextBitsPerByte",
    "WordPerplexity",
]

_METRICS: tuple[type[Metric], ...] = (
    Accuracy,
    AccuracyNorm,
    AccuracyBytes,
    AccuracyCorrected,
    BitsPerByte,
    Margin,
    Chance,
    ProbabilityMass,
    AccuracyRotated,
    SameChoice,
    Picked,
    Greedy,
    Perplexity,
    WordPerplexity,
    BytePerplexity,
    TextBitsPerByte,
    ExactMatch,
)


@hookimpl
def slmeval_register_metrics() -> Iterable[type[Metric]]:
    return _METRICS
