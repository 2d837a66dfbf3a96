"""The rules of a gate: ``TASK[@SHOTS]/FIGURE OP LIMIT``, as people write them.

A limit is a number (``0.30``, ``30%``, ``900 MiB``), or is made of the baseline's value: ``baseline``,
``baseline - 1pt``, ``0.95 * baseline``, ``98% * baseline``, ``1.05 * baseline + 2 MiB``. ``pt`` is a
percentage point. Nothing is evaluated: there is no other arithmetic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple

from slmeval.errors import UnknownName, UsageError
from slmeval.text import clean
from slmeval.toml_file import parsed, read_bytes
from slmeval.types import CellResult, Figure
from slmeval.verdicts import Answer

Operator = Literal[">=", "<=", ">", "<"]

EXAMPLE = "arc_easy/acc_norm >= baseline - 1pt"
#: characters that a rule may have, and a number in it
_LONGEST, _LONGEST_NUMBER = 300, 24

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_OPERATOR = re.compile(r"[<>]=?|=[<>]|[=!~]=|[≤≥]")
_NAME = re.compile(r"(?P<task>[^/@\s]+)(?:@(?P<shots>[^/]*))?/(?P<figure>\S+)")
_AMOUNT = rf"(?P<number>{_NUMBER})\s*(?P<unit>%|[A-Za-z][\w/, ]*)?"
_ABSOLUTE = re.compile(rf"(?P<sign>[+-]?)\s*{_AMOUNT}", re.ASCII)
_RELATIVE = re.compile(
    rf"(?:(?P<before>{_NUMBER})\s*(?P<before_percent>%?)\s*\*\s*)?baseline"
    rf"(?:\s*\*\s*(?P<after>{_NUMBER})\s*(?P<after_percent>%?))?"
    rf"(?:\s*(?P<sign>[+-])\s*{_AMOUNT})?",
    re.ASCII,
)
#: what people call the throughput, which no other figure's name begins with
_SHORTHAND = re.compile(r"tok_s(?=[@_]|$)")

#: units by what they measure, each in the smallest of its kind
_KINDS: tuple[Mapping[str, float], ...] = (
    {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    {"us": 1, "ms": 1e3, "s": 1e6},
    {"tokens": 1, "tok": 1},
)
#: hundredths: of 1 where the figure is a share, and as they are where it is in percent
_HUNDREDTHS = ("pt", "%")


@dataclass(frozen=True)
class Rule:
    """What one figure must be.

    ``task`` may be a pattern (``*``, ``?``, ``[ab]``), ``shots`` is ``None`` where any will do. The limit is
    ``factor`` times the baseline's value and ``amount`` of ``unit`` more; ``factor`` is ``None`` where the
    limit is a number. ``unit`` is as it was written, "" where it is the figure's.
    """

    text: str
    task: str
    shots: int | None
    figure: str
    op: Operator
    factor: float | None
    amount: float = 0.0
    unit: str = ""

    @property
    def needs_baseline(self) -> bool:
        """Whether the limit is made of a baseline's value."""
        return self.factor is not None

    @property
    def upward(self) -> bool:
        """Whether more is better to this rule."""
        return self.op[0] == ">"

    @property
    def strict(self) -> bool:
        """Whether a value that is exactly the limit breaks the rule."""
        return len(self.op) == 1

    @property
    def offset(self) -> float:
        """``amount`` as a share where it is in hundredths; else as it was written."""
        return self.amount / 100 if self.unit in _HUNDREDTHS else self.amount

    def offset_in(self, unit: str) -> float:
        """``amount`` in a figure's unit ("" of a share).

        :raises UsageError: the rule's unit is of another kind.
        """
        if self.unit in _HUNDREDTHS and unit in ("", "%"):
            return self.offset if unit == "" else self.amount
        times = _times(self.unit or unit, unit)
        if times is None:
            raise _wrong(self.text, f"{_short(self.unit)} is no unit for {self.figure}, {_said(unit)}")
        return self.amount * times

    def limit(self, baseline: float | None, unit: str) -> float:
        """What the value is held against, in ``unit``; ``baseline`` is the baseline's value, if it is needed.

        :raises UsageError: the unit is of another kind, there is no baseline where one is needed, it is
            below 0 and the rule wants a share of it (that would be more than all of it), or the limit is no
            finite number.
        """
        made = self._limit(baseline, unit)
        if not math.isfinite(made):
            raise _wrong(self.text, "its limit is larger than any number")
        return made

    def _limit(self, baseline: float | None, unit: str) -> float:
        if self.factor is None:
            return self.offset_in(unit)
        if baseline is None:
            raise _wrong(self.text, "it needs a baseline, and there is none")
        if baseline < 0 and self.factor != 1:
            raise _wrong(
                self.text, f"the baseline is {baseline:.4g}, below 0: give an amount in place of a factor"
            )
        return self.factor * baseline + self.offset_in(unit)

    def decide(self, low: float, high: float) -> Answer:
        """The answer where value - limit lies between ``low`` and ``high``, as sure as these are."""
        if math.isnan(low) or math.isnan(high):
            return "inconclusive"
        if not self.upward:
            low, high = -high, -low
        if low > 0 or (low == 0 and not self.strict):
            return "pass"
        return "fail" if high < 0 or (high == 0 and self.strict) else "inconclusive"


# ---- reading one ---------------------------------------------------------------------------------------


def parse_rule(text: str) -> Rule:
    """The rule that was written.

    :raises UsageError: it is none; what is wrong with it is said, and how a right one looks.
    """
    if len(text) > _LONGEST:
        raise _wrong(text, f"it has {len(text):,} characters, and {_LONGEST} are enough for a rule")
    whole = clean(text)
    found = _OPERATOR.search(whole)
    if found is None:
        raise _wrong(whole, "there is no >=, <=, > or < in it")
    if found[0] not in (">=", "<=", ">", "<"):
        raise _wrong(whole, f"{found[0]} is none of >=, <=, > and <")
    task, shots, figure = _named(whole, whole[: found.start()].strip())
    limit = _limit(whole, whole[found.end() :].strip())
    op: Any = found[0]
    return Rule(whole, task, shots, figure, op, *limit)


def _named(whole: str, left: str) -> tuple[str, int | None, str]:
    """task, shots, figure"""
    found = _NAME.fullmatch(left)
    if found is None:
        raise _wrong(whole, f"{_short(left)} is not TASK/FIGURE or TASK@SHOTS/FIGURE")
    shots = found["shots"]
    if shots is not None and not (shots.isascii() and shots.isdecimal() and len(shots) <= 6):
        raise _wrong(whole, f"{_short(shots)} is no number of shots")
    return (
        found["task"],
        None if shots is None else int(shots),
        _SHORTHAND.sub("tokens_per_s", found["figure"]),
    )


class _Limit(NamedTuple):
    factor: float | None
    amount: float
    unit: str


def _limit(whole: str, right: str) -> _Limit:
    if found := _RELATIVE.fullmatch(right):
        return _relative(whole, found)
    if (found := _ABSOLUTE.fullmatch(right)) and "baseline" not in right:
        return _Limit(None, _signed(whole, found), found["unit"] or "")
    raise _wrong(
        whole, f"{_short(right)} is no limit: a number, or baseline with * a number, + or - a number"
    )


def _relative(whole: str, found: re.Match[str]) -> _Limit:
    if found["before"] and found["after"]:
        raise _wrong(whole, "baseline has a factor on each side")
    percent = found["before_percent"] or found["after_percent"]
    factor = _number(whole, found["before"] or found["after"] or "1") / (100 if percent else 1)
    if factor == 0:
        raise _wrong(whole, "0 times the baseline is no limit: leave baseline out")
    amount, unit = (_signed(whole, found), found["unit"] or "") if found["number"] else (0.0, "")
    if unit == "%":
        less = 100 + amount
        raise _wrong(
            whole,
            f"{found['number']}% of what? write {less:g}% * baseline,"
            f" or baseline {found['sign']} {found['number']}pt for percentage points",
        )
    return _Limit(factor, amount, unit)


def _signed(whole: str, found: re.Match[str]) -> float:
    number = _number(whole, found["number"])
    return -number if found["sign"] == "-" else number


def _number(whole: str, text: str) -> float:
    if len(text) > _LONGEST_NUMBER:
        raise _wrong(whole, f"{_short(text)} has more digits than any figure")
    number = float(text)
    if not math.isfinite(number):
        raise _wrong(whole, f"{_short(text)} is no finite number")
    return number


def _wrong(text: str, reason: str) -> UsageError:
    return UsageError(f"rule {_short(text, 120)}: {reason} (a right one: {EXAMPLE})")


def _short(text: str, most: int = 40) -> str:
    text = clean(text[: most + 1])
    return repr(text if len(text) <= most else f"{text[: most - 3]}...")


# ---- units ---------------------------------------------------------------------------------------------


def _times(unit: str, wanted: str) -> float | None:
    """By what a number in ``unit`` is multiplied to be in ``wanted``; ``None`` where their kinds differ."""
    if unit == wanted:
        return 1.0
    (upper, slash, below), (wanted_upper, wanted_slash, wanted_below) = (
        unit.partition("/"),
        wanted.partition("/"),
    )
    if (slash, below) != (wanted_slash, wanted_below):
        return None
    kind = next((kind for kind in _KINDS if upper in kind and wanted_upper in kind), None)
    return None if kind is None else kind[upper] / kind[wanted_upper]


def _said(unit: str) -> str:
    return f"which is in {unit}" if unit else "which has none: 0.01, 1pt and 1% are the same there"


# ---- what it is about ------------------------------------------------------------------------------------


def figure_of(rule: Rule, cell: CellResult) -> Figure | None:
    """The figure of ``cell`` that the rule is about, or ``None``.

    A probe of which nothing could be measured has one figure under its own name, which says why: it stands
    for all that the probe would have given.
    """
    for figure in cell.figures:
        if figure.name == rule.figure:
            return figure
    only = cell.figures[0] if len(cell.figures) == 1 else None
    unmeasured = only is not None and only.source == "unavailable" and only.name == cell.name
    return only if unmeasured else None


def cells_of(rule: Rule, cells: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """The cells that the rule is about: every one that has its figure, whatever its model, shots and chat."""
    return tuple(cell for cell in cells if _is_about(rule, cell) and figure_of(rule, cell) is not None)


def matching(rule: Rule, cells: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """As :func:`cells_of`, one at least.

    :raises UnknownName: there is none; the nearest right name is told, of the same task where there is that.
    """
    cells = tuple(cells)
    if found := cells_of(rule, cells):
        return found
    about = [cell for cell in cells if _is_about(rule, cell)]
    raise UnknownName("figure", _name(rule), _names(rule, about or cells))


def _is_about(rule: Rule, cell: CellResult) -> bool:
    return fnmatchcase(cell.name, rule.task) and rule.shots in (None, cell.shots)


def _name(rule: Rule) -> str:
    return f"{rule.task}{'' if rule.shots is None else f'@{rule.shots}'}/{rule.figure}"


def _names(rule: Rule, cells: Iterable[CellResult]) -> set[str]:
    """What a rule could be about, written in the manner of this one."""
    shots = rule.shots is not None
    return {f"{c.name}{f'@{c.shots}' if shots else ''}/{figure.name}" for c in cells for figure in c.figures}


# ---- files -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleFile:
    """A file of rules. What its table ``[gate]`` does not say is ``None``."""

    path: Path
    rules: tuple[Rule, ...]
    confirm: int | None = None
    shared: bool | None = None


_KEYS, _SETTINGS = ("rules", "gate"), ("confirm", "shared")


def read_rules(path: Path) -> RuleFile:
    """The rules of a TOML file: ``rules = ["...", ...]``, and settings in a table ``[gate]``.

    :raises UsageError: it cannot be read, or something in it is wrong; it is said what and where.
    """
    table = parsed(path, read_bytes(path, "file of rules"))
    _check_keys(path, "key", table, _KEYS)
    gate = table.get("gate", {})
    if not isinstance(gate, dict):
        raise UsageError(f"{path}: gate must be a table: [gate], and below it its settings")
    _check_keys(path, "setting of [gate]", gate, _SETTINGS)
    return RuleFile(path, _rules(path, table.get("rules")), _confirm(path, gate), _shared(path, gate))


def _check_keys(path: Path, kind: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{path}: {UnknownName(kind, clean(key), known)}")


def _rules(path: Path, given: object) -> tuple[Rule, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        # a gate without a rule would pass whatever happens
        raise UsageError(f'{path}: rules must be a list of one text or more: rules = ["{EXAMPLE}"]')
    found: dict[str, Rule] = {}
    for place, text in enumerate(given, 1):
        try:
            rule = parse_rule(text)
        except UsageError as error:
            raise UsageError(f"{path}, rule {place}: {error}") from None
        if rule.text in found:
            raise UsageError(f"{path}, rule {place}: {rule.text!r} is there twice")
        found[rule.text] = rule
    return tuple(found.values())


def _confirm(path: Path, gate: Mapping[str, Any]) -> int | None:
    value = gate.get("confirm")
    if value is not None and (type(value) is not int or value < 0):
        raise UsageError(f"{path}: confirm must be a whole number, 0 or more, not {_short(str(value))}")
    return value


def _shared(path: Path, gate: Mapping[str, Any]) -> bool | None:
    value = gate.get("shared")
    if value is not None and type(value) is not bool:
        raise UsageError(f"{path}: shared must be true or false, not {_short(str(value))}")
    return value
