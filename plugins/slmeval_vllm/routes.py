"""The ways to the likelihoods of one group: which questions, and what follows from the answers.

All of them ask for the two likeliest tokens of a prompt's rows, or for what is taken next. Of what vLLM's
second runner alone offers, ``prompt_logprob_token_ids`` does not say whether a token was the most likely, and
``trace_decode_token_ids`` runs a continuation token by token.

A way is a generator: it yields the questions that can be asked at once, is sent their replies, and returns
the likelihoods. Many run side by side (:mod:`slmeval_vllm.driver`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_vllm.asks import Ask, Mark, Reply, in_chunks

Marks = list[Mark | None]
#: the marks of each continuation, token by token
Graded = dict[TokenIds, list[Mark]]
Way = Generator[list[Ask], list[Reply], Graded]
Route = Callable[[ScoreGroup], Way]


def shared(group: ScoreGroup, *, rows: bool, block: int) -> Way:
    """The context once; then each continuation behind it, the context read from the cache.

    With ``rows``, the likelihoods of a continuation's inner tokens are read off its prompt; those in blocks
    that were in the cache, and all of them without ``rows``, are asked for one by one. A ``block`` of tokens
    is what each such question runs again at most.
    """
    graded = _blank(group)
    if not graded:
        return {}  # a tokenizer can leave nothing of a continuation, and then nothing is asked
    yield from _ask(group.context, graded, {(): _distinct(tokens[0] for tokens in graded)})
    if rows:
        yield from _ask(group.context, graded, _stems(graded, longer_than=1), rows_from=1)
        # where most of a continuation is in the cache, running it again costs less than a question a token
        long = [
            tokens for tokens, marks in graded.items() if _gaps(marks) * block > len(tokens + group.context)
        ]
        yield from _ask(group.context, graded, _stems(long, longer_than=1), rows_from=1, fresh=True)
    yield from _ask(group.context, graded, _points(graded))
    return _complete(graded)


def whole(group: ScoreGroup) -> Way:
    """The context again with each continuation, and nothing from a cache."""
    graded = _blank(group)
    yield from _ask(group.context, graded, _stems(graded, longer_than=0), rows_from=0, fresh=True)
    yield from _ask(group.context, graded, _points(graded), fresh=True)
    return _complete(graded)


def routes(block: int) -> Mapping[str, Route]:
    """The ways by what is to be said of them, the cheapest first."""
    return {
        "rows of prompts whose beginning is in the cache": partial(shared, rows=True, block=block),
        "one question for each token": partial(shared, rows=False, block=block),
        "each sequence run whole": whole,
    }


def likelihoods(group: ScoreGroup, graded: Graded) -> tuple[Likelihood, ...]:
    """One for each continuation of ``group``."""
    return tuple(_likelihood(graded.get(tokens, [])) for tokens in group.continuations)


def _likelihood(marks: Sequence[Mark]) -> Likelihood:
    return Likelihood(tuple(mark.logprob for mark in marks), all(mark.hit for mark in marks))


def _blank(group: ScoreGroup) -> dict[TokenIds, Marks]:
    # equal choices are run once, so that they come out equal to the last bit
    return {tokens: [None] * len(tokens) for tokens in dict.fromkeys(group.continuations) if tokens}


def _complete(graded: Mapping[TokenIds, Marks]) -> Graded:
    # every row that was missing has been asked for
    return {tokens: [mark for mark in marks if mark is not None] for tokens, marks in graded.items()}


def _distinct(tokens: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(tokens))


def _stems(continuations: Iterable[TokenIds], longer_than: int) -> dict[TokenIds, list[int]]:
    """All but the last token of each continuation, with the tokens that may be the last."""
    stems: dict[TokenIds, list[int]] = defaultdict(list)
    for tokens in continuations:
        if len(tokens) > longer_than:
            stems[tokens[:-1]].append(tokens[-1])
    return stems


def _points(graded: Mapping[TokenIds, Marks]) -> dict[TokenIds, list[int]]:
    """The marks that are not there yet, and those of tokens as likely as others: what is taken then?"""
    points: dict[TokenIds, list[int]] = defaultdict(list)
    for tokens, marks in graded.items():
        for place, mark in enumerate(marks):
            if mark is None or mark.hit is None:
                points[tokens[:place]].append(tokens[place])
    return {stem: _distinct(tokens) for stem, tokens in points.items()}


def _gaps(marks: Marks) -> int:
    return sum(mark is None for mark in marks)


def _ask(
    context: TokenIds,
    graded: Mapping[TokenIds, Marks],
    stems: Mapping[TokenIds, Sequence[int]],
    rows_from: int | None = None,
    fresh: bool = False,
) -> Generator[list[Ask], list[Reply], None]:
    """What may follow each stem; and the tokens of the stem itself, from the place ``rows_from`` on."""
    asks = []
    for stem, tokens in stems.items():
        rows = 0 if rows_from is None else max(len(stem) - rows_from, 0)
        chunks = in_chunks(tokens)
        asks += [(stem, Ask(context + stem, chunks[0], rows, fresh))]
        asks += [(stem, Ask(context + stem, more, 0, fresh)) for more in chunks[1:]]
    if not asks:
        return
    replies = yield [ask for _, ask in asks]
    for (stem, _), reply in zip(asks, replies, strict=True):
        _fill(graded, stem, reply)


def _fill(graded: Mapping[TokenIds, Marks], stem: TokenIds, reply: Reply) -> None:
    """Note what a reply says of all continuations that begin with ``stem``."""
    for tokens, marks in graded.items():
        if len(tokens) <= len(stem) or tokens[: len(stem)] != stem:
            continue
        if tokens[len(stem)] in reply.marks:
            marks[len(stem)] = reply.marks[tokens[len(stem)]]
        for place, mark in enumerate(reply.rows, len(stem) - len(reply.rows)):
            marks[place] = marks[place] or mark
