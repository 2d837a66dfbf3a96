"""The first request on which two sides differ by more than rounding, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from slmeval.parity.noise import exact
from slmeval.parity.report import Divergence, Line, Token
from slmeval.parity.sides import Pair, Put, Side
from slmeval.parity.tokens import segments, texts_of
from slmeval.tokenizing import FastTokenizer
from slmeval.types import Completion, Likelihood, TokenIds

#: lines shown before the first that differs, and from it on: of what is read, and of what is asked for
_BEFORE, _OF_CONTEXT, _OF_ANSWER = 3, 8, 24

Part = Literal["context", "continuation"]


def first_divergence(pairs: Sequence[Pair], first: Side, other: Side) -> Divergence | None:
    """The first of ``pairs`` that differs, in the order in which they were asked."""
    found = next((pair for pair in pairs if differs(pair, other.by_server or first.by_server)), None)
    return None if found is None else _shown(found, first, other)


def differs(pair: Pair, ids_unknown: bool = False) -> bool:
    """Whether ids, texts or log-probabilities differ, these by more than float32 rounds."""
    if not pair.equal_ids and not ids_unknown:
        return True
    if pair.completions:
        return pair.parts
    if both := pair.likelihoods:
        bound = exact(len(pair.first.context) + len(pair.first.continuation)).single
        ours, theirs = both
        if len(ours.token_logprobs) == len(theirs.token_logprobs):
            tokens = zip(ours.token_logprobs, theirs.token_logprobs, strict=True)
            return any(abs(one - two) > bound * max(1.0, abs(one)) for one, two in tokens)
        return abs(ours.logprob - theirs.logprob) > bound * max(1.0, abs(ours.logprob))
    return False


def _shown(pair: Pair, first: Side, other: Side) -> Divergence:
    sums = [reply.logprob if isinstance(reply, Likelihood) else None for reply in _replies(pair)]
    lines, left_out = ([], 0) if first.by_server or other.by_server else _lines(pair, first, other)
    return Divergence(pair.cell.label, pair.row, pair.request, sums[0], sums[1], tuple(lines), left_out)


def _replies(pair: Pair) -> tuple[object, object]:
    return pair.first.reply, pair.other.reply


def _lines(pair: Pair, first: Side, other: Side) -> tuple[list[Line], int]:
    context = list(
        _aligned(
            "context",
            _read(first.job.tokenizer, pair.first.context),
            _read(other.job.tokenizer, pair.other.context),
            0,
        )
    )
    begins = (len(pair.first.context), len(pair.other.context))
    continuation = list(
        _aligned(
            "continuation",
            _answer(first.job.tokenizer, pair.first, begins[0]),
            _answer(other.job.tokenizer, pair.other, begins[1]),
            context[-1].segment + 1 if context else 0,
        )
    )
    read, asked = _near(context, _OF_CONTEXT), continuation
    if pair.completions or len(continuation) > _OF_ANSWER:
        # of a long one, or a text that is generated, only where it parts is of interest
        asked = _near(continuation, _OF_CONTEXT)
    return [*read, *asked], len(context) + len(continuation) - len(read) - len(asked)


def _near(lines: Sequence[Line], after: int) -> list[Line]:
    """The lines around the first that differs, or around the end of what stands on one side alone; the last
    ones where none differs."""
    place = next((place for place, line in enumerate(lines) if not _same(line)), len(lines))
    alone = place
    while alone < len(lines) and None in (lines[alone].first, lines[alone].other):
        alone += 1
    place = max(place, alone - _BEFORE)
    return list(lines[max(0, place - _BEFORE) : place + after])


def _same(line: Line) -> bool:
    if line.first is None or line.other is None or line.first.id != line.other.id:
        return False
    if line.first.logprob is None or line.other.logprob is None:
        return True
    bound = exact(line.first.position).single * max(1.0, abs(line.first.logprob))
    return abs(line.first.logprob - line.other.logprob) <= bound


@dataclass(frozen=True)
class _Read:
    """Tokens with the texts that they add, "" for marks; a mark is shown as the vocabulary writes it."""

    tokens: tuple[Token, ...]
    texts: tuple[str, ...]

    @property
    def ids(self) -> TokenIds:
        return tuple(token.id for token in self.tokens)


def _read(
    tokenizer: FastTokenizer, ids: TokenIds, begin: int = 0, logprobs: Sequence[float] | None = None
) -> _Read:
    texts = texts_of(tokenizer, ids)
    tokens = (
        Token(
            begin + place,
            token,
            texts[place] or tokenizer.token(token) or "",
            None if logprobs is None else logprobs[place],
        )
        for place, token in enumerate(ids)
    )
    return _Read(tuple(tokens), texts)


def _answer(tokenizer: FastTokenizer, put: Put, begin: int) -> _Read:
    if isinstance(put.reply, Completion):
        return _read(tokenizer, put.reply.ids, begin)
    logprobs = put.reply.token_logprobs if put.reply else None
    # read behind the last token of its context, so that a first space is not lost
    whole = _read(
        tokenizer,
        (*put.context[-1:], *put.continuation),
        begin - 1,
        None if logprobs is None else [0.0, *logprobs],
    )
    return _Read(whole.tokens[1:], whole.texts[1:])


def _aligned(part: Part, ours: _Read, theirs: _Read, number: int) -> Iterator[Line]:
    for step, segment in enumerate(segments(ours.ids, theirs.ids, ours.texts, theirs.texts)):
        yield from _segment_lines(
            part, number + step, _cut(ours.tokens, segment.first), _cut(theirs.tokens, segment.other)
        )


def _cut(tokens: Sequence[Token], place: tuple[int, int]) -> list[Token]:
    return list(tokens[slice(*place)])


def _segment_lines(part: Part, number: int, ours: list[Token], theirs: list[Token]) -> Iterator[Line]:
    height = max(len(ours), len(theirs))
    for place in range(height):
        last = place == height - 1
        yield Line(
            part,
            number,
            ours[place] if place < len(ours) else None,
            theirs[place] if place < len(theirs) else None,
            _difference(ours, theirs) if last else None,
        )


def _difference(ours: list[Token], theirs: list[Token]) -> float | None:
    """The other's less the first's, over a segment."""
    both = [[token.logprob for token in side] for side in (ours, theirs)]
    if not all(both) or any(logprob is None for side in both for logprob in side):
        return None
    first, other = (sum(logprob for logprob in side if logprob is not None) for side in both)
    return other - first
