"""So many bytes, with how they were come by; and amounts that are made of others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slmeval.types import Source
from slmeval_runtime.predictions import Prediction

TOLD = "as the engine tells"


@dataclass(frozen=True)
class Amount:
    """Bytes, or ``None`` and why in the note."""

    value: float | None
    source: Source = "measured"
    note: str = ""


def sum_of(parts: Iterable[Amount]) -> float:
    """Bytes of all parts; what is not known counts for nothing."""
    return sum(each.value or 0.0 for each in parts)


def source_of(parts: Iterable[Amount]) -> Source:
    """Of what is made of ``parts``: computed where one is, but for those of which there is nothing."""
    return "estimated" if any(each.value and each.source == "estimated" for each in parts) else "measured"


def told_or(told: float | None, computed: Prediction) -> Amount:
    """What the engine tells, else what is computed, else why there is neither."""
    if told is not None:
        return Amount(told, note=TOLD)
    if computed.value is None:
        return Amount(None, "unavailable", f"the engine does not tell, and {computed.note}")
    return Amount(computed.value, "estimated", f"the engine does not tell; {computed.note}")
