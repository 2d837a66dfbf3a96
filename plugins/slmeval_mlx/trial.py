"""A trial at opening: does the cache give what one pass over the whole sequence gives?

Nothing in an architecture's name says whether many sequences can be packed in one row of it, and whether its
cache can be copied, cut off and gone on from. So one tiny case is computed both ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_mlx.packed import Choice, Packed
from slmeval_mlx.scoring import Place, judge, score_group, score_tree
from slmeval_mlx.trunk import Passes, Trunk

#: differences in a log-probability that rounding alone explains, by the type of the logits
TOLERANCES = {"mlx.core.float32": 1e-3, "mlx.core.float16": 0.05}
#: that of bfloat16, and of what is quantized in between
ROUGH = 0.4


def worst_difference(passes: Passes, choice: Choice | None, *, rough: bool) -> float:
    """How far log-probabilities by the cache lie from plain ones; 0 where rounding explains it.

    With a ``choice`` the groups are packed, without one they come one after another.
    """
    start = _tokens(3, 1, passes.vocabulary)
    groups = (
        ScoreGroup(start + _tokens(5, 2, passes.vocabulary), _two(passes.vocabulary)),
        ScoreGroup(start + _tokens(1, 5, passes.vocabulary), (_tokens(3, 6, passes.vocabulary),)),
    )
    trunk = Trunk(passes, step=2)
    trunk.begin([group.context for group in groups])
    if choice is not None:
        # passes so short that a continuation is parted
        answers = list(score_tree(Packed(trunk, choice), groups, 7))
    else:
        answers = [score_group(trunk, group, 1 << 20) for group in groups]
    plain = [_whole(passes, group.context, tokens) for group in groups for tokens in group.continuations]
    found = _flat(chain(*answers))
    worst = max(abs(one - other) for one, other in zip(found, chain(*plain), strict=True))
    return 0.0 if worst <= (ROUGH if rough else _tolerance(passes)) else worst


def _two(vocabulary: int) -> tuple[TokenIds, TokenIds]:
    return _tokens(4, 3, vocabulary), _tokens(2, 4, vocabulary)


def _tolerance(passes: Passes) -> float:
    logits = passes.run(passes.new_cache(), [(0,)])
    return TOLERANCES.get(str(logits.dtype), ROUGH)


def _whole(passes: Passes, context: TokenIds, tokens: TokenIds) -> list[float]:
    """In one pass, with a cache in which nothing is yet."""
    logits = passes.run(passes.new_cache(), [context + tokens[:-1]])[0]
    places = [Place(len(context) - 1 + at, token) for at, token in enumerate(tokens)]
    return [logprob for logprob, _ in judge(logits, places)]


def _tokens(count: int, seed: int, vocabulary: int) -> TokenIds:
    return tuple((7919 * seed + 104729 * place) % vocabulary for place in range(count))


def _flat(answers: Iterable[Likelihood]) -> list[float]:
    return [logprob for reply in answers for logprob in reply.token_logprobs]
