"""Reports for readers: plain text for a terminal, and Markdown. Both say the same."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TextIO

import tabulate

from slmeval.api import Reporter
from slmeval.builtin.reporters.blocks import Block, Command, Listing, Paragraph, Table
from slmeval.builtin.reporters.content import report
from slmeval.builtin.reporters.text import clean, markdown
from slmeval.types import RunResult

#: columns of the terminal that text is wrapped to
_WIDTH = 100
#: beside longer labels there is no room for texts in a column of their own
_WIDEST_LABEL = 30
#: the widest that a column of the table gets where one model is shown
_WIDEST = {"Task": 24, "Figure": 20, "Value ± stderr": 22, "Unit": 10}


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
        return _tabulate(block, "simple", clean, [_WIDEST.get(name) for name in block.head])
    if isinstance(block, Listing):
        return "\n".join([clean(block.title), *_aligned(block.lines)])
    if isinstance(block, Command):
        return clean(block.text)
    return _wrap(clean(block.text))


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
        return _tabulate(block, "github", markdown, None)
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


def _tabulate(block: Table, style: str, escape: Callable[[str], str], widths: list[int | None] | None) -> str:
    return str(
        tabulate.tabulate(
            [[escape(text) for text in row] for row in block.rows],
            headers=[escape(text) for text in block.head],
            tablefmt=style,
            # tabulate would make numbers of names such as "1e5"
            disable_numparse=True,
            colalign=["right" if name in block.right else "left" for name in block.head],
            maxcolwidths=widths,
        )
    )
