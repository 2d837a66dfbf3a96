"""Which figures of a cell are shown first."""

from __future__ import annotations

from collections.abc import Sequence

from slmeval.headlines import AMOUNTS, BESIDE, is_accuracy, rank_of
from slmeval.types import Figure

#: accuracies that most readers do not ask for; with choices in every place the usual one stands beside it
_BESIDE = BESIDE | {"acc_rotated"}
#: so many of a task, and of a probe
_OF_TASK, _OF_PROBE = 2, 4


def first_figures(kind: str, figures: Sequence[Figure]) -> list[Figure]:
    """The accuracies, at most two; of a task without one, and of a probe, what has a better side."""
    told = [figure for figure in figures if figure.value is not None]
    directed = [figure for figure in told if figure.higher_is_better is not None]
    if kind == "probe":
        amounts = [figure for figure in told if figure.name in AMOUNTS]
        return (directed or amounts or told)[:_OF_PROBE]
    accuracies = [figure for figure in told if is_accuracy(figure)]
    usual = [figure for figure in accuracies if figure.name not in _BESIDE] or accuracies
    return sorted(usual, key=lambda figure: rank_of(figure.name))[:_OF_TASK] or (directed or told)[:1]
