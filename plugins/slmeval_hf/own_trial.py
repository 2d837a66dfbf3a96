"""A trial of passes with a model's own cache, where it is of another kind than keys and values.

Some architectures cannot go on from their state with several tokens at once (Mamba), or not with several
sequences (RWKV); a time of what is computed wrongly is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch

from slmeval_hf.own_passes import OwnPasses
from slmeval_hf.scoring import wide
from slmeval_hf.trial import FAILURES, TOLERANCES

#: tokens of one pass after the other: a prompt and what is decoded, and a prompt behind a depth
STEPS, JUMPS = (4, 1, 1), (5, 3, 1)


def fault_of_steps(passes: OwnPasses, vocabulary: int, rows: int, cuts: Sequence[int]) -> str | None:
    """Why ``rows`` sequences cannot be run in pieces of ``cuts`` tokens, or ``None``."""
    try:
        differences = _differences(passes, vocabulary, rows, cuts)
    except FAILURES as error:
        return f"with its own cache it fails ({type(error).__name__})"
    if not all(map(isfinite, differences)):
        return "with its own cache it gives log-probabilities that are no numbers"
    if max(differences) <= TOLERANCES.get(passes.model.dtype, 0.4):
        return None
    return f"with its own cache log-probabilities differ by {max(differences):.2g}"


def _differences(passes: OwnPasses, vocabulary: int, rows: int, cuts: Sequence[int]) -> list[float]:
    """After each piece the largest in a log-probability, to a pass over everything."""
    device = passes.model.device
    ids = 104729 * torch.arange(1, rows * sum(cuts) + 1, device=device).reshape(rows, -1) % vocabulary
    # one sequence at a time: nothing that could be wrong
    whole = torch.cat([passes.model(input_ids=row[None], use_cache=False).logits for row in ids])
    cache, end, found = passes.begin(), 0, []
    for tokens in cuts:
        logits, cache = passes.run(ids[:, end : end + tokens], cache)
        end += tokens
        difference = wide(logits).log_softmax(-1) - wide(whole[:, end - 1]).log_softmax(-1)
        found.append(float(difference.abs().max()))
    return found
