"""The arithmetic that a solution of GSM8K notes in its text: ``<<6*4=24>>``."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

_NOTE = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_FINAL = re.compile(r"####\s*(-?[\d,]+(?:\.\d+)?)\s*$")
_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ARITHMETIC = re.compile(r"[\d.+\-*/()]{1,200}")


class CannotRenumber(ValueError):
    """Why a row keeps its numbers."""


@dataclass(frozen=True)
class Note:
    """One annotation: its arithmetic and what it comes to.

    ``numbers`` are its numbers by where they stand; of these ``factors`` are multiplied or divided.
    """

    tree: ast.expr
    value: Fraction
    numbers: Mapping[int, Fraction]
    factors: frozenset[int]


def read_notes(answer: str) -> tuple[Note, ...]:
    """All notes of a solution, at least one.

    :raises CannotRenumber: one does not come out, or is no arithmetic.
    """
    notes = tuple(_note(expression, value) for expression, value in _NOTE.findall(answer))
    if not notes or answer.count("<<") != len(notes):
        raise CannotRenumber("there is an annotation that is no arithmetic, or none at all")
    return notes


def _note(expression: str, value: str) -> Note:
    source, told = (part.replace(" ", "").replace(",", "") for part in (expression, value))
    try:
        if not _ARITHMETIC.fullmatch(source) or not _ARITHMETIC.fullmatch(told):
            raise ValueError("no arithmetic")
        tree = ast.parse(source, mode="eval").body
        numbers = {
            node.col_offset: Fraction(str(ast.get_source_segment(source, node)))
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
        }
        note = Note(tree, Fraction(told), numbers, frozenset(_factors(tree)))
        found = value_of(tree, numbers)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        raise CannotRenumber(f"the annotation {expression} is no arithmetic") from None
    if found != note.value:
        raise CannotRenumber(f"the annotation {expression} does not come to {value}")
    return note


def _factors(tree: ast.expr) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            yield from (part.col_offset for part in (node.left, node.right) if isinstance(part, ast.Constant))


def value_of(tree: ast.expr, numbers: Mapping[int, Fraction]) -> Fraction:
    """What the arithmetic comes to with these ``numbers`` in it.

    :raises ValueError, ZeroDivisionError: it is no arithmetic.
    """
    if isinstance(tree, ast.Constant):
        return numbers[tree.col_offset]
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -value_of(tree.operand, numbers)
    if not isinstance(tree, ast.BinOp) or type(tree.op) not in _OPERATIONS:
        raise ValueError("no arithmetic")
    return _OPERATIONS[type(tree.op)](value_of(tree.left, numbers), value_of(tree.right, numbers))


def final_answer(answer: str) -> Fraction:
    """
    :raises CannotRenumber: there is none.
    """
    found = _FINAL.search(answer)
    if not found:
        raise CannotRenumber("no answer behind ####")
    return Fraction(found[1].replace(",", ""))
