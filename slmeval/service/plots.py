"""Plots as SVG, made here: no script draws, and a reader without eyes for them has their words.

Pure functions of plain values; texts are made safe as on any page. Sizes are in the units of the view box,
colours are the stylesheet's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from markupsafe import Markup

from slmeval.service.shown import plain

#: widest label and value in a plot of intervals, in characters
_LABEL, _TELLS = 40, 22
#: of a plot of intervals: width, margin at the sides, height of a row and of the axis
_WIDTH, _SIDE, _ROW, _AXIS = 380.0, 8.0, 38.0, 24.0
#: of a line: width, height, and the margins left, right, above, below
_LINE_WIDTH, _LINE_HEIGHT = 720.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 16.0, 12.0, 30.0
#: the room for its unit
_UNIT = 18.0
#: of a raw series
_SMALL_WIDTH, _SMALL_HEIGHT, _SMALL_SIDE = 260.0, 64.0, 3.0
#: so many points of a series are drawn at most: of more, the lowest and highest of each stretch
_POINTS = 200
#: more points over runs touch each other: they are drawn small, their intervals as the band alone, and the
#: keyboard passes them by: a table has the same links
_DENSE = 60
#: so many steps between ticks at most
_STEPS = 5


@dataclass(frozen=True)
class Interval:
    """A value with its interval, where it has one; ``tells`` is the value in words, ``chance`` a mark."""

    label: str
    value: float
    low: float | None
    high: float | None
    tells: str
    chance: float | None = None


@dataclass(frozen=True)
class Point:
    """A value over runs: ``label`` names it, ``tells`` says all of it, ``address`` is where it leads.

    ``marked`` ones are drawn as another kind (a sample beside whole data sets, say).
    """

    label: str
    value: float
    low: float | None
    high: float | None
    tells: str
    address: str = ""
    marked: bool = False


def intervals(rows: Sequence[Interval], title: str) -> Markup:
    """Values below each other with their 95% intervals, on one scale; nothing where there are none."""
    rows = [row for row in rows if _can_be_drawn(row.value)]
    if not rows:
        return Markup("")
    scale = _Scale.over(
        _numbers((row.value, row.low, row.high, row.chance) for row in rows), _SIDE, _WIDTH - _SIDE, zero=True
    )
    height = _ROW * len(rows) + _AXIS
    pieces = [_grid_down(scale, height - _AXIS), *(_row(row, at, scale) for at, row in enumerate(rows))]
    pieces.append(_ticks_below(scale, height - 7))
    told = "; ".join(f"{plain(row.label, _LABEL)}: {plain(row.tells)}" for row in rows)
    return _svg(_WIDTH, height, title, told, pieces)


def _row(row: Interval, at: int, scale: _Scale) -> Markup:
    top = at * _ROW
    middle = top + 26
    pieces = [
        _text(_SIDE, top + 14, plain(row.label, _LABEL)),
        _text(_WIDTH - _SIDE, top + 14, plain(row.tells, _TELLS), "end"),
    ]
    if _can_be_drawn(row.chance):
        pieces.append(
            _line(scale.at(row.chance), middle - 8, scale.at(row.chance), middle + 8, "axis", "3 2")
        )
    if _can_be_drawn(row.low) and _can_be_drawn(row.high):
        left, right = scale.at(row.low), scale.at(row.high)
        pieces.append(_line(left, middle, right, middle, "whisker"))
        pieces += [_line(end, middle - 4, end, middle + 4, "whisker") for end in (left, right)]
    pieces.append(_dot(scale.at(row.value), middle))
    return Markup("").join(pieces)


def over_runs(points: Sequence[Point], title: str, unit: str = "") -> Markup:
    """A value over runs, the oldest first, with a band of its 95% intervals; nothing where there is none."""
    points = [point for point in points if _can_be_drawn(point.value)]
    if not points:
        return Markup("")
    # the unit stands above the numbers of the scale
    top = _TOP + (_UNIT if unit else 0.0)
    numbers = _numbers((point.value, point.low, point.high) for point in points)
    up = _Scale.over(numbers, _LINE_HEIGHT - _BOTTOM, top)
    step = (_LINE_WIDTH - _LEFT - _RIGHT) / max(len(points) - 1, 1)
    middle = (_LEFT + _LINE_WIDTH - _RIGHT) / 2
    places = [_LEFT + step * at if len(points) > 1 else middle for at in range(len(points))]
    pieces = [_grid_across(up), _band(points, places, up)]
    pieces.append(_curve([(x, up.at(point.value)) for x, point in zip(places, points, strict=True)]))
    dense = len(points) > _DENSE
    pieces += [
        _point(point, x, up, dense, dense and _in_band(points, at))
        for at, (x, point) in enumerate(zip(places, points, strict=True))
    ]
    pieces += _ends(points, places)
    if unit:
        pieces.append(_text(4, 14, plain(unit, 40), "start", "dim"))
    told = "; ".join(f"{plain(point.label, _LABEL)}: {plain(point.tells)}" for point in points[-20:])
    # a picture's parts are not read aloud: one with links in it is a group
    role = "group" if any(point.address for point in points) else "img"
    return _svg(_LINE_WIDTH, _LINE_HEIGHT, title, told, pieces, role)


def series(values: Sequence[float], title: str) -> Markup:
    """A raw series, value after value, from its lowest to its highest; nothing where there is none."""
    values = [each for each in values if _can_be_drawn(each)]
    if not values:
        return Markup("")
    up = _Scale.tight(values, _SMALL_HEIGHT - _SMALL_SIDE, _SMALL_SIDE)
    room = _SMALL_WIDTH - 2 * _SMALL_SIDE
    drawn = _thinned(values)
    last = max(len(values) - 1, 1)
    places = [(_SMALL_SIDE + room * at / last, up.at(each)) for at, each in drawn]
    pieces = [_line(0, _SMALL_HEIGHT - 0.5, _SMALL_WIDTH, _SMALL_HEIGHT - 0.5, "grid")]
    pieces.append(_curve(places) if len(places) > 1 else _dot(*places[0]))
    told = f"{len(values):,} values from {min(values):.4g} to {max(values):.4g}"
    return _svg(_SMALL_WIDTH, _SMALL_HEIGHT, title, told, pieces)


def _thinned(values: Sequence[float]) -> list[tuple[int, float]]:
    """Values with their places; of very many, the lowest and the highest of each stretch."""
    if len(values) <= _POINTS:
        return list(enumerate(values))
    stretch = math.ceil(2 * len(values) / _POINTS)
    found: list[tuple[int, float]] = []
    for begin in range(0, len(values), stretch):
        part = range(begin, min(begin + stretch, len(values)))
        ends = {min(part, key=values.__getitem__), max(part, key=values.__getitem__)}
        found += [(at, values[at]) for at in sorted(ends)]
    return found


# ---- scales ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scale:
    """Where on the paper a value lies: ``low`` at ``begin``, ``high`` at ``end``; ``step`` between ticks."""

    low: float
    high: float
    step: float
    begin: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], begin: float, end: float, zero: bool = False) -> _Scale:
        """From one round number to another, around all values, with ``zero`` among them."""
        low, high = min(values), max(values)
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        span = high - low
        # of values that differ by rounding alone there is nothing to see
        step = _round_step(span if span > 1e-9 * max(abs(low), abs(high)) else abs(high) or 1.0)
        first, last = math.floor(low / step), math.ceil(high / step)
        last += first == last
        return cls(first * step, last * step, step, begin, end)

    @classmethod
    def tight(cls, values: Sequence[float], begin: float, end: float) -> _Scale:
        """From the lowest to the highest."""
        low, high = min(values), max(values)
        return cls(low, high, high - low, begin, end)

    def at(self, value: float) -> float:
        width = self.high - self.low
        share = (value - self.low) / width if width else 0.5
        return self.begin + (self.end - self.begin) * min(max(share, 0.0), 1.0)

    @property
    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + self.step * at for at in range(count + 1)]


def _round_step(span: float) -> float:
    """The smallest of 1, 2, 5, 10, ... of which a few make the span."""
    size = 10.0 ** math.floor(math.log10(span / _STEPS))
    return next(size * factor for factor in (1, 2, 5, 10, 20) if size * factor * _STEPS >= span * 0.999)


def _can_be_drawn(value: float | None) -> TypeGuard[float]:
    """Whether there is such a number, of a size for which sums and quotients have an end."""
    return value is not None and math.isfinite(value) and (value == 0 or 1e-100 < abs(value) < 1e100)


def _numbers(rows: Iterable[Iterable[float | None]]) -> list[float]:
    return [each for row in rows for each in row if _can_be_drawn(each)]


# ---- parts of a drawing ------------------------------------------------------------------------------


def _svg(
    width: float, height: float, title: str, told: str, pieces: Iterable[Markup], role: str = "img"
) -> Markup:
    head = Markup('<svg class="plot{}" viewBox="0 0 {} {}" role="{}" aria-label="{}">').format(
        " wide" if width == _LINE_WIDTH else "", _n(width), _n(height), role, f"{plain(title)}. {told}"
    )
    return head + Markup("").join(pieces) + Markup("</svg>")


def _n(number: float) -> str:
    """A place on the paper, to a tenth."""
    return f"{number:.1f}".removesuffix(".0")


def _line(x1: float, y1: float, x2: float, y2: float, name: str, dashes: str = "") -> Markup:
    dashed = Markup(' stroke-dasharray="{}"').format(dashes) if dashes else ""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"{}/>').format(
        name, _n(x1), _n(y1), _n(x2), _n(y2), dashed
    )


def _dot(x: float, y: float, radius: float = 4) -> Markup:
    return Markup('<circle class="dot" cx="{}" cy="{}" r="{}"/>').format(_n(x), _n(y), _n(radius))


def _text(x: float, y: float, text: str, anchor: str = "start", name: str = "") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        _n(x), _n(y), anchor, name, text
    )


def _curve(places: Sequence[tuple[float, float]]) -> Markup:
    points = " ".join(f"{_n(x)},{_n(y)}" for x, y in places)
    return Markup('<polyline class="curve" points="{}"/>').format(points)


def _band(points: Sequence[Point], places: Sequence[float], up: _Scale) -> Markup:
    """The intervals of neighbours joined; where one has none, the band has a gap."""
    parts: list[list[tuple[float, float, float]]] = [[]]
    for x, point in zip(places, points, strict=True):
        if _can_be_drawn(point.low) and _can_be_drawn(point.high):
            parts[-1].append((x, up.at(point.low), up.at(point.high)))
        else:
            parts.append([])
    shapes = []
    for part in parts:
        edge = [(x, low) for x, low, _ in part] + [(x, high) for x, _, high in reversed(part)]
        told = " ".join(f"{_n(x)},{_n(y)}" for x, y in edge)
        shapes.append(
            Markup('<polygon class="band" points="{}"/>').format(told) if len(part) > 1 else Markup("")
        )
    return Markup("").join(shapes)


def _in_band(points: Sequence[Point], at: int) -> bool:
    """Whether a neighbour's interval joins its own."""
    beside = (*points[max(at - 1, 0) : at], *points[at + 1 : at + 2])
    return any(_can_be_drawn(each.low) and _can_be_drawn(each.high) for each in beside)


def _point(point: Point, x: float, up: _Scale, dense: bool, joined: bool) -> Markup:
    y, radius = up.at(point.value), 2.5 if dense else 4
    pieces = [Markup("<title>{}</title>").format(f"{plain(point.label, _LABEL)}: {plain(point.tells)}")]
    if _can_be_drawn(point.low) and _can_be_drawn(point.high) and not joined:
        pieces.append(_line(x, up.at(point.low), x, up.at(point.high), "whisker"))
    hollow = Markup('<circle class="ring" cx="{}" cy="{}" r="{}"/>').format(_n(x), _n(y), _n(radius))
    pieces.append(hollow if point.marked else _dot(x, y, radius))
    whole = Markup("<g>{}</g>").format(Markup("").join(pieces))
    passed = Markup(' tabindex="-1"') if dense else Markup("")
    return Markup('<a href="{}"{}>{}</a>').format(point.address, passed, whole) if point.address else whole


def _grid_down(scale: _Scale, height: float) -> Markup:
    return Markup("").join(_line(scale.at(at), 0, scale.at(at), height, "grid") for at in scale.ticks)


def _ticks_below(scale: _Scale, y: float) -> Markup:
    """Numbers below the grid: those at the ends lean inwards."""
    ticks = scale.ticks
    anchors = ["start", *["middle"] * (len(ticks) - 2), "end"] if len(ticks) > 1 else ["start"]
    told = zip(ticks, anchors, strict=True)
    return Markup("").join(
        _text(scale.at(at), y, _tick(at, scale.step), anchor, "dim") for at, anchor in told
    )


def _grid_across(up: _Scale) -> Markup:
    pieces = []
    for at in up.ticks:
        pieces.append(_line(_LEFT, up.at(at), _LINE_WIDTH - _RIGHT, up.at(at), "grid"))
        pieces.append(_text(_LEFT - 6, up.at(at) + 4, _tick(at, up.step), "end", "dim"))
    return Markup("").join(pieces)


def _ends(points: Sequence[Point], places: Sequence[float]) -> list[Markup]:
    """The first and the last one's names below."""
    y = _LINE_HEIGHT - 8
    if len(points) == 1:
        return [_text(places[0], y, plain(points[0].label, _LABEL), "middle", "dim")]
    first = _text(places[0], y, plain(points[0].label, _LABEL), "start", "dim")
    return [first, _text(places[-1], y, plain(points[-1].label, _LABEL), "end", "dim")]


def _tick(value: float, step: float) -> str:
    """With the decimals of the step; what is very large or small by its power of ten."""
    if abs(value) < step / 2:
        return "0"
    if step >= 1e6 or step < 1e-4:
        return f"{value:.3g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}"
