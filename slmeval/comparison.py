"""Two sides' results held against each other, task by task: what differs, and whether chance explains it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from slmeval import paired
from slmeval.differences import Compared, Comparison, FigureDifference, Flip
from slmeval.errors import UnknownName, UsageError
from slmeval.flips import flips_of
from slmeval.headlines import check_figures, figures_of
from slmeval.matching import CellPair, Matching, Unpaired, figure_named, listed, match, pairs_of, values_of
from slmeval.sides import Side, labelled
from slmeval.types import Figure

#: members of larger groups are left out where chance explains what they differ by
_MANY, _CHANCE = 10, 0.05
_ONCE = "measured once on each side, which gives no interval"
_TIMED = "what two runs timed is not compared: slmeval gate --against measures both sides in turn"


@dataclass(frozen=True)
class Wanted:
    """What is to be compared: ``tasks`` by name or glob, () all; ``figures`` likewise, () those read first.

    With ``shared`` sides that were not asked alike are compared on the items of both. ``items`` of each task
    that changed are listed, at most; ``None``: none.
    """

    tasks: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    shared: bool = False
    items: int | None = None


def compare(
    pairs: Sequence[tuple[Side, Side]], wanted: Wanted | None = None, notes: Sequence[str] = ()
) -> list[Comparison]:
    """Each pair of sides, the second held against the first; ``notes`` go to the first of the comparisons.

    :raises UsageError: they are not comparable (all differences are told), or have nothing in common.
    :raises UnknownName: a task or figure that they do not have.
    """
    made = [
        _compared(match(*pair), wanted or Wanted(), *called)
        for pair, called in zip(pairs, labelled(pairs), strict=True)
    ]
    return [replace(made[0], notes=(*notes, *made[0].notes)), *made[1:]]


def _compared(matching: Matching, wanted: Wanted, first: Compared, second: Compared) -> Comparison:
    cells = _chosen(matching, wanted.tasks)
    notes = [*matching.notes, *_of_differences(matching, cells, shared=wanted.shared)]
    notes += _of_probes(matching, cells)
    check_figures(wanted.figures, cells)
    tested = _corrected([_tested(cell, name) for cell in cells for name in figures_of(cell, wanted.figures)])
    shown, left_out = _folded(tested, wanted)
    flips, more = _flips(shown, wanted)
    notes += [*left_out, *more]
    return Comparison(first, second, tuple(map(_estimated, shown)), flips, tuple(notes))


# ---- which cells -----------------------------------------------------------------------------------------


def _chosen(matching: Matching, tasks: Sequence[str]) -> tuple[CellPair, ...]:
    """
    :raises UsageError: there is none.
    """
    here, there = matching.here, matching.there
    if not matching.cells:
        raise UsageError(f"{here} and {there} have no task in common")
    names = {name for pair in matching.cells for name in _names(pair)}
    for pattern in tasks:
        if not any(fnmatchcase(name, pattern) for name in names):
            _refuse_alone(pattern, here, there)
            raise UnknownName("task", pattern, names)
    found = [pair for pair in matching.cells if not tasks or _is_named(pair, tasks)]
    for side in (here, there):
        _check_outcomes(side)
    return tuple(found)


def _refuse_alone(pattern: str, here: Side, there: Side) -> None:
    """:raises UsageError: a task that is meant is on one side only."""
    for side, other in ((here, there), (there, here)):
        if any(fnmatchcase(cell.name, pattern) for cell in side.cells):
            raise UsageError(f"--tasks {pattern}: {side} has it, and {other} has not")


def _names(pair: CellPair) -> tuple[str, str]:
    return pair.first.name, pair.name


def _is_named(pair: CellPair, tasks: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in _names(pair) for pattern in tasks)


def _check_outcomes(side: Side) -> None:
    """:raises UsageError: it was made before scores were kept by item."""
    tasks = [cell for cell in side.cells if cell.kind == "task"]
    if tasks and not any(cell.outcomes for cell in tasks):
        raise UsageError(
            f"{side.called or side.run} keeps no scores by item, as older runs do not: "
            f"slmeval rescore {side.run} makes a run that does, from its answers"
        )


def _of_differences(matching: Matching, cells: Iterable[CellPair], *, shared: bool) -> list[str]:
    """Notes on what differs.

    :raises UsageError: something does, and it was not asked for what is shared.
    """
    names = {each.name for cell in cells for each in _whole(cell) if each.first.kind != "probe"}
    by_difference: dict[str, list[str]] = {}
    for name, differences in matching.differences.items():
        for difference in differences if name in names else ():
            by_difference.setdefault(difference, []).append(name)
    lines = [f"{difference} ({listed(found)})" for difference, found in by_difference.items()]
    if lines and not shared:
        raise UsageError(
            f"{matching.here} and {matching.there} are not comparable: {'; '.join(lines)}: "
            "--shared compares the items of both all the same"
        )
    return [f"not asked alike, and compared on the items of both: {line}" for line in lines]


def _of_probes(matching: Matching, cells: Iterable[CellPair]) -> list[str]:
    """What is said of each probe, beside its figures."""
    lines: dict[str, list[str]] = {}
    for cell in cells:
        if cell.first.kind == "probe":
            lines.setdefault(_TIMED if _is_timed(cell) else _ONCE, []).append(cell.name)
            for difference in matching.differences.get(cell.name, ()):
                lines.setdefault(f"not measured alike: {difference}", []).append(cell.name)
    return [f"{listed(names)}: {line}" for line, names in lines.items()]


def _is_timed(cell: CellPair) -> bool:
    return not any(figure.unit == "MiB" for figure in cell.first.figures)


def _whole(pair: CellPair) -> list[CellPair]:
    """The cell, and those below it."""
    return [pair, *(each for member in pair.members for each in _whole(member))]


# ---- each figure -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tested:
    """A figure of a cell, tested but without its interval yet; without ``pairs`` the ``note`` says why."""

    cell: CellPair
    figure: Figure
    pairs: paired.Pairs | None
    note: str = ""
    gained: int = 0
    lost: int = 0
    p: float | None = None
    p_holm: float | None = None


def _tested(cell: CellPair, name: str) -> _Tested:
    figure = figure_named(cell.first, name)
    assert figure is not None, "its name was taken from there"
    if cell.first.kind == "probe":
        return _Tested(cell, figure, None, _unavailable(cell, name))
    try:
        pairs = pairs_of(cell, name)
    except Unpaired as error:
        return _Tested(cell, figure, None, str(error))
    gained, lost = _changed(pairs.first, pairs.second, figure)
    return _Tested(cell, figure, pairs, "", gained, lost, _mcnemar(pairs, figure))


def _unavailable(cell: CellPair, name: str) -> str:
    """Why a probe's figure has no value, on one side at least."""
    figures = (figure_named(cell.first, name), figure_named(cell.second, name))
    return next((figure.note or "unavailable" for figure in figures if figure and figure.value is None), "")


def _changed(first: Sequence[float], second: Sequence[float], figure: Figure) -> tuple[int, int]:
    """How many items became better and worse; none where nobody says what is better."""
    if figure.higher_is_better is None:
        return 0, 0
    up = sum(after > before for before, after in zip(first, second, strict=True))
    down = sum(after < before for before, after in zip(first, second, strict=True))
    return (up, down) if figure.higher_is_better else (down, up)


def _mcnemar(pairs: paired.Pairs, figure: Figure) -> float | None:
    """The exact test, where scores are 0 or 1 and count alike; of items that belong together, by cluster.

    A cluster is on the side that most of its changed items are on.
    """
    binary = pairs.scale == "mean" and {*pairs.first, *pairs.second} <= {0.0, 1.0}
    alike = not pairs.weights or max(pairs.weights) - min(pairs.weights) < 1e-9
    if not binary or not alike or figure.higher_is_better is None:
        return None
    net: Counter[int] = Counter()
    names = pairs.clusters or range(len(pairs.first))
    for name, before, after in zip(names, pairs.first, pairs.second, strict=True):
        if before != after:
            net[name] += 1 if after > before else -1
    return paired.mcnemar(sum(n > 0 for n in net.values()), sum(n < 0 for n in net.values()))


def _corrected(tested: Sequence[_Tested]) -> list[_Tested]:
    """Each with its p by Holm: for as many tests as there are tasks, groups for themselves.

    Of a task that has not the same figure its first one counts.
    """
    families: dict[bool, dict[str, list[_Tested]]] = {True: {}, False: {}}
    for each in tested:
        families[each.cell.first.kind == "group"].setdefault(each.cell.name, []).append(each)
    found: dict[int, float | None] = {}
    for family in families.values():
        for figure in dict.fromkeys(each.figure.name for own in family.values() for each in own):
            tests = [_named(own, figure) or own[0] for own in family.values()]
            corrected = paired.holm([test.p for test in tests])
            found |= {
                id(test): p for test, p in zip(tests, corrected, strict=True) if test.figure.name == figure
            }
    return [replace(each, p_holm=found[id(each)]) for each in tested]


def _named(tests: Iterable[_Tested], figure: str) -> _Tested | None:
    return next((test for test in tests if test.figure.name == figure), None)


def _folded(tested: Sequence[_Tested], wanted: Wanted) -> tuple[list[_Tested], list[str]]:
    """Those that are shown, and what is said of the members of large groups that are not."""
    if wanted.tasks:
        return list(tested), []
    groups = {each.cell.name: each.cell for each in tested if len(each.cell.members) > _MANY}
    members = {below.name for cell in groups.values() for below in _whole(cell)[1:] if not below.members}
    hidden = [each for each in tested if each.cell.name in members and not _stands_out(each)]
    if not hidden:
        return list(tested), []
    count = len({each.cell.name for each in hidden})
    note = (
        f"{count} members of {listed(list(groups))} are left out: by McNemar's test with Holm's correction "
        f"none differs at {_CHANCE} (--tasks '*' shows them)"
    )
    out_of_sight = set(map(id, hidden))
    return [each for each in tested if id(each) not in out_of_sight], [note]


def _stands_out(each: _Tested) -> bool:
    return each.p_holm is not None and each.p_holm < _CHANCE


def _estimated(each: _Tested) -> FigureDifference:
    cell, figure, pairs = each.cell.first, each.figure, each.pairs
    other = figure_named(each.cell.second, figure.name)
    made = FigureDifference(
        cell.name,
        None if cell.kind == "probe" else cell.shots,
        figure.name,
        figure.unit,
        figure.higher_is_better,
        figure.value,
        other.value if other else None,
        None,
        # what has no items was measured so often on the first side; of items none is on both
        n=figure.n if cell.kind == "probe" else 0,
        note=each.note,
        chat=cell.chat,
    )
    if pairs is None:
        return made
    first, second = values_of(pairs)
    return replace(
        made,
        first=first,
        second=second,
        change=paired.contrast(pairs),
        gained=each.gained,
        lost=each.lost,
        n=len(pairs.first),
        p=each.p,
        p_holm=each.p_holm,
        detectable=paired.detectable(pairs),
    )


# ---- the items that changed ------------------------------------------------------------------------------


def _flips(shown: Sequence[_Tested], wanted: Wanted) -> tuple[tuple[Flip, ...], list[str]]:
    """Of each task the first figure's, or all that were named; and how many more there are."""
    if wanted.items is None:
        return (), []
    found: list[Flip] = []
    more: list[str] = []
    for each in _to_list(shown, all_figures=bool(wanted.figures)):
        flips, changed = flips_of(each.cell, each.figure, wanted.items)
        found += flips
        if changed > wanted.items:
            more.append(f"{changed:,} of {each.cell.name}/{each.figure.name}")
    line = f"{wanted.items:,} of each task are listed (--items N), and more changed: {listed(more, 8)}"
    return tuple(dict.fromkeys(found)), [line] if more else []


def _to_list(shown: Iterable[_Tested], *, all_figures: bool) -> list[_Tested]:
    comparable = [each for each in shown if each.pairs is not None]
    if all_figures:
        return comparable
    firsts: Mapping[str, _Tested] = {each.cell.name: each for each in reversed(comparable)}
    return [each for each in comparable if firsts[each.cell.name] is each]
