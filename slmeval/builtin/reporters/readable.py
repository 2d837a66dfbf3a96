"""Reports for readers: plain text for a terminal, and Markdown. Both say the same."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TextIO

import tabulate

from slmeval.api import Reporter
from slmeval.builtin.reporters.blocks import Block, Command, Listing, Paragraph, Table
from slmeval.builtin.reporters.content import report
from slmeval.builtin.reporters.text import markdown
from slmeval.text import clean
from slmeval.types import RunResult

#: columns of the terminal that text is wrapped to
_WIDTH = 100
#: beside longer labels there is no room for texts in a column of their own
_WIDEST_LABEL = 30
#: the columns of a table that is at most as wide as text; each further one adds some room
_COLUMNS, _ROOM = 7, 20
#: columns of names, which are looked for and copied, and how narrow others become before these do
_NAMES, _NARROW = ("Task", "Figure"), 18
#: blanks that tabulate puts between columns, and beside a head
_GAP, _PADDING = 2, 2


class TableReporter(Reporter):
    """Plain text, for a terminal 100 columns wide."""

    name = "table"
    suffix = "txt"

    def write(self, run: RunResult, out: TextIO) -> None:
        out.write("\n\n".join(_plain(block) for block in report(run)) + "\n")


class MarkdownReporter(Reporter):
    """Markdown, as GitHub shows it."""

    name = "md"
    suffix = "md"

    def write(self, run: RunResult, out: TextIO) -> None:
        out.write("\n\n".join(_markdown(block) for block in report(run)) + "\n")


# ---- plain text --------------------------------------------------------------------------------------


def _plain(block: Block) -> str:
    if isinstance(block, Table):
        tame = _escaped(block, clean)
        return _tabulate(tame, "simple", _widths(tame))
    if isinstance(block, Listing):
        return "\n".join([clean(block.title), *_aligned(block.lines)])
    if isinstance(block, Command):
        return clean(block.text)
    return _wrap(clean(block.text))


def _widths(block: Table) -> list[int]:
    """As wide as its texts; where the table would be too wide, the widest columns wrap, names last."""
    heads = [len(name) + _PADDING for name in block.head]
    widths = [max(map(len, column)) for column in zip(*block.rows, strict=True)]
    widths = [max(pair) for pair in zip(heads, widths, strict=True)]
    room = _WIDTH + _ROOM * max(0, len(widths) - _COLUMNS) - _GAP * (len(widths) - 1)

    def wraps_first(column: int) -> tuple[bool, int]:
        return block.head[column] not in _NAMES and widths[column] > _NARROW, widths[column]

    while sum(widths) > room:
        widths[max(range(len(widths)), key=wraps_first)] -= 1
    return widths


def _aligned(lines: tuple[tuple[str, str], ...]) -> list[str]:
    cleaned = [(clean(label), clean(text)) for label, text in lines]
    width = max(len(label) for label, _ in cleaned)
    if width > _WIDEST_LABEL:
        return [_wrap(f"  {label}: {text}", 4) for label, text in cleaned]
    return [_wrap(f"  {label:{width}}  {text}", width + 4) for label, text in cleaned]


def _wrap(text: str, margin: int = 0) -> str:
    # paths and hashes are copied from reports: they are left whole
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=" " * margin, break_long_words=False, break_on_hyphens=False
    )


# ---- Markdown ----------------------------------------------------------------------------------------


def _markdown(block: Block) -> str:
    if isinstance(block, Table):
        return _tabulate(_escaped(block, markdown), "github")
    if isinstance(block, Listing):
        lines = [f"- {markdown(label)}: {markdown(text)}" for label, text in block.lines]
        return f"## {markdown(block.title)}\n\n" + "\n".join(lines)
    if isinstance(block, Command):
        return f"    {clean(block.text)}"
    return _strong(block)


def _strong(block: Paragraph) -> str:
    text = markdown(block.text)
    return f"**{text}**" if block.strong else text


# ---- both --------------------------------------------------------------------------------------------


def _escaped(block: Table, escape: Callable[[str], str]) -> Table:
    rows = tuple(tuple(map(escape, row)) for row in block.rows)
    return replace(block, head=tuple(map(escape, block.head)), rows=rows)


def _tabulate(block: Table, style: str, widths: Sequence[int] | None = None) -> str:
    head, rows = block.head, block.rows
    if widths:
        # tabulate's own wrapping makes a number of a text such as "10,042", and fails at it
        head = _wrapped(head, [width - _PADDING for width in widths])
        rows = tuple(_wrapped(row, widths) for row in rows)
    return str(
        tabulate.tabulate(
            rows,
            headers=head,
            tablefmt=style,
            # tabulate would make numbers of names such as "1e5"
            disable_numparse=True,
            colalign=["right" if name in block.right else "left" for name in block.head],
        )
    )


def _wrapped(cells: Sequence[str], widths: Sequence[int]) -> tuple[str, ...]:
    return tuple("\n".join(textwrap.wrap(cell, width)) for cell, width in zip(cells, widths, strict=True))
