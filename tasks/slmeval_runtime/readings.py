"""What an engine's readings of its memory come to, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slmeval.api import Reading

#: in bytes, summed over devices; in tokens: "kv cache room"
PARTS = ("weights", "kv cache", "kv cache room", "state", "compute", "logits", "active", "peak")


def parts_of(readings: Iterable[Reading]) -> Mapping[str, float]:
    """The sums over devices of each part that is told; scopes are those of ``Backend.memory``.

    A scope may go on with a device behind the part: "weights (CPU)".
    """
    sums: dict[str, float] = {}
    for reading in readings:
        part = reading.scope.partition(" (")[0].strip()
        if part in PARTS:
            sums[part] = sums.get(part, 0.0) + reading.value
    return sums
