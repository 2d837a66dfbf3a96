"""Which figures of a task are read first: its accuracies, or where it has none what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from slmeval.errors import UnknownName
from slmeval.matching import CellPair, figure_named
from slmeval.types import CellResult, Figure

#: accuracies in the order in which they are read; others follow as their task lists them
_FIRST = ("acc", "acc_norm", "exact_match")
#: accuracies that most readers do not ask for, and how many of a task are shown unasked
BESIDE, _SHOWN = frozenset({"acc_bytes", "acc_corrected"}), 2
#: amounts of memory that are read first
AMOUNTS = frozenset({"weights", "kv_cache", "peak"})
#: what stands for every figure
ALL = "all"


def figures_of(pair: CellPair, patterns: Sequence[str]) -> list[str]:
    """The names of those that the ``patterns`` mean, in the cell's order; () means those read first."""
    if not patterns:
        return headlines(pair)
    names = [figure.name for figure in _on_both(pair)]
    return names if ALL in patterns else [name for name in names if _is_one(name, patterns)]


def headlines(pair: CellPair) -> list[str]:
    """The figures read first: accuracies, at most two, or else one."""
    if pair.first.kind == "probe":
        return [figure.name for figure in _on_both(pair) if _is_memory(figure)]
    here = _told_by_item(pair)
    accuracies = [figure.name for figure in here if is_accuracy(figure)]
    usual = [name for name in accuracies if name not in BESIDE] or accuracies
    if usual:
        return sorted(usual, key=rank_of)[:_SHOWN]
    directed = [figure.name for figure in here if figure.higher_is_better is not None]
    return (directed or [figure.name for figure in here])[:1]


def _told_by_item(pair: CellPair) -> list[Figure]:
    """The figures with a value that can be compared; of a cell without scores by item, all with a value."""
    known = _columns(pair.first)
    if pair.members:
        known = set.intersection(*(_columns(member.first) or set() for member in _leaves(pair)))
    return [
        figure
        for figure in _on_both(pair)
        if figure.value is not None and (not known or figure.name in known)
    ]


def _on_both(pair: CellPair) -> list[Figure]:
    """Figures of the first that the second has, in the order of the task: a baseline keeps them by name."""
    names = [figure.name for figure in pair.first.figures]
    told = pair.second if names == sorted(names) else pair.first
    found = (figure_named(pair.first, figure.name) for figure in told.figures)
    return [figure for figure in found if figure and figure_named(pair.second, figure.name)]


def _leaves(pair: CellPair) -> list[CellPair]:
    return [leaf for member in pair.members for leaf in _leaves(member)] if pair.members else [pair]


def _columns(cell: CellResult) -> set[str]:
    return set(cell.outcomes.columns) if cell.outcomes else set()


def is_accuracy(figure: Figure) -> bool:
    """A share that is better when it is higher."""
    share = figure.value is not None and 0 <= figure.value <= 1
    return share and figure.higher_is_better is True and not figure.unit


def _is_memory(figure: Figure) -> bool:
    """Amounts that no clock measured."""
    return figure.unit == "MiB" and figure.name in AMOUNTS


def rank_of(name: str) -> int:
    """Where an accuracy stands in the order in which they are read; unknown ones stand last."""
    base = name.partition("/")[0]
    return _FIRST.index(base) if base in _FIRST else len(_FIRST)


def _is_one(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_figures(patterns: Sequence[str], pairs: Sequence[CellPair]) -> None:
    """:raises UnknownName: one of the patterns means no figure of any cell."""
    names = {figure.name for pair in pairs for figure in pair.first.figures}
    for pattern in patterns:
        if pattern != ALL and not any(fnmatchcase(name, pattern) for name in names):
            raise UnknownName("figure", pattern, names)
