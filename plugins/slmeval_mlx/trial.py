"""A trial at opening: does the cache give what one pass over the whole sequence gives?

Nothing in an architecture's name says whether its cache can be copied, cut off and gone on from. So one
tiny case is computed both ways.
"""

from __future__ import annotations

from itertools import chain

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_mlx.scoring import Place, judge, score_group
from slmeval_mlx.trunk import Passes, Trunk

#: differences in a log-probability that rounding alone explains, by the type of the logits
TOLERANCES = {"mlx.core.float32": 1e-3, "mlx.core.float16": 0.05}
#: that of bfloat16, and of what is quantized in between
ROUGH = 0.4


def worst_difference(passes: Passes, *, rough: bool) -> float:
    """How far log-probabilities by the cache lie from plain ones; 0 where rounding explains it."""
    start = _tokens(3, 1, passes.vocabulary)
    groups = (
        ScoreGroup(start + _tokens(5, 2, passes.vocabulary), _two(passes.vocabulary)),
        ScoreGroup(start + _tokens(1, 5, passes.vocabulary), (_tokens(3, 6, passes.vocabulary),)),
    )
    trunk = Trunk(passes)
    cached = [found for group in groups for found in score_group(trunk, group, 1 << 20)]
    plain = [_whole(passes, group.context, tokens) for group in groups for tokens in group.continuations]
    worst = max(abs(one - other) for one, other in zip(_flat(cached), chain(*plain), strict=True))
    return worst if worst > (ROUGH if rough else _tolerance(passes)) else 0.0


def _two(vocabulary: int) -> tuple[TokenIds, TokenIds]:
    return _tokens(4, 3, vocabulary), _tokens(2, 4, vocabulary)


def _tolerance(passes: Passes) -> float:
    logits = passes.run(passes.new_cache(), [(0,)])
    return TOLERANCES.get(str(logits.dtype), ROUGH)


def _whole(passes: Passes, context: TokenIds, tokens: TokenIds) -> list[float]:
    """In one pass, with a cache in which nothing is yet."""
    logits = passes.run(passes.new_cache(), [context + tokens[:-1]])
    places = [Place(0, len(context) - 1 + at, token) for at, token in enumerate(tokens)]
    return [logprob for logprob, _ in judge(logits, places)]


def _tokens(count: int, seed: int, vocabulary: int) -> TokenIds:
    return tuple((7919 * seed + 104729 * place) % vocabulary for place in range(count))


def _flat(answers: list[Likelihood]) -> list[float]:
    return [logprob for reply in answers for logprob in reply.token_logprobs]
