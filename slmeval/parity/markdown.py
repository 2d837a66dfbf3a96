"""A comparison for a reader, in Markdown that strangers' names and tokens cannot break."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from slmeval.models import UNTOLD
from slmeval.parity.report import (
    Cause,
    Comparison,
    Divergence,
    Flips,
    Gate,
    Line,
    Parity,
    SideReport,
    Spread,
    Texts,
    Token,
)
from slmeval.text import clean

_MARKS = re.compile(r"([\\`*_<>|&#~\[\]])")
#: characters of a sentence that quotes a stranger, and of a token
_LONGEST, _TOKEN = 900, 40
#: signs of a hash that are shown
_HASH = 12


def to_markdown(parity: Parity) -> str:
    """The whole comparison, with the line end of a file."""
    return "\n\n".join(_blocks(parity)) + "\n"


def _tame(text: str, longest: int = _LONGEST) -> str:
    """One clean line in which Markdown and HTML mean nothing."""
    line = clean(text)
    return _MARKS.sub(r"\\\1", line if len(line) <= longest else f"{line[: longest - 3]}...")


def _quoted(text: str) -> str:
    """A piece of text with all that cannot be seen written out."""
    return _tame(repr(text), _TOKEN)


def _blocks(parity: Parity) -> Iterator[str]:
    yield f"# Parity: {len(parity.sides)} sides"
    if parity.demo:
        yield "**The demo model, on bundled rows: this says nothing about any real model.**"
    yield f"Run {_tame(parity.run)}, {_tame(parity.started)}, {parity.status}. {_asked(parity)}"
    yield _table(
        ("side", "engine", "dtype", "parameters", "context", "model", "tokenizer"), map(_side, parity.sides)
    )
    if parity.failures:
        yield "**Failed:**"
        yield _listing(
            f"**{_tame(each.model)} · {_tame(each.backend)}**: {_tame(each.reason)}"
            for each in parity.failures
        )
    for each in parity.comparisons:
        yield from _comparison(each)
    if parity.gates:
        yield "## Tolerances"
        yield _listing(map(_gate, parity.gates))
    notes = [f"{_tame(side.name)}: {_tame(note)}" for side in parity.sides for note in side.notes]
    if notes:
        yield "## Notes"
        yield _listing(notes)


def _asked(parity: Parity) -> str:
    told = [
        f"{_tame(each.task)} at {each.shots} shots: {each.rows:,} rows{' of a sample' if each.sample else ''}"
        for each in parity.tasks
    ]
    return f"Asked: {'; '.join(told)}." if told else "Nothing was asked."


def _side(side: SideReport) -> Sequence[str]:
    return (
        _tame(side.name),
        _tame(side.engine or "not opened"),
        _tame(side.dtype or "unknown"),
        f"{side.parameters:,}" if side.parameters else "unknown",
        f"{side.context:,}" if side.context < UNTOLD else "unknown",
        _tame(side.model_hash[:_HASH]),
        _tame(side.tokenizer_hash[:_HASH]),
    )


def _gate(gate: Gate) -> str:
    allowed = (
        f"{gate.allowed:g} nats" if gate.name == "tolerance" else f"{gate.allowed:g} predictions that change"
    )
    found = "nothing was compared" if gate.found is None else f"{gate.found:.3g} found"
    return f"**{gate.verdict}**: {_tame(gate.side)}, allowed {allowed}, {found}"


# ---- one comparison ------------------------------------------------------------------------------------


def _comparison(found: Comparison) -> Iterator[str]:
    yield f"## {_tame(found.side)} against {_tame(found.against)}"
    equal = (
        "token ids not known"
        if found.equal_ids is None
        else f"{found.equal_ids:,} of them with equal token ids"
    )
    yield f"**{_verdict(found)}** {found.requests:,} requests of {found.questions:,} questions, {equal}."
    yield from _sizes(found)
    touching = [cause for cause in found.causes if cause.requests != 0]
    yield from _sentences("Causes", map(_cause, touching))
    yield from _sentences(
        "Differs, and touched nothing here", map(_cause, (c for c in found.causes if c.requests == 0))
    )
    yield from _sentences("Ruled out", map(_tame, found.ruled_out))
    yield from _sentences("Cannot be told", map(_tame, found.untold))
    if found.flips and found.flips.changed:
        yield from _flips(found.flips)
    if found.texts and found.texts.parting:
        yield from _parting(found.texts)
    if found.divergence:
        yield from _divergence(found.divergence)


def _verdict(found: Comparison) -> str:
    kinds = list(dict.fromkeys(cause.kind for cause in found.causes if cause.requests != 0))
    if kinds == ["rounding"]:
        return "Nothing but rounding."
    if kinds:
        return f"They differ: {', '.join(kinds)}."
    if found.scores is None and found.texts is None:
        return "Nothing could be compared."
    same = (found.scores is None or found.scores.largest == 0) and (
        found.texts is None or found.texts.equal == found.texts.n
    )
    return "No difference in any answer." if same else "They differ, and no cause could be named."


def _cause(cause: Cause) -> str:
    touched = "" if cause.requests is None else f", {cause.requests:,} of {cause.n:,} requests"
    return f"**{cause.kind}** ({cause.basis}{touched}): {_tame(cause.evidence)}"


def _sizes(found: Comparison) -> Iterator[str]:
    spreads = (
        ("all", found.scores),
        ("asked with equal ids", found.same_ids if found.same_ids != found.scores else None),
        ("control: the same ids on both sides", found.control),
    )
    rows = [_spread(name, spread) for name, spread in spreads if spread]
    if rows:
        yield "Differences of log-probabilities, in nats:"
        yield _table(
            (
                "requests",
                "n",
                "largest",
                "mean",
                "tokens",
                "largest per token",
                "mean per token",
                "largest at",
            ),
            rows,
        )
    told = []
    if found.flips:
        told.append(f"predictions that change: {found.flips.changed:,} of {found.flips.n:,}")
    if found.texts:
        told.append(f"texts that are equal: {found.texts.equal:,} of {found.texts.n:,}")
    if told:
        yield f"{'; '.join(told).capitalize()}."


def _spread(name: str, spread: Spread) -> Sequence[str]:
    return (
        name,
        f"{spread.n:,}",
        f"{spread.largest:.3g}",
        f"{spread.mean:.3g}",
        f"{spread.tokens:,}",
        "" if spread.token_largest is None else f"{spread.token_largest:.3g}",
        "" if spread.token_mean is None else f"{spread.token_mean:.3g}",
        _tame(spread.worst),
    )


def _flips(flips: Flips) -> Iterator[str]:
    more = f" (the first {len(flips.shown)} of {flips.changed:,})" if flips.changed > len(flips.shown) else ""
    yield f"Predictions that change{more}:"
    rows = (
        (
            _tame(flip.cell),
            str(flip.row + 1),
            _choice(flip.first),
            _margin(flip.first_margin),
            _choice(flip.other),
            _margin(flip.other_margin),
        )
        for flip in flips.shown
    )
    yield _table(("task", "row", "first", "margin (nats)", "other", "margin (nats)"), rows)


def _choice(choice: int | str | None) -> str:
    if choice is None:
        return "nothing found"
    return f"choice {choice + 1}" if isinstance(choice, int) else _quoted(choice)


def _margin(margin: float | None) -> str:
    return "" if margin is None else f"{margin:.3g}"


def _parting(texts: Texts) -> Iterator[str]:
    parting = texts.parting
    assert parting is not None
    yield (
        f"The first text that parts: {_tame(parting.cell)}, row {parting.row + 1}, "
        f"{'after equal text' if parting.tokens is None else f'after {parting.tokens:,} equal tokens'}:"
    )
    yield _listing(
        f"{side}: {_tame(repr(text))}" for side, text in (("first", parting.first), ("other", parting.other))
    )


def _divergence(found: Divergence) -> Iterator[str]:
    sums = ""
    if found.first is not None and found.other is not None:
        sums = f": {found.first:.6g} against {found.other:.6g} nats, {found.other - found.first:+.3g}"
    place = f"{_tame(found.cell)}, row {found.row + 1}, request {found.request + 1}"
    yield f"First request that differs: {place}{sums}"
    if found.lines:
        head = ("part", "place", "token", "id", "logprob", "place", "token", "id", "logprob", "difference")
        yield _table(head, map(_line, found.lines))
    if found.left_out:
        yield f"{found.left_out:,} lines are not shown."


def _line(line: Line) -> Sequence[str]:
    same = line.first and line.other and line.first.id == line.other.id
    # what is equal needs no second look
    difference = "" if line.difference is None else f"{line.difference:+.3g}"
    return (
        line.part,
        *_token(line.first),
        *_token(line.other),
        difference if same or difference else "other ids",
    )


def _token(token: Token | None) -> Sequence[str]:
    if token is None:
        return ("", "", "", "")
    logprob = "" if token.logprob is None else f"{token.logprob:.5g}"
    return (str(token.position), _quoted(token.text), str(token.id), logprob)


# ---- markup ----------------------------------------------------------------------------------------------


def _sentences(title: str, sentences: Iterable[str]) -> Iterator[str]:
    told = list(sentences)
    if told:
        yield f"{title}:"
        yield _listing(told)


def _listing(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their cells: read in a terminal as well."""
    cells = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    lines = [cells[0], tuple("-" * width for width in widths), *cells[1:]]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
