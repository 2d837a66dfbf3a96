"""Greedy texts, one at a time: what two prompts begin with is run once."""

from __future__ import annotations

from math import isfinite
from typing import Any

import mlx.core as mx

from slmeval.errors import JobFailed
from slmeval.stopping import Stopper
from slmeval.types import Completion, TokenIds
from slmeval_mlx.trunk import Trunk


def complete(trunk: Trunk, ids: TokenIds, stopper: Stopper) -> Completion:
    """What the model writes after ``ids`` until ``stopper`` has its verdict.

    :raises JobFailed: the model gives no numbers.
    """
    if stopper.reason is None:
        trunk.move_to(ids[:-1])
        token = ids[-1]
        while stopper.reason is None:
            token = _likeliest(trunk.step(token))
            stopper.push(token)
    return stopper.completion()


def _likeliest(logits: Any) -> int:
    """:raises JobFailed: they are no numbers; the likeliest of these would be some token all the same."""
    best: Any = mx.argmax(logits)
    # together, so that the device is waited for once
    value = logits[best]
    mx.eval(best, value)
    if not isfinite(value.item()):
        raise JobFailed(
            "the model's logits are not numbers: its weights are damaged, or its numbers overflow "
            "(another --dtype may help)"
        )
    return int(best.item())
