"""What a cache takes while tokens are in it, and by how much it grows with each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slmeval_runtime.process_memory import ProcessMemory

Parts = Mapping[str, float]


@dataclass(frozen=True)
class Held:
    """While ``tokens`` of each of ``batch`` sequences are in the cache.

    ``top``: bytes that the process held at most while they were run; ``process`` and ``told`` afterwards.
    """

    tokens: int
    batch: int
    top: int | None
    process: ProcessMemory
    told: Parts

    @property
    def room(self) -> float:
        """For how many tokens, all sequences together, the cache has room: as told, or as many."""
        return self.told.get("kv cache room", float(self.tokens * self.batch))


def growth(held: Held, less: Held | None) -> float | None:
    """Bytes that a token takes, as told: between two rooms, so that nothing of a fixed size is in it.

    Of a room that did not grow, the cache over its room; ``None`` where the engine does not tell.
    """
    if "kv cache" not in held.told:
        return None
    if less is None or less.room == held.room:
        return held.told["kv cache"] / held.room
    return (held.told["kv cache"] - less.told["kv cache"]) / (held.room - less.room)
