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

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from slmeval_math.annotations import CannotRenumber, Note, final_answer, read_notes, value_of
from slmeval_math.question_numbers import Given, alike, given_numbers, rewritten

#: draws until one fits
_DRAWS = 3000


@dataclass(frozen=True)
class Renumbered:
    """A problem with other numbers, its answer, and the old numbers with the new ones."""

    question: str
    answer: Fraction
    changed: Mapping[int, int]


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
        return Renumbered(rewritten(self.question, changed), found[-1], changed) if found else None


def read_problem(question: str, answer: str) -> Problem:
    """
    :raises CannotRenumber: it keeps its numbers, and why.
    """
    notes, final = read_notes(answer), final_answer(answer)
    if notes[-1].value != final:
        raise CannotRenumber("the last annotation is not the answer")
    given = given_numbers(question, _used(notes))
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
        if found and found.answer != problem.answer and alike(question, changed):
            return found
    raise CannotRenumber(f"none of {_DRAWS} draws leaves whole numbers whole and all numbers above zero")


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


def _check_origins(notes: Sequence[Note], given: Given) -> None:
    """
    :raises CannotRenumber: a number of unknown origin, or a result that nothing is made of.
    """
    same = {int(value): int(value) for value in given.free}
    results = [note.value for note in notes]
    for place, note in enumerate(notes):
        for where, value in note.numbers.items():
            if value not in _origins(note, where, notes, results[:place], given, same):
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
            result = value_of(note.tree, numbers)
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
