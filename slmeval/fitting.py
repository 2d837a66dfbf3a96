"""Whether what is asked fits a model: an engine that indexes without a look gives nonsense, or ends."""

from __future__ import annotations

from dataclasses import dataclass

from slmeval.types import ScoreGroup, TokenIds, Workload


@dataclass(frozen=True)
class Fitting:
    """What a model takes: tokens of ``context``, ids below ``vocabulary``."""

    context: int
    vocabulary: int

    def check_group(self, group: ScoreGroup) -> None:
        """:raises ValueError: the context is empty, a continuation too long, or an id unknown."""
        # the last token of a continuation is predicted, and is never an input
        self.check(group.context, max(map(len, group.continuations), default=0) - 1)
        for tokens in group.continuations:
            self._check_ids(tokens)

    def check_top(self, ids: TokenIds, k: int) -> None:
        """:raises ValueError: ``ids`` do not fit, or there are no ``k`` likeliest tokens."""
        self.check(ids)
        if not 1 <= k <= self.vocabulary:
            raise ValueError(f"there are no {k} likeliest tokens in a vocabulary of {self.vocabulary}")

    def check_workload(self, workload: Workload) -> None:
        """:raises ValueError: it is not as :class:`slmeval.types.Workload` says, or does not fit."""
        lengths = sorted({len(ids) for ids in workload.prompts})
        if len(lengths) != 1:
            raise ValueError(f"a workload's prompts must have one length, and have {lengths}")
        if not 0 <= workload.depth < lengths[0]:
            raise ValueError(
                f"prompts of {lengths[0]} tokens cannot have {workload.depth} of them in the cache"
            )
        given = [len(ids) for ids in workload.forced]
        if given and given != [workload.new_tokens] * len(workload.prompts):
            raise ValueError(
                f"{len(workload.prompts)} prompts with {workload.new_tokens} new tokens each were "
                f"given {given}"
            )
        for ids in workload.prompts:
            self.check(ids, workload.new_tokens - 1)
        for ids in workload.forced:
            self._check_ids(ids)

    def check(self, ids: TokenIds, more: int = 0) -> None:
        """:raises ValueError: ``ids`` are none, with ``more`` tokens too many, or one is unknown."""
        if not ids:
            raise ValueError("a context has no tokens: it needs at least one")
        tokens = len(ids) + max(more, 0)
        if tokens > self.context:
            raise ValueError(f"{tokens} tokens do not fit the model's context of {self.context}")
        self._check_ids(ids)

    def _check_ids(self, ids: TokenIds) -> None:
        for wrong in (found for found in ids if not 0 <= found < self.vocabulary):
            raise ValueError(f"token id {wrong} is not in the model's vocabulary of {self.vocabulary}")
