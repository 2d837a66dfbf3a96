"""Sequences with common beginnings, as one batch in which each token stands once.

A pack is a tree of tokens. llama.cpp lets a token belong to several sequences; in the order of the tree
these are always neighbours, so that a first one and a count name them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slmeval.types import TokenIds

#: without flash attention each token is multiplied with all cells up to a multiple of this (llama.cpp's
#: ``llama_kv_cache::get_n_kv``), in whichever sequence they are
STRIDE = 256


@dataclass(frozen=True)
class Row:
    """A sequence to be run, and from where on its logits are asked for."""

    ids: TokenIds
    start: int


@dataclass(frozen=True)
class Limits:
    """What one pack may hold: new tokens, sequences, and cells (the cache's places, one a token)."""

    tokens: int
    sequences: int
    cells: int


@dataclass
class Pack:
    """The new tokens of some rows behind a trunk, and where each row's logits are.

    Per token: its id, position, first sequence, number of sequences, and whether its logits are wanted.
    ``copied``: how many tokens of the trunk each sequence begins with, from sequence 1 on. ``places``: for
    each row, the tokens (as indices) whose logits it asks for. ``rows``: how many rows it holds.
    """

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    wanted: list[bool] = field(default_factory=list)
    copied: list[int] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return len(self.places)


def _most(held: int, limit: int) -> int:
    """New tokens behind ``held`` cells: half of ``limit``, and as many more as cost no new stride."""
    end = -(-(held + limit // 2) // STRIDE) * STRIDE
    return min(limit, end - held)


class Packer:
    """Fills a pack row by row."""

    def __init__(self, trunk: int, limits: Limits) -> None:
        self._limits = limits
        self._pack = Pack()
        #: the current row's tokens as indices; those of the trunk are none of the pack's
        self._path = [-1] * trunk
        self._trunk = self._held = trunk
        self._most = _most(trunk, limits.tokens)

    def add(self, row: Row, shared: int) -> bool:
        """Take ``row``, of which ``shared`` tokens are those of the row before (at first, of the trunk).

        False: it does not fit, and the pack is full. The first row always fits.
        """
        # what is asked for must be run, and the trunk was run before
        shared = min(shared, row.start) if row.start < self._trunk else shared
        opens = not self._pack.copied or shared < len(self._path)
        if self._pack.rows and not self._fits(len(row.ids) - shared, opens):
            return False
        self._cut(shared)
        if opens:
            self._pack.copied.append(self._trunk)
        self._grow(row, shared)
        return True

    def finish(self) -> Pack:
        """The pack."""
        self._cut(0)
        return self._pack

    def _fits(self, new: int, opens: bool) -> bool:
        tokens = len(self._pack.tokens) + new
        return (
            tokens <= self._most
            and len(self._pack.copied) + opens <= self._limits.sequences
            and self._held + tokens <= self._limits.cells
        )

    def _cut(self, length: int) -> None:
        """Leave the branch: its tokens belong to the sequences up to the latest."""
        pack = self._pack
        for token in self._path[max(length, self._trunk) :]:
            pack.counts[token] = len(pack.copied) - pack.first[token] + 1
        del self._path[length:]
        self._trunk = min(self._trunk, length)

    def _grow(self, row: Row, shared: int) -> None:
        pack, known = self._pack, len(self._pack.tokens)
        new = row.ids[shared:]
        pack.tokens += new
        pack.positions += range(shared, len(row.ids))
        pack.first += [len(pack.copied)] * len(new)
        pack.counts += [1] * len(new)
        pack.wanted += [False] * len(new)
        self._path += range(known, known + len(new))
        places = self._path[row.start :]
        for place in places:
            pack.wanted[place] = True
        pack.places.append(places)
