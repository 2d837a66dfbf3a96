"""Logits to log-probabilities: whole rows at a time, in pieces that fit a processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from slmeval.errors import JobFailed
from slmeval.types import TopLogprobs
from slmeval_llamacpp.context import FloatRows

#: numbers worked on at once: 4 MiB
_AT_ONCE = 1 << 20


def normalizers(logits: FloatRows) -> npt.NDArray[np.float64]:
    """The logarithm of each row's sum of exponentials, float64[n].

    :raises JobFailed: a row holds what is no number.
    """
    step = max(1, _AT_ONCE // logits.shape[1])
    found = [_of_piece(logits[at : at + step]) for at in range(0, len(logits), step)]
    return _numbers(np.concatenate(found))


def _numbers(found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not np.isfinite(found).all():
        raise JobFailed(
            "the model's logits are not numbers: its weights are damaged, or its numbers overflow "
            "(-o kv_type=f32 or --dtype float32 may help)"
        )
    return found


def _of_piece(logits: FloatRows) -> npt.NDArray[np.float64]:
    top = logits.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        # float32 is exact enough for one exponential, not for a sum over a vocabulary
        total = np.exp(logits - top).sum(axis=-1, dtype=np.float64)
    return np.asarray(top[:, 0] + np.log(total), np.float64)


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
