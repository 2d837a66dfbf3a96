"""What many prompts begin with, sent ahead: a server that keeps beginnings then computes it once."""

from __future__ import annotations

from collections.abc import Collection

from slmeval.token_tree import common_length
from slmeval.types import TokenIds

#: tokens from which on it is worth to wait for one request before the others are sent
LEAST = 64


class Ahead:
    """Knows what the prompts sent so far began with.

    Requests that reach a server at once find nothing of each other in its cache, and each would compute the
    same examples.
    """

    def __init__(self) -> None:
        self._sent: TokenIds = ()

    def is_new(self, prompts: Collection[TokenIds]) -> bool:
        """Whether the first of ``prompts`` should be answered before the others are sent."""
        if len(prompts) < 2:
            return False
        trunk = min(prompts)[: common_length(min(prompts), max(prompts))]
        new = len(trunk) - common_length(trunk, self._sent)
        if new < LEAST:
            return False
        self._sent = trunk
        return True
