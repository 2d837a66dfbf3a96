"""Reports for readers: plain text for a terminal, and Markdown. Both say the same."""

from __future__ import annotations

import html
import textwrap
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, TextIO

import tabulate

from slmeval.api import Reporter
from slmeval.builtin.reporters.blocks import Answers, Block, Command, Details, Listing, Paragraph, Table
from slmeval.builtin.reporters.comparisons import comparisons as compared
from slmeval.builtin.reporters.content import report
from slmeval.builtin.reporters.gates import gate
from slmeval.builtin.reporters.text import markdown
from slmeval.differences import Comparison
from slmeval.text import clean
from slmeval.types import RunResult
from slmeval.verdicts import Answer, GateReport

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


#: signs that any console shows, and those that GitHub does
_SIGNS = {"pass": "+ PASS", "fail": "! FAIL", "inconclusive": "? INCONCLUSIVE"}
_GITHUB_SIGNS = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "❔ inconclusive"}
_SIGN_WIDTH = max(map(len, _SIGNS.values()))


class _Readable(Reporter):
    """A report of blocks with an empty line between them."""

    writes: ClassVar[frozenset[str]] = frozenset({"run", "comparison", "gate"})

    def write(self, run: RunResult, out: TextIO) -> None:
        self._write(report(run), out)

    def write_comparisons(self, comparisons: Sequence[Comparison], out: TextIO) -> None:
        self._write(compared(comparisons), out)

    def write_gate(self, report: GateReport, out: TextIO) -> None:
        self._write(gate(report), out)

    def _write(self, blocks: Iterable[Block], out: TextIO) -> None:
        out.write("\n\n".join(map(self._text, blocks)) + "\n")

    @abstractmethod
    def _text(self, block: Block) -> str:
        """One block as text."""


class TableReporter(_Readable):
    """Plain text, for a terminal 100 columns wide."""

    name = "table"
    suffix = "txt"

    def _text(self, block: Block) -> str:
        return _plain(block)


class MarkdownReporter(_Readable):
    """Markdown, as GitHub shows it."""

    name = "md"
    suffix = "md"

    def _text(self, block: Block) -> str:
        return _markdown(block)


# ---- plain text --------------------------------------------------------------------------------------


def _plain(block: Block) -> str:
    if isinstance(block, Table):
        tame = _escaped(block, clean)
        return _tabulate(tame, "simple", _widths(tame))
    if isinstance(block, Listing):
        title = [clean(block.title)] if block.title else []
        return "\n".join([*title, *_aligned(block.lines)])
    if isinstance(block, Answers):
        return "\n".join(map(_answer, block.lines))
    if isinstance(block, Details):
        return "\n".join([clean(block.title), *map(_plain, block.blocks)])
    if isinstance(block, Command):
        return clean(block.text)
    return _wrap(clean(block.text))


def _answer(line: tuple[Answer, str, str]) -> str:
    """The sign and the rule, and below it why."""
    answer, rule, sentence = line
    margin = _SIGN_WIDTH + 2
    first = _wrap(f"{_SIGNS[answer]:{margin}}{clean(rule)}", margin)
    return f"{first}\n{textwrap.indent(_wrap(clean(sentence), width=_WIDTH - margin), ' ' * margin)}"


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


def _wrap(text: str, margin: int = 0, width: int = _WIDTH) -> str:
    # paths and hashes are copied from reports: they are left whole
    return textwrap.fill(
        text, width, subsequent_indent=" " * margin, break_long_words=False, break_on_hyphens=False
    )


# ---- Markdown ----------------------------------------------------------------------------------------


def _markdown(block: Block) -> str:
    if isinstance(block, Table):
        return _tabulate(_escaped(block, markdown), "github")
    if isinstance(block, Listing):
        title = f"## {markdown(block.title)}\n\n" if block.title else ""
        return title + "\n".join(f"- {markdown(label)}: {markdown(text)}" for label, text in block.lines)
    if isinstance(block, Answers):
        rows = tuple((_GITHUB_SIGNS[answer], *texts) for answer, *texts in block.lines)
        return _markdown(Table(("Verdict", "Rule", "Why"), rows))
    if isinstance(block, Details):
        return _folded(block)
    if isinstance(block, Command):
        return f"    {clean(block.text)}"
    return _strong(block)


def _folded(block: Details) -> str:
    # a fold is HTML, in which Markdown is read again after an empty line
    title = f"<details>\n<summary>{html.escape(clean(block.title))}</summary>"
    return "\n\n".join([title, *map(_markdown, block.blocks), "</details>"])


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
