"""What a readable report says of a gate, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from slmeval.builtin.reporters.answers import headline, worst_first
from slmeval.builtin.reporters.blocks import Answers, Block, Details, Paragraph
from slmeval.builtin.reporters.text import plural
from slmeval.verdicts import GateReport, Judged


def gate(report: GateReport) -> Iterator[Block]:
    """The verdict, what it was come by, and each rule: what must be looked at first, the rest on demand."""
    yield Paragraph(f"{headline(report)}.", strong=True)
    against = f" against {report.baseline}" if report.baseline else ""
    yield Paragraph(f"Run {report.run}{against}.")
    ordered = worst_first(report)
    if open_ones := [pair for pair in ordered if pair[0].answer != "pass"]:
        yield _answers(open_ones)
    if passed := [pair for pair in ordered if pair[0].answer == "pass"]:
        yield Details(f"{plural(len(passed), 'rule')} passed", (_answers(passed),))
    if report.notes:
        yield Details("Notes", tuple(map(Paragraph, report.notes)))


def _answers(pairs: Iterable[tuple[Judged, str]]) -> Answers:
    return Answers(tuple((each.answer, name, each.sentence) for each, name in pairs))
