"""Token ids as a reader can follow them: each token's own text, and two sequences side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from slmeval.errors import ModelError
from slmeval.tokenizing import FastTokenizer
from slmeval.types import TokenIds

#: tokens before one that its text is read with: no character has more bytes, and some decoders look back
_WINDOW = 8
#: what decoders put where bytes are no whole character
_BROKEN = "\ufffd"


@lru_cache(maxsize=16)
def specials(tokenizer: FastTokenizer) -> frozenset[int]:
    """Ids that are marks, not text: BOS, EOS, and what the definition calls special or puts around a text."""
    definition = json.loads(tokenizer.definition)
    added = {entry["id"] for entry in definition.get("added_tokens") or () if entry.get("special")}
    around = tokenizer.encode("")
    named = (each for each in (tokenizer.bos_id, tokenizer.eos_id) if each is not None)
    return frozenset({*added, *around, *named})


def marks(tokenizer: FastTokenizer, ids: Sequence[int]) -> str:
    """The tokens as the vocabulary writes them, with their ids: ``'▁the' (12), 's' (40)``."""
    return ", ".join(f"{_named(tokenizer, token)} ({token})" for token in ids) or "nothing"


def _named(tokenizer: FastTokenizer, token: int) -> str:
    found = tokenizer.token(token)
    return "no token" if found is None else repr(found)


def texts_of(tokenizer: FastTokenizer, ids: TokenIds) -> tuple[str, ...]:
    """Each token's share of the decoded text: "" for a mark, and for a piece of a character but the last."""
    marked = specials(tokenizer)
    found, before = [], 0
    for place, token in enumerate(ids):
        piece = "" if token in marked else _piece(tokenizer, ids[before : place + 1], place - before)
        found.append(piece)
        # the next piece begins where the last whole character ended
        before = max(0, place + 1 - _WINDOW) if piece or token in marked else before
    return tuple(found)


def _piece(tokenizer: FastTokenizer, ids: TokenIds, known: int) -> str:
    try:
        earlier, whole = tokenizer.decode(ids[:known]).rstrip(_BROKEN), tokenizer.decode(ids)
    except ModelError:  # an id that is no token
        return ""
    if whole.endswith(_BROKEN) or not whole.startswith(earlier):
        return ""
    return whole[len(earlier) :]


# ---- side by side --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """Tokens ``first[0]`` to ``first[1]`` of one side that cover the same text as those of the other."""

    first: tuple[int, int]
    other: tuple[int, int]


def segments(
    first: TokenIds, other: TokenIds, first_texts: Sequence[str], other_texts: Sequence[str]
) -> tuple[Segment, ...]:
    """The shortest runs of tokens over the same text; of texts that are not the same, the like parts."""
    if first == other:
        return tuple(Segment((place, place + 1), (place, place + 1)) for place in range(len(first)))
    if (shorter := min(len(first), len(other))) and first[-shorter:] == other[-shorter:]:
        return tuple(_by_end(len(first), len(other), shorter))
    if "".join(first_texts) == "".join(other_texts):
        return tuple(_by_text(first, other, first_texts, other_texts))
    return tuple(_by_likeness(first_texts, other_texts))


def _by_end(first: int, other: int, shared: int) -> Iterator[Segment]:
    """One side lacks what stands first on the other."""
    begins = (first - shared, other - shared)
    yield Segment((0, begins[0]), (0, begins[1]))
    for step in range(shared):
        place, their_place = begins[0] + step, begins[1] + step
        yield Segment((place, place + 1), (their_place, their_place + 1))


def _by_text(
    first: TokenIds, other: TokenIds, first_texts: Sequence[str], other_texts: Sequence[str]
) -> Iterator[Segment]:
    ours, theirs = _Walk(first_texts), _Walk(other_texts)
    while ours.left or theirs.left:
        begun = (ours.place, theirs.place)
        if ours.is_mark and theirs.is_mark and first[ours.place] == other[theirs.place]:
            ours.step()
            theirs.step()
        elif ours.is_mark and not (theirs.is_mark and len(other) - theirs.place > len(first) - ours.place):
            ours.step()
        elif theirs.is_mark:
            theirs.step()
        else:
            _meet(ours, theirs)
        yield Segment((begun[0], ours.place), (begun[1], theirs.place))


def _meet(ours: _Walk, theirs: _Walk) -> None:
    """Go on until both have covered the same text again."""
    ours.step()
    theirs.step()
    while ours.covered != theirs.covered:
        (ours if ours.covered < theirs.covered else theirs).step()


class _Walk:
    """Goes over tokens, counting the characters covered."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self.place = 0
        self.covered = 0

    @property
    def left(self) -> bool:
        return self.place < len(self._texts)

    @property
    def is_mark(self) -> bool:
        """Whether the next token has no text."""
        return self.left and not self._texts[self.place]

    def step(self) -> None:
        self.covered += len(self._texts[self.place])
        self.place += 1


def _by_likeness(first: Sequence[str], other: Sequence[str]) -> Iterator[Segment]:
    for kind, *places in SequenceMatcher(None, first, other, autojunk=False).get_opcodes():
        begin, end, their_begin, their_end = places
        if kind == "equal":
            yield from (
                Segment((begin + step, begin + step + 1), (their_begin + step, their_begin + step + 1))
                for step in range(end - begin)
            )
        else:
            yield Segment((begin, end), (their_begin, their_end))


def first_difference(
    first: TokenIds, other: TokenIds, first_texts: Sequence[str], other_texts: Sequence[str]
) -> Segment | None:
    """The first segment whose ids are not the same."""
    return next(
        (
            segment
            for segment in segments(first, other, first_texts, other_texts)
            if first[slice(*segment.first)] != other[slice(*segment.other)]
        ),
        None,
    )
