"""The parts of a readable report, before any markup."""

from __future__ import annotations

from dataclasses import dataclass

from slmeval.verdicts import Answer


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two; ``strong`` ones must not be overlooked."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of texts below a head; ``right`` are the columns of numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Listing:
    """Lines of a label and a text, below a title."""

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Command:
    """A line to be typed into a shell."""

    text: str


@dataclass(frozen=True)
class Answers:
    """Rules, each with how it was answered and the sentence that says why."""

    lines: tuple[tuple[Answer, str, str], ...]


@dataclass(frozen=True)
class Details:
    """What is read on demand, below a title: folded where that can be."""

    title: str
    blocks: tuple[Block, ...]


Block = Paragraph | Table | Listing | Command | Answers | Details
