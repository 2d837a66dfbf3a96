"""Which figures of a cell a page shows first."""

from __future__ import annotations

from collections.abc import Sequence

from slmeval.types import Figure

#: accuracies in the order in which they are read
_FIRST = ("acc", "acc_norm", "exact_match")
#: accuracies that most readers do not ask for
_BESIDE = frozenset({"acc_bytes", "acc_corrected", "acc_rotated"})
#: so many of a task, and of a probe
_OF_TASK, _OF_PROBE = 2, 4


def main_figures(kind: str, figures: Sequence[Figure]) -> list[Figure]:
    """The accuracies, at most two; of a task without one, and of a probe, what has a better side."""
    told = [figure for figure in figures if figure.value is not None]
    directed = [figure for figure in told if figure.higher_is_better is not None]
    if kind == "probe":
        return (directed or told)[:_OF_PROBE]
    accuracies = [figure for figure in told if _is_accuracy(figure)]
    usual = [figure for figure in accuracies if figure.name not in _BESIDE] or accuracies
    return sorted(usual, key=_rank)[:_OF_TASK] or (directed or told)[:1]


def _is_accuracy(figure: Figure) -> bool:
    share = figure.value is not None and 0 <= figure.value <= 1
    return share and figure.higher_is_better is True and not figure.unit


def _rank(figure: Figure) -> int:
    base = figure.name.partition("/")[0]
    return _FIRST.index(base) if base in _FIRST else len(_FIRST)
