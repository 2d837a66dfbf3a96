"""The same word problem with other numbers, and the answer that follows from the row's own annotations.

A solution of GSM8K notes its arithmetic: ``<<6*4=24>>``. Each number in there is the result of an earlier
note, a number of the question, or a constant that a word of the question stands for ("twice", "week").
Whole numbers of the question are drawn anew, every note is computed again, and the last one is the new
answer.

A row is left out wherever this might not be so: a note that does not come out, a number of unknown origin, a
result that no later note uses. Where a number may have several origins, the new numbers must make it the same
for all of them. Percentages, fractions, decimals, years, times and "days a week" stay as they are; so do
numbers that a word may stand for too, that may be a result too, or that the notes use more or less often
than the question names them, for then something was counted or computed that no note tells.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from random import Random

from slmeval_math.word_values import said_values, unit_values

#: draws until one fits
_DRAWS = 3000
_NOTE = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_FINAL = re.compile(r"####\s*(-?[\d,]+(?:\.\d+)?)\s*$")
_NUMBER = re.compile(r"(?<![\d.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\d)")
#: what makes a number of the question stay: what stands right before or behind it
_BEFORE = re.compile(r"[A-Za-z/:.]$|\b(?:in|grade|page|chapter|level|number|no\.) $|\d\s*(?:[-–—]|to)\s*$")
_BEHIND = re.compile(
    r"[a-z/:]|\s*(?:[-–—]|to)\s*\d|\s*%|\s+percent|\s*/|\s*[ap]\.?m\b|\s+o'clock"
    r"|\s+(?:day|time|hour|minute|week|month)s?\s+(?:an?|per|each|every|in)\s+(?:an?\s+|the\s+)?"
    r"(?:day|week|month|year|hour)",
    re.IGNORECASE,
)
_OPERATIONS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


class CannotRenumber(ValueError):
    """Why a row keeps its numbers."""


@dataclass(frozen=True)
class Renumbered:
    """A problem with other numbers, its answer, and the old numbers with the new ones."""

    question: str
    answer: Fraction
    changed: Mapping[int, int]


@dataclass(frozen=True)
class Note:
    """One annotation: its arithmetic and what it comes to.

    ``numbers`` are its numbers by where they stand; of these ``factors`` are multiplied or divided.
    """

    tree: ast.expr
    value: Fraction
    numbers: Mapping[int, Fraction]
    factors: frozenset[int]


@dataclass(frozen=True)
class Given:
    """The numbers of a question: those that stay, those that may change, those that units stand for."""

    stay: frozenset[Fraction]
    free: frozenset[Fraction]
    units: frozenset[Fraction]


@dataclass(frozen=True)
class Problem:
    """A row whose annotations tell how its answer follows from its question's numbers."""

    question: str
    answer: Fraction
    notes: tuple[Note, ...]
    given: Given

    def with_numbers(self, changed: Mapping[int, int]) -> Renumbered | None:
        """The problem with other numbers for the old ones, or ``None`` where these do not do."""
        found = _computed(self.notes, self.given, changed)
        return Renumbered(_rewritten(self.question, changed), found[-1], changed) if found else None


def read_problem(question: str, answer: str) -> Problem:
    """
    :raises CannotRenumber: it keeps its numbers, and why.
    """
    notes, final = _notes(answer), _final(answer)
    if notes[-1].value != final:
        raise CannotRenumber("the last annotation is not the answer")
    given = _given(question, notes)
    _check_origins(notes, given)
    return Problem(question, final, notes, given)


def renumbered(question: str, answer: str) -> Renumbered:
    """The same row always gets the same new numbers, and another answer.

    :raises CannotRenumber: it keeps its numbers, and why.
    """
    problem = read_problem(question, answer)
    draw = Random(hashlib.sha256(f"{question}\n{answer}".encode()).hexdigest())
    for _ in range(_DRAWS):
        changed = {int(value): _drawn(int(value), draw) for value in sorted(problem.given.free)}
        found = problem.with_numbers(changed)
        if found and found.answer != problem.answer and _alike(question, changed):
            return found
    raise CannotRenumber(f"none of {_DRAWS} draws leaves whole numbers whole and all numbers above zero")


# ---- what a row says ---------------------------------------------------------------------------------


def _notes(answer: str) -> tuple[Note, ...]:
    notes = tuple(_note(expression, value) for expression, value in _NOTE.findall(answer))
    if not notes or answer.count("<<") != len(notes):
        raise CannotRenumber("there is an annotation that is no arithmetic, or none at all")
    return notes


def _note(expression: str, value: str) -> Note:
    source = expression.replace(" ", "").replace(",", "")
    try:
        tree = ast.parse(source, mode="eval").body
        numbers = {
            node.col_offset: Fraction(str(ast.get_source_segment(source, node)))
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
        }
        note = Note(tree, Fraction(value.replace(",", "").strip()), numbers, frozenset(_factors(tree)))
        found = _value(tree, numbers)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        raise CannotRenumber(f"the annotation {expression} is no arithmetic") from None
    if found != note.value:
        raise CannotRenumber(f"the annotation {expression} does not come to {value}")
    return note


def _factors(tree: ast.expr) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            yield from (part.col_offset for part in (node.left, node.right) if isinstance(part, ast.Constant))


def _value(tree: ast.expr, numbers: Mapping[int, Fraction]) -> Fraction:
    """
    :raises ValueError, ZeroDivisionError: it is no arithmetic.
    """
    if isinstance(tree, ast.Constant):
        return numbers[tree.col_offset]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_value(tree.operand, numbers)
    if not isinstance(tree, ast.BinOp) or type(tree.op) not in _OPERATIONS:
        raise ValueError("no arithmetic")
    left, right = _value(tree.left, numbers), _value(tree.right, numbers)
    match _OPERATIONS[type(tree.op)]:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right


def _final(answer: str) -> Fraction:
    found = _FINAL.search(answer)
    if not found:
        raise CannotRenumber("no answer behind ####")
    return Fraction(found[1].replace(",", ""))


def _given(question: str, notes: Sequence[Note]) -> Given:
    """
    :raises CannotRenumber: none of the numbers may change.
    """
    said: Counter[Fraction] = Counter()
    stay = set(said_values(question))
    for match in _NUMBER.finditer(question):
        value = Fraction(match[0].replace(",", ""))
        said[value] += 1
        if not _is_free(question, match, value):
            stay.add(value)
    units, used = unit_values(question), _used(notes)
    free = {value for value, count in said.items() if count == used[value]} - stay - units
    if not free:
        raise CannotRenumber("no number of the question can be drawn anew")
    return Given(frozenset(stay | said.keys()) - free, frozenset(free), units)


def _used(notes: Sequence[Note]) -> Counter[Fraction]:
    """How often the notes use each number; those that may be a result not at all."""
    used: Counter[Fraction] = Counter()
    results: set[Fraction] = set()
    for note in notes:
        used.update(note.numbers.values())
        for value in results.intersection(note.numbers.values()):
            used[value] = -1_000_000
        results.add(note.value)
    return used


def _is_free(question: str, match: re.Match[str], value: Fraction) -> bool:
    if "." in match[0] or value < 2 or 1900 <= value <= 2100:
        return False
    return not (_BEFORE.search(question[: match.start()]) or _BEHIND.match(question, match.end()))


def _check_origins(notes: Sequence[Note], given: Given) -> None:
    """
    :raises CannotRenumber: a number of unknown origin, or a result that nothing is made of.
    """
    same = {int(value): int(value) for value in given.free}
    for place, note in enumerate(notes):
        for where, value in note.numbers.items():
            if not any(
                True
                for _ in _origins(
                    note, where, notes[:place], [each.value for each in notes[:place]], given, same
                )
            ):
                raise CannotRenumber(f"where {value} is from is not known")
    for place, note in enumerate(notes[:-1]):
        if not any(note.value in each.numbers.values() for each in notes[place + 1 :]):
            raise CannotRenumber(f"nothing is made of the result {note.value}")


# ---- other numbers -----------------------------------------------------------------------------------


def _drawn(value: int, draw: Random) -> int:
    """Another number of about the same size; round where it was round, so that it divides as well."""
    # random() is the one method whose sequence Python promises to keep for ever
    step = next((each for each in (1000, 100, 10, 5) if value % each == 0 and value > 2 * each), 1)
    low, high = max(2, value // 2), max(value * 2, value + 3)
    lowest, highest = -(-low // step), high // step
    return step * (lowest + int(draw.random() * (highest - lowest + 1)))


def _computed(notes: Sequence[Note], given: Given, changed: Mapping[int, int]) -> list[Fraction] | None:
    """Each note's new result, or ``None`` where these numbers do not do."""
    found: list[Fraction] = []
    for note in notes:
        numbers: dict[int, Fraction] = {}
        for where in note.numbers:
            origins = set(_origins(note, where, notes, found, given, changed))
            if len(origins) != 1:
                return None
            numbers[where] = origins.pop()
        try:
            result = _value(note.tree, numbers)
        except ZeroDivisionError:
            return None
        if not _fits(result, note.value):
            return None
        found.append(result)
    return found


def _origins(
    note: Note,
    where: int,
    before: Sequence[Note],
    found: Sequence[Fraction],
    given: Given,
    changed: Mapping[int, int],
) -> Iterator[Fraction]:
    """What a number of a note becomes, for each origin that it may have; ``found`` are the new results."""
    value = note.numbers[where]
    yield from (now for each, now in zip(before, found, strict=False) if each.value == value)
    # a unit is converted by a factor, and added to nothing
    if value in given.stay or (value in given.units and where in note.factors):
        yield value
    if value in given.free:
        yield Fraction(changed[int(value)])


def _fits(now: Fraction, then: Fraction) -> bool:
    """Above zero, whole where it was whole, and with two decimals at most elsewhere."""
    return now > 0 and (now * (1 if then.denominator == 1 else 100)).denominator == 1


def _alike(question: str, changed: Mapping[int, int]) -> bool:
    """Every number changes, and what was less, equal or more in the question is so again."""
    if any(old == new for old, new in changed.items()):
        return False
    old = sorted({Fraction(match[0].replace(",", "")) for match in _NUMBER.finditer(question)})
    new = [Fraction(changed.get(int(value), value) if value.denominator == 1 else value) for value in old]
    return all(low < high for low, high in pairwise(new))


def _rewritten(question: str, changed: Mapping[int, int]) -> str:
    def other(match: re.Match[str]) -> str:
        value = Fraction(match[0].replace(",", ""))
        if value not in changed:
            return match[0]
        new = changed[int(value)]
        return f"{new:,}" if "," in match[0] or (new >= 1000 and value < 1000) else str(new)

    return _NUMBER.sub(other, question)
