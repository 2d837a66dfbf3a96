"""Logits to log-probabilities: read from memory once, in pieces that fit a processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from slmeval.errors import JobFailed
from slmeval.types import TopLogprobs
from slmeval_llamacpp.context import FloatRows

#: numbers worked on at once, if a row has no more: 256 KiB
_AT_ONCE = 1 << 16
#: sums that a row is added up in side by side
_SUMS = 1024
#: at e to less than this begin subnormal numbers, which are slow, and no part of any sum with 1 in it
_LEAST = np.float32(-87)

Floats = npt.NDArray[np.float64]


def graded(
    logits: FloatRows, lines: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The log-probability of ``tokens[n]`` in row ``lines[n]``, and whether it is that row's most likely.

    Of equally likely tokens that with the lowest id is the most likely.

    :raises JobFailed: a row holds what is no number.
    """
    norms, highest = _normalized(logits)
    found = logits[lines, tokens]
    best = found == highest[lines]
    for place in np.flatnonzero(best):
        best[place] = logits[lines[place]].argmax() == tokens[place]
    return found - norms[lines], best


def normalizers(logits: FloatRows) -> Floats:
    """The logarithm of each row's sum of exponentials, float64[n].

    :raises JobFailed: a row holds what is no number.
    """
    return _normalized(logits)[0]


def _normalized(logits: FloatRows) -> tuple[Floats, npt.NDArray[np.float32]]:
    """The same, and each row's largest logit."""
    rows, vocabulary = logits.shape
    norms, highest = np.empty(rows), np.empty(rows, np.float32)
    step = max(1, _AT_ONCE // vocabulary)
    # one room for all pieces; behind a row's end it stays 0
    room = np.zeros((step, -(-vocabulary // _SUMS) * _SUMS), np.float32)
    for at in range(0, rows, step):
        piece = logits[at : at + step]
        highest[at : at + step] = top = piece.max(axis=-1)
        norms[at : at + step] = top + np.log(_total(piece, top, room[: len(piece)]))
    return _numbers(norms), highest


def _total(logits: FloatRows, top: npt.NDArray[np.float32], room: FloatRows) -> Floats:
    """Each row's sum of exponentials over that of its largest."""
    used = room[:, : logits.shape[1]]
    with np.errstate(invalid="ignore"):
        np.subtract(logits, top[:, None], out=used)
        np.maximum(used, _LEAST, out=used)
        np.exp(used, out=used)
    # float32 is exact enough for one exponential and for a sum of few, not for one over a vocabulary
    few: FloatRows = room.reshape(len(room), -1, _SUMS).sum(axis=1)
    return np.asarray(few.astype(np.float64).sum(axis=-1), np.float64)


def _numbers(found: Floats) -> Floats:
    if not np.isfinite(found).all():
        raise JobFailed(
            "the model's logits are not numbers: its weights are damaged, or its numbers overflow "
            "(-o kv_type=f32 or --dtype float32 may help)"
        )
    return found


def likeliest(logits: FloatRows) -> npt.NDArray[np.int64]:
    """The most likely token of each row, int64[n]; of equally likely ones that with the lowest id.

    :raises JobFailed: a row holds what is no number; ``argmax`` alone would give some token all the same.
    """
    best = np.asarray(logits.argmax(axis=-1), np.int64)
    _numbers(np.take_along_axis(logits, best[:, None], -1).astype(np.float64))
    return best


def top(logits: FloatRows, k: int) -> Iterator[TopLogprobs]:
    """The ``k`` most likely tokens of each row; of equally likely ones those with the lowest ids."""
    for row, normalizer in zip(logits, normalizers(logits), strict=True):
        ids = _largest(row, k)
        yield TopLogprobs(tuple(ids.tolist()), tuple((row[ids].astype(np.float64) - normalizer).tolist()))


def _largest(row: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """The indices of the ``k`` largest numbers, the largest first."""
    least = np.partition(row, len(row) - k)[len(row) - k]
    above = np.flatnonzero(row > least)
    equal = np.flatnonzero(row == least)[: k - len(above)]
    ids = np.concatenate((above, equal))
    return np.asarray(ids[np.argsort(-row[ids], kind="stable")], np.int64)
