"""Likelihoods of continuations: a call's tree in passes, or side by side behind one context after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_mlx.packed import LOGITS, Packed
from slmeval_mlx.tree import Tree, lay_out
from slmeval_mlx.trunk import Trunk

#: of a token: its log-probability, and whether it is the most likely one
Verdict = tuple[float, bool]
#: per token of a continuation
Judged = list[Verdict]


@dataclass(frozen=True)
class Place:
    """A token to be judged, by the logits of this row."""

    row: int
    token: int


# ---- all groups of a call at once --------------------------------------------------------------------


def score_tree(packed: Packed, groups: Sequence[ScoreGroup], size: int) -> Iterator[tuple[Likelihood, ...]]:
    """One likelihood per continuation of each of ``groups``, in passes of ``size`` tokens."""
    tree = lay_out(groups, packed.start)
    verdicts: dict[tuple[int, int], Verdict] = {}
    done = 0
    for group, answers in zip(groups, tree.answers, strict=True):
        last = max((places[-1][0] for places in answers.values()), default=-1)
        while done <= last:
            end = min(done + size, len(tree.tokens))
            verdicts.update(_judge_nodes(packed, tree, done, end))
            done = end
        judged = {tokens: [verdicts[place] for place in places] for tokens, places in answers.items()}
        yield _replies(group, judged)


def _judge_nodes(packed: Packed, tree: Tree, start: int, end: int) -> dict[tuple[int, int], Verdict]:
    wanted = [node for node in range(start, end) if node in tree.asked]
    kept = tree.depths[start]
    logits = packed.run(
        tree.tokens[start:end],
        tree.depths[start:end],
        tree.seen(start, end),
        [node - start for node in wanted],
    )
    asked = [(node, token) for node in wanted for token in tree.asked[node]]
    rows = {node: row for row, node in enumerate(wanted)}
    found = judge(logits, [Place(rows[node], token) for node, token in asked]) if asked else []
    packed.settle()
    if end < len(tree.tokens):
        packed.keep(
            [tree.depths[node] if node < start else kept + node - start for node in tree.ancestors(end)]
        )
    return dict(zip(asked, found, strict=True))


# ---- one group after another -------------------------------------------------------------------------


def score_group(trunk: Trunk, group: ScoreGroup, batch_tokens: int) -> tuple[Likelihood, ...]:
    """One likelihood per continuation of ``group``.

    The last token of the context is run with each continuation: the logits after it are then wherever
    they are needed, and nowhere else. ``batch_tokens`` are as many as a batch may hold, with its cache.
    """
    trunk.move_to(group.context[:-1])
    # equal choices are run once, so that they come out equal to the last bit
    distinct = [tokens for tokens in dict.fromkeys(group.continuations) if tokens]
    judged: dict[TokenIds, Judged] = {}
    for portion in _portions(trunk, _rows(group.context[-1], distinct), batch_tokens):
        judged.update(_judge_rows(trunk, portion))
    return _replies(group, judged)


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
        width = logits.shape[1]
        asked = [
            (tokens, Place(row * width + at, token))
            for row, (_, many) in enumerate(rows)
            for tokens in many
            for at, token in enumerate(tokens[start : start + step])
        ]
        found = judge(logits.reshape(-1, logits.shape[-1]), [place for _, place in asked])
        for (tokens, _), verdict in zip(asked, found, strict=True):
            judged[tokens].append(verdict)
    return judged


# ---- what the logits say -----------------------------------------------------------------------------


def judge(logits: Any, places: Sequence[Place]) -> Judged:
    """Each of ``places`` by ``logits``, [rows, vocabulary]; float32, whatever the model's type."""
    rows = mx.array([place.row for place in places])
    tokens = mx.array([place.token for place in places])
    wide: Any = logits.astype(mx.float32)
    logprobs: Any = wide[rows, tokens] - mx.logsumexp(wide, axis=-1)[rows]
    hits: Any = mx.argmax(logits, axis=-1)[rows] == tokens
    mx.eval(logprobs, hits)
    # a certain token may be rounded to more than certain
    return [(min(each, 0.0), hit) for each, hit in zip(logprobs.tolist(), hits.tolist(), strict=True)]


def _replies(group: ScoreGroup, judged: Mapping[TokenIds, Judged]) -> tuple[Likelihood, ...]:
    return tuple(_likelihood(judged[tokens] if tokens else []) for tokens in group.continuations)


def _likelihood(judged: Judged) -> Likelihood:
    return Likelihood(tuple(logprob for logprob, _ in judged), all(hit for _, hit in judged))
