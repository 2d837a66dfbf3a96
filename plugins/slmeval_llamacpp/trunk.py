"""What is kept in the cache between packs: the tokens that the next sequences begin with.

Sequence 0 holds the trunk; the sequences of a pack, from 1 on, begin with a copy of it (which costs no
memory), and are forgotten after it. A model whose tokens cannot be taken back (Mamba, say) has no trunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from slmeval.token_tree import common_length, common_to_all
from slmeval.types import TokenIds
from slmeval_llamacpp.context import Context, FloatRows
from slmeval_llamacpp.packing import Limits, Pack, Packer, Row

#: the tokens that all contexts of a call have in common are run in steps of this many, so that their part
#: of the cache has the same bits whatever follows, and can be kept for the next call
STEP = 128


class Trunk:
    """The cache of one context, told what comes next."""

    def __init__(self, context: Context, *, rewinds: bool) -> None:
        self.context, self._rewinds = context, rewinds
        #: run in steps, at the start of sequence 0
        self._kept: TokenIds = ()
        #: all of sequence 0
        self._ids: TokenIds = ()

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return len(self._ids)

    def begin(self, contexts: Sequence[TokenIds], *, whole: bool = False) -> None:
        """Forget all but what ``contexts`` have in common, and run the rest of that.

        What is too short for a step is run only where ``whole``, and not kept for the next call.
        """
        length = common_to_all(contexts) if self._rewinds else 0
        wanted = contexts[0][: length - length % STEP] if length else ()
        self._forget(common_length(self._kept, wanted) // STEP * STEP)
        for start in range(len(self._kept), len(wanted), STEP):
            self._kept = self._run(wanted[start : start + STEP])
        if whole and length > len(self._ids):
            self._run(contexts[0][len(self._ids) : length])

    def _forget(self, length: int) -> None:
        """Leave the first ``length`` tokens of what was kept."""
        whole = length and self.context.is_whole(0)
        self._kept = self._ids = self._kept[:length] if whole else ()
        if not whole:
            self.context.clear()
            return
        self.context.keep_only(0)
        self.context.remove(0, length)

    def _run(self, tokens: TokenIds) -> TokenIds:
        """Run ``tokens`` at the end of sequence 0, all of which is returned."""
        start, size = len(self._ids), len(tokens)
        pack = Pack(list(tokens), list(range(start, start + size)), [0] * size, [1] * size, [False] * size)
        for _ in self.context.run(pack):
            pass
        self._ids += tokens
        return self._ids

    def take(self, rows: Sequence[Row], at: int, limits: Limits) -> Pack:
        """As many of ``rows`` from ``at`` on as one pack holds, at least one."""
        packer = Packer(len(self._ids), limits)
        before = self._ids
        for row in rows[at:]:
            if not packer.add(row, common_length(before, row.ids)):
                break
            before = row.ids
        return packer.finish()

    def run(self, pack: Pack) -> Iterator[tuple[npt.NDArray[np.int64], FloatRows]]:
        """Run ``pack`` on sequences of its own."""
        for sequence, length in enumerate(pack.copied, start=1):
            self.context.copy(0, sequence, 0, length)
        return self.context.run(pack, 0 if self._rewinds else -1)

    def move(self, last: Row, pack: Pack, following: Row | None) -> None:
        """After ``pack``, of which ``last`` is the last row: keep what ``following`` begins with."""
        branch = len(pack.copied)
        # of what has slid out of a window nothing can be kept
        if not self._rewinds or following is None or not self.context.is_whole(branch):
            self._forget(len(self._kept))
            return
        length = min(common_length(last.ids, following.ids), following.start)
        stem = min(length, pack.copied[-1])
        self.context.remove(0, stem)
        self.context.copy(branch, 0, stem, length)
        self.context.keep_only(0)
        self._ids = last.ids[:length]
        if not self.context.is_whole(0):
            self._forget(len(self._kept))
