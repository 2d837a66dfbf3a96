"""Whether a cache will fit this machine's memory: a default context is not looked at before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slmeval.api import Session
from slmeval.available import available_memory
from slmeval.errors import JobFailed
from slmeval_runtime.held import Held
from slmeval_runtime.predictions import Predictor, predictor
from slmeval_runtime.process_memory import ProcessMemory
from slmeval_runtime.widths import cache_bits

_MIB = 2**20
#: tokens of a prompt that shows how a cache keeps its numbers: two steps of llama.cpp's and MLX's rooms
_FEW = 512

#: runs a prompt of so many tokens in so many sequences, and looks
Hold = Callable[[Session, int, int], Held]


def refuse_too_much(session: Session, tokens: int, batch: int, hold: Hold) -> None:
    """Look whether ``batch`` sequences of ``tokens`` tokens fit beside the model, which is open.

    Where machine or model do not tell, and where the model is on another device, nothing is refused.

    :raises JobFailed: they do not, with the arithmetic.
    """
    info, left = session.backend.model_info(), available_memory()
    if left is None or not info.device.startswith("cpu"):
        return
    rule, bits = predictor(Path(session.model.location), info.dtype), cache_bits(info.dtype)
    if _need(rule, tokens, batch, bits) <= left:
        return
    # the type of the weights need not be that of the cache, which a short prompt shows
    few = min(tokens, _FEW)
    bits = rule.bits(hold(session, few, 1), hold(session, few // 2, 1))
    if (need := _need(rule, tokens, batch, bits)) > left:
        raise JobFailed(
            f"{batch} x {tokens} tokens need {need / _MIB:.0f} MiB of cache at {bits:g} bits a number, and "
            f"{left / _MIB:.0f} MiB are left: take a smaller -o context= or -o batch="
        )


def _need(rule: Predictor, tokens: int, batch: int, bits: float) -> float:
    """Bytes; 0 where the shape of the model is not known."""
    return rule.cache(Held(tokens, batch, None, ProcessMemory(), {}), bits).value or 0.0
