"""No token run twice: one context in the cache, and continuations that branch off it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from slmeval.types import TokenIds
from slmeval_reference.cache import Cache
from slmeval_reference.model import Model, Tokens
from slmeval_reference.weights import FloatArray

#: tokens run at once; attention holds a matrix of this many rows for each head
TOKENS_AT_ONCE = 256


class Trunk:
    """A context in the cache of a model, moved from one to the next with what they share kept."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._cache = Cache(model.config)
        self._ids: TokenIds = ()
        #: what the model makes of the last token, float64[1, hidden]: the next one is predicted from it
        self.state: FloatArray = np.empty((1, 0))

    @property
    def room(self) -> tuple[int, int]:
        """Bytes of its cache, and for how many tokens that is."""
        return self._cache.bytes, self._cache.room

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` beforehand."""
        self._cache.reserve(tokens)

    def move_to(self, ids: TokenIds, shared: int) -> None:
        """Make ``ids`` the context, of which the first ``shared`` are said to be those of the one before."""
        # the hint is checked, so that a wrong one costs time and not truth
        kept = shared if ids[:shared] == self._ids[:shared] else 0
        # the last token is always run, for its state
        self._cache.truncate(min(kept, len(ids) - 1))
        self._ids = ids
        self.state = self._run([ids[self._cache.length :]])[-1:]

    def append(self, token: int) -> None:
        """Run one more token at the end."""
        self.state = self._run([(token,)])

    def states_before(self, branches: Sequence[TokenIds]) -> FloatArray:
        """What each token of each branch is predicted from, in order: float64[tokens, hidden].

        The branches are run side by side, each seeing the context and itself, and cut off again.
        """
        end = self._cache.length
        states = np.concatenate((self.state, self._run([branch[:-1] for branch in branches])))
        self._cache.truncate(end)
        return states[_rows_before(branches)]

    def _run(self, branches: Sequence[TokenIds]) -> FloatArray:
        """Run ``branches`` after what is in the cache; float64[tokens, hidden].

        They lie in the cache one after the other: row by row, a token sees what was there, and its own
        branch up to itself.
        """
        end, lengths = self._cache.length, [len(branch) for branch in branches]
        ids = np.fromiter(chain.from_iterable(branches), np.int64)
        rows = np.arange(end, end + len(ids))
        begins = np.repeat(end + np.cumsum([0, *lengths[:-1]]), lengths)
        positions = rows - begins + end
        states = [np.empty((0, self._model.config.hidden))]
        for at in range(0, len(ids), TOKENS_AT_ONCE):
            part = slice(at, at + TOKENS_AT_ONCE)
            columns = np.arange(rows[part][-1] + 1)
            own = (begins[part, None] <= columns) & (columns <= rows[part, None])
            tokens = Tokens(ids[part], positions[part], own | (columns < end))
            states.append(self._model.forward(tokens, self._cache))
        return np.concatenate(states)


def _rows_before(branches: Sequence[TokenIds]) -> list[int]:
    """Where each token is predicted from: the first of a branch from row 0, the others from their own."""
    rows, at = [], 1
    for branch in branches:
        own = range(at, at + len(branch[:-1]))
        rows += [0, *own][: len(branch)]
        at = own.stop
    return rows
