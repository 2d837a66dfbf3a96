"""Likelihoods of continuations, side by side behind the one context that they follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_mlx.trunk import Trunk

#: logits held at once, over rows, columns and vocabulary: 256 MiB of float32
LOGITS = 1 << 26

#: per token of a continuation: its log-probability, and whether it is the most likely one
Judged = list[tuple[float, bool]]


@dataclass(frozen=True)
class Place:
    """A token to be judged, by the logits of this row and column."""

    row: int
    column: int
    token: int


def score_group(trunk: Trunk, group: ScoreGroup, batch_tokens: int) -> tuple[Likelihood, ...]:
    """One likelihood per continuation of ``group``.

    The last token of the context is run with each continuation: the logits after it are then wherever
    they are needed, and nowhere else. ``batch_tokens`` are as many as a batch may hold, with its cache.
    """
    trunk.move_to(group.context[:-1])
    # equal choices are run once, so that they come out equal to the last bit
    distinct = [tokens for tokens in dict.fromkeys(group.continuations) if tokens]
    judged: dict[TokenIds, Judged] = {(): []}
    for portion in _portions(trunk, _rows(group.context[-1], distinct), batch_tokens):
        judged.update(_judge_rows(trunk, portion))
    return tuple(_likelihood(judged[tokens]) for tokens in group.continuations)


#: what is run, with the continuations that need no more than that: all but the last token is the same
Rows = list[tuple[TokenIds, list[TokenIds]]]


def _rows(last: int, continuations: Sequence[TokenIds]) -> Rows:
    rows: dict[TokenIds, list[TokenIds]] = {}
    for tokens in continuations:
        rows.setdefault((last, *tokens[:-1]), []).append(tokens)
    return sorted(rows.items(), key=lambda row: -len(row[0]))


def _portions(trunk: Trunk, rows: Rows, batch_tokens: int) -> Iterator[Rows]:
    """As many rows at a time as fit, the longest first."""
    while rows:
        columns = trunk.length + len(rows[0][0])
        count = max(1, batch_tokens // columns) if trunk.passes.plain else 1
        yield rows[:count]
        rows = rows[count:]


def _judge_rows(trunk: Trunk, rows: Rows) -> dict[TokenIds, Judged]:
    cache, columns = trunk.branches(len(rows)), len(rows[0][0])
    # what is right of a token cannot reach it, so that no mask is needed
    padded = [fed + (0,) * (columns - len(fed)) for fed, _ in rows]
    judged: dict[TokenIds, Judged] = {tokens: [] for _, many in rows for tokens in many}
    step = min(trunk.passes.step, max(1, LOGITS // (trunk.passes.vocabulary * len(rows))))
    for start in range(0, columns, step):
        logits = trunk.passes.run(cache, [ids[start : start + step] for ids in padded])
        asked = [
            (tokens, Place(row, at, token))
            for row, (_, many) in enumerate(rows)
            for tokens in many
            for at, token in enumerate(tokens[start : start + step])
        ]
        for (tokens, _), found in zip(asked, judge(logits, [place for _, place in asked]), strict=True):
            judged[tokens].append(found)
    return judged


def judge(logits: Any, places: Sequence[Place]) -> Judged:
    """Each of ``places`` by ``logits``, [rows, columns, vocabulary]; float32, whatever the model's type."""
    rows = mx.array([place.row for place in places])
    columns = mx.array([place.column for place in places])
    tokens = mx.array([place.token for place in places])
    wide: Any = logits.astype(mx.float32)
    logprobs: Any = wide[rows, columns, tokens] - mx.logsumexp(wide, axis=-1)[rows, columns]
    hits: Any = mx.argmax(logits, axis=-1)[rows, columns] == tokens
    mx.eval(logprobs, hits)
    # a certain token may be rounded to more than certain
    return [(min(each, 0.0), hit) for each, hit in zip(logprobs.tolist(), hits.tolist(), strict=True)]


def _likelihood(judged: Judged) -> Likelihood:
    return Likelihood(tuple(logprob for logprob, _ in judged), all(hit for _, hit in judged))
