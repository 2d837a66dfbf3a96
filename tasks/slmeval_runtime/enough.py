"""Whether a cache will fit this machine's memory: a default context is not looked at before."""

from __future__ import annotations

from pathlib import Path

from slmeval.api import Session
from slmeval.available import available_memory
from slmeval.errors import JobFailed, ModelError
from slmeval.shape_reading import shape_of
from slmeval_runtime.widths import cache_bits

_MIB = 2**20


def refuse_too_much(session: Session, tokens: int, batch: int) -> None:
    """Look whether ``batch`` sequences of ``tokens`` tokens fit beside the model, which is open.

    Where machine or model do not tell, and where the model is on another device, nothing is refused.

    :raises JobFailed: they do not, with the arithmetic.
    """
    info, left = session.backend.model_info(), available_memory()
    if left is None or not info.device.startswith("cpu"):
        return
    bits = cache_bits(info.dtype)
    try:
        need = batch * shape_of(Path(session.model.location)).kv_bytes(tokens, bits)
    except ModelError:
        return
    if need > left:
        raise JobFailed(
            f"{batch} x {tokens} tokens need {need / _MIB:.0f} MiB of cache at {bits:g} bits a number, and "
            f"{left / _MIB:.0f} MiB are left: take a smaller -o context= or -o batch="
        )
