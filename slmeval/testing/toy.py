"""A model whose logits have a closed form: one layer of the Llama family, its weights made of integers.

Each token has a code of 64 signs. The queries and keys of all tokens are the same, so that, after the
rotary embedding, attention depends on distances alone: the token at place i attends to the one at place j
with weights that go as exp(a cos(i - j)), with one a for each head. What comes out is a mean of the codes
of all tokens so far, which the last layer compares with a table. A token that is left out, seen twice, put
in another place or at another position changes every logit that follows, and :func:`logits` says in a few
lines of numpy what they are. :mod:`slmeval.testing.toy_files` writes the model for an engine to open.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from slmeval.types import TokenIds

FloatArray = NDArray[np.float64]

CONTEXT = 256
HIDDEN, FEED, HEADS, KV_HEADS, HEAD_DIM = 256, 768, 4, 2, 64
EPSILON = 1e-5
ROPE_BASE = 10_000.0

UNKNOWN, BOS, EOS = range(3)
SPECIAL = ("<unk>", "<s>", "</s>")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
#: what is written "▁" is a space, as in SentencePiece; each piece of two characters is one merge
MERGED = ("an", "er", "in", "th", "▁a", "▁t")
PIECES = ("▁", *_LETTERS, *MERGED)
#: special tokens, then the 256 bytes, then the pieces
TOKENS = (*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES)
VOCABULARY = len(TOKENS)
#: signs in the code of a token; as many for each head of keys and values as ``CODE // KV_HEADS``
CODE = 64
SHARE = CODE // KV_HEADS
#: where in the hidden state the code stands, then what attention found (a share for each head), then a 1
FOUND = slice(CODE, CODE + HEADS * SHARE)
ONE = HIDDEN - 1
#: the query of each head, times the 1: how much it prefers distances whose cosine is large
QUERIES = (4.0, 0.0, -4.0, 2.0)
#: weights of the table: how much a token likes to follow another, heeds what was found, is
#: disliked or liked by itself
FOLLOWS, HEEDS, DISLIKED, LIKED = 1 / 32, 3 / 32, 3.0, 1.25
#: how many tokens each token of :data:`TEXT` may well be followed by
FOLLOWERS = 4


def byte(value: int) -> int:
    """The id of the token that is this one byte."""
    return len(SPECIAL) + value


#: a character of two tokens
ACCENTED: TokenIds = tuple(byte(value) for value in "é".encode())
#: what the model writes: now and then EOS, then pieces, a full stop, and the character of two tokens
TEXT: TokenIds = (EOS, *(TOKENS.index(piece) for piece in PIECES), byte(ord(".")), *ACCENTED)
#: tokens of text that say each a piece of one or two letters
PLAIN: TokenIds = TEXT[1 : 1 + len(PIECES)]


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers without a pattern, the same on every machine (the finalizer of splitmix64)."""
    mixed: NDArray[np.uint64] = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _drawn(rows: int, columns: int, series: int) -> NDArray[np.uint64]:
    """uint64[rows, columns], another one for each ``series``."""
    return _mixed(np.arange(rows * columns, dtype=np.uint64) + np.uint64(series << 32)).reshape(rows, columns)


@cache
def codes() -> FloatArray:
    """The code of each token, -1 or 1: float64[VOCABULARY, CODE]."""
    signs: FloatArray = (_drawn(VOCABULARY, CODE, 1) >> np.uint64(63)).astype(np.float64) * 2 - 1
    return signs


@cache
def table() -> FloatArray:
    """The output matrix, float64[VOCABULARY, HIDDEN]; every number in it is exact in float16."""
    made = np.zeros((VOCABULARY, HIDDEN))
    made[:, :CODE] = FOLLOWS * _follows() @ codes()
    heeded = _drawn(VOCABULARY, FOUND.stop - FOUND.start, 2) % np.uint64(7)
    made[:, FOUND] = HEEDS * (heeded.astype(np.float64) - 3)
    made[:, ONE] = -DISLIKED
    made[list(TEXT), ONE] = 0
    # what tests wait for comes soon
    made[[EOS, ACCENTED[0]], ONE] = LIKED
    return made


def _follows() -> FloatArray:
    """1 where the token of the row may well follow that of the column: float64[VOCABULARY, VOCABULARY]."""
    made = np.zeros((VOCABULARY, VOCABULARY))
    # nothing but the first byte of a character is followed by its second, so that what is written is text
    drawn = _drawn(VOCABULARY, FOLLOWERS, 3) % np.uint64(len(TEXT) - 1)
    for token, row in enumerate(drawn.tolist()):
        made[[TEXT[place] for place in row], token] = 1
    first, second = ACCENTED
    made[:, first], made[second, first] = 0, 3
    return made


def logits(ids: TokenIds) -> FloatArray:
    """After each token of ``ids``, the logits of the next one: float64[len(ids), VOCABULARY]."""
    code, places = codes()[list(ids)], np.arange(len(ids))
    # RMSNorm divides by the root of the mean square, which is the same for all embeddings
    scale = 1 / np.sqrt((CODE + 1) / HIDDEN + EPSILON)
    nearness = np.cos(places[:, None] - places)
    hidden = np.zeros((len(ids), HIDDEN))
    hidden[:, :CODE], hidden[:, ONE] = code, 1
    for head, query in enumerate(QUERIES):
        weights = np.tril(np.exp(query * scale**2 / np.sqrt(HEAD_DIM) * nearness))
        share = code[:, SHARE * (head * KV_HEADS // HEADS) :][:, :SHARE]
        mean = weights / weights.sum(axis=1, keepdims=True) @ share
        hidden[:, CODE + SHARE * head :][:, :SHARE] = scale * mean
    hidden /= np.sqrt((hidden**2).mean(axis=1, keepdims=True) + EPSILON)
    found: FloatArray = hidden @ table().T
    return found


def logprobs(ids: TokenIds) -> FloatArray:
    """After each token of ``ids``, natural-log probabilities: float64[len(ids), VOCABULARY]."""
    found = logits(ids)
    best = found.max(axis=1, keepdims=True)
    shifted: FloatArray = found - best - np.log(np.exp(found - best).sum(axis=1, keepdims=True))
    return shifted


def text_ids(count: int, seed: int, among: Sequence[int] = PLAIN) -> TokenIds:
    """BOS and ``count - 1`` tokens drawn from ``among``."""
    drawn = _drawn(1, count - 1, 1000 + seed)[0] % np.uint64(len(among))
    return (BOS, *(among[place] for place in drawn.tolist()))
