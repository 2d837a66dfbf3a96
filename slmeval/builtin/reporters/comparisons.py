"""What a readable report says of comparisons, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from slmeval.builtin.reporters.blocks import Block, Details, Listing, Paragraph, Table
from slmeval.builtin.reporters.text import last_part, number, plural, signed
from slmeval.differences import Compared, Comparison, Estimate, FigureDifference, Flip

#: two sides differ where p, corrected, is below this; where there is no p, the interval decides
_ALPHA = 0.05
#: flips that a reader is shown, and characters of each prompt
_SHOWN, _PROMPT = 200, 120


def comparisons(found: Sequence[Comparison]) -> Iterator[Block]:
    """Each side against the first one."""
    if not found:
        yield Paragraph("Nothing was compared.")
    for each in found:
        yield from _comparison(each)


def _comparison(each: Comparison) -> Iterator[Block]:
    yield Paragraph(f"{_side(each.second)} against {_side(each.first)}.", strong=True)
    yield Paragraph(summary(each.figures))
    if each.figures:
        yield table(each)
    yield from _flips(each.flips)
    told = (*each.notes, *remarks(each.figures))
    if told:
        yield Details("Notes", tuple(map(Paragraph, told)))


def _side(side: Compared) -> str:
    """``int8 (tiny · hf, run 20260802-101500-cd34)``; what its label says already is not said again."""
    model = f"{side.model} · {side.backend}"
    told = [model] if side.label != model else []
    told += [f"run {side.run}"] if side.label != side.run else []
    return f"{side.label} ({', '.join(told)})"


# ---- what is shown -----------------------------------------------------------------------------------


def summary(figures: Sequence[FigureDifference]) -> str:
    """``Worse: arc_easy@0/acc. Not shown to differ: 3 figures.``"""
    told: dict[str, list[str]] = {"Worse": [], "Better": [], "Changed": [], "": []}
    for figure in figures:
        if figure.change is not None:
            told[direction(figure, figure.change)].append(figure.label)
    rest = told.pop("")
    sentences = [f"{word}: {', '.join(names)}." for word, names in told.items() if names]
    sentences += [f"Not shown to differ: {plural(len(rest), 'figure')}."] if rest else []
    return " ".join(sentences) or "No figure could be compared."


def direction(figure: FigureDifference, change: Estimate) -> str:
    """Better, Worse, or Changed where neither is; empty where it is not shown to differ."""
    if not _differs(figure, change):
        return ""
    if figure.higher_is_better is None:
        return "Changed"
    return "Better" if (change.value > 0) is figure.higher_is_better else "Worse"


def _differs(figure: FigureDifference, change: Estimate) -> bool:
    corrected = figure.p if figure.p_holm is None else figure.p_holm
    return change.low > 0 or change.high < 0 if corrected is None else corrected < _ALPHA


# ---- the table ---------------------------------------------------------------------------------------


def table(each: Comparison) -> Table:
    """Each figure with its value on both sides, what changed, and how surely."""
    sides = (each.first.label, each.second.label)
    measured = ("Change", _interval_head(each.figures), "Gained/lost", "p (Holm)", "Detectable", "n")
    return Table(("Figure", *sides, *measured), tuple(map(_row, each.figures)), frozenset(measured[2:]))


def _interval_head(figures: Sequence[FigureDifference]) -> str:
    """With the intervals' level, where all have the same."""
    levels = {figure.change.level for figure in figures if figure.change is not None}
    return f"{100 * levels.pop():g}% CI" if len(levels) == 1 else "CI"


def _row(figure: FigureDifference) -> tuple[str, ...]:
    scale = _scale(figure)
    name = f"{figure.label} ({figure.unit})" if figure.unit else figure.label
    values = (_value(figure.first, scale), _value(figure.second, scale))
    if figure.change is None:
        return (name, *values, "not compared", "", "", "", "", f"{figure.n:,}")
    moved = f"{figure.gained:,}/{figure.lost:,}"
    p = figure.p if figure.p_holm is None else figure.p_holm
    seen = "" if figure.detectable is None else _finite(figure.detectable, scale)
    return (name, *values, *_change(figure.change, scale), moved, _p(p), seen, f"{figure.n:,}")


def _scale(figure: FigureDifference) -> float:
    values = [value for value in (figure.first, figure.second) if value is not None]
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)


def _value(value: float | None, scale: float) -> str:
    return "unavailable" if value is None else _finite(value, scale)


def _finite(value: float, scale: float) -> str:
    return number(value, scale) if math.isfinite(value) else str(value)


def _change(change: Estimate, scale: float) -> tuple[str, str]:
    """``-0.0125`` and ``[-0.0240, -0.0010]``"""
    value = signed(change.value, scale) if math.isfinite(change.value) else str(change.value)
    return value, f"[{_finite(change.low, scale)}, {_finite(change.high, scale)}]"


def _p(p: float | None) -> str:
    return "" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


# ---- below it ----------------------------------------------------------------------------------------


def _flips(flips: Sequence[Flip]) -> Iterator[Block]:
    if not flips:
        return
    lines = tuple((_place(flip), _flip(flip)) for flip in flips[:_SHOWN])
    more = len(flips) - len(lines)
    rest = (Paragraph(f"{more:,} more stand in the JSON report."),) if more else ()
    yield Details(plural(len(flips), "item") + " with another score", (Listing("", lines), *rest))


def _place(flip: Flip) -> str:
    """``arc_easy@0/acc, row 12``; the item's hash where its row is not known."""
    where = f"item {flip.item}" if flip.row is None else f"row {flip.row}"
    return f"{flip.task}/{flip.figure}, {where}"


def _flip(flip: Flip) -> str:
    told = [f"{flip.before:g} → {flip.after:g}"]
    if flip.margin_before is not None or flip.margin_after is not None:
        told.append(f"margin {_margin(flip.margin_before)} → {_margin(flip.margin_after)} nats")
    text = ", ".join(told)
    return text if flip.prompt is None else f"{text}: {last_part(flip.prompt, _PROMPT)}"


def _margin(margin: float | None) -> str:
    return "unknown" if margin is None else f"{margin:+.3f}"


def remarks(figures: Sequence[FigureDifference]) -> Iterator[str]:
    """What is to be said of single figures, and how the numbers were come by."""
    yield from (f"{figure.label}: {figure.note}" for figure in figures if figure.note)
    methods = dict.fromkeys(_method(figure.change) for figure in figures if figure.change is not None)
    if methods:
        yield f"Intervals: {', '.join(methods)}."
    if any(figure.p is not None for figure in figures):
        yield "p: McNemar's exact test, corrected over all tasks as Holm did."
    if any(figure.detectable is not None for figure in figures):
        yield "Detectable: the smallest difference that these items would have shown in 80 of 100 cases."


def _method(change: Estimate) -> str:
    return f"{change.method} ({plural(change.clusters, 'cluster')})" if change.clusters else change.method
