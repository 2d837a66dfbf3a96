"""What stays in vLLM's prefix cache from one call to the next: the tokens that all prompts begin with.

What is read from the cache has other bits than what is computed, so nothing may stay there by chance. The
trunk is run by itself, in steps whose bits depend on their tokens alone; before each call everything else is
forgotten, and after that a call finds the same whatever was asked before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from vllm import LLMEngine

from slmeval.errors import JobFailed
from slmeval.token_tree import common_to_all
from slmeval.types import TokenIds

#: tokens of a step, where a block of the cache is no longer than that
STEP = 128


@dataclass(frozen=True)
class Step:
    """Some tokens of a trunk, with the blocks that hold them: each one's hash, by its number."""

    ids: TokenIds
    blocks: dict[int, bytes]


class Trunk:
    """The prefix cache of one engine, between calls.

    Where this vLLM does not show its blocks, or has a cache of another kind, the trunk is run anew in each
    call: the prompts behind it read it from the cache all the same.
    """

    def __init__(self, engine: LLMEngine) -> None:
        cache = engine.vllm_config.cache_config
        block = int(cache.block_size or 16)
        self._engine = engine
        self._step = -(-STEP // block) * block if cache.enable_prefix_caching else 0
        self._pool = _pool_of(engine)
        self._kept: list[Step] = []

    def begin(self, prompts: Collection[TokenIds], run: Callable[[TokenIds], None]) -> None:
        """Forget all but what ``prompts`` begin with, and ``run`` the rest of that, step by step.

        ``run`` asks vLLM for nothing but a prompt, and waits for it.

        :raises JobFailed: vLLM keeps what it computed.
        """
        wanted = self._wanted(prompts)
        self._forget(wanted)
        for end in range((len(self._kept) + 1) * self._step, len(wanted) + 1, self._step or 1):
            before = self._hashed()
            run(wanted[:end])
            new = {number: name for number, name in self._hashed().items() if number not in before}
            self._kept.append(Step(wanted[end - self._step : end], new))

    def _wanted(self, prompts: Collection[TokenIds]) -> TokenIds:
        # a prompt is never read from the cache whole
        length = common_to_all(prompts)
        return min(prompts)[: length - length % self._step] if self._step and length else ()

    def _forget(self, wanted: TokenIds) -> None:
        same = [
            step.ids == wanted[at * self._step : (at + 1) * self._step] for at, step in enumerate(self._kept)
        ]
        self._kept = self._kept[: (*same, False).index(False)]
        blocks = {number: name for step in self._kept for number, name in step.blocks.items()}
        hashed = self._hashed()
        if self._pool is None or not blocks or blocks.items() - hashed.items():
            self._empty()
        else:
            self._pool.evict_blocks(hashed.keys() - blocks.keys())

    def _empty(self) -> None:
        self._kept = []
        if self._engine.reset_prefix_cache() is False:
            raise JobFailed(
                "vLLM does not empty its prefix cache, so that answers would depend on earlier ones"
            )

    def _hashed(self) -> dict[int, bytes]:
        """The blocks that can be read from the cache, by their numbers."""
        if self._pool is None:
            return {}
        found = ((block.block_id, block.block_hash) for block in self._pool.blocks)
        return {number: name for number, name in found if name is not None}


def _pool_of(engine: LLMEngine) -> Any:
    """vLLM's blocks, or ``None`` where they cannot be told from each other, or forgotten one by one."""
    core = getattr(engine.engine_core, "engine_core", None)
    manager = getattr(getattr(core, "scheduler", None), "kv_cache_manager", None)
    pool = getattr(manager, "block_pool", None)
    return pool if hasattr(pool, "evict_blocks") and hasattr(pool, "blocks") else None
