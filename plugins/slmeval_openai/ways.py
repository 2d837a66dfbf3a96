"""Settings of a streamed text that not every server takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: of which vLLM and SGLang heed the second: each chunk then counts the tokens so far
_ALL_COUNTS = {"include_usage": True, "continuous_usage_stats": True}
_COUNT = {"include_usage": True}


@dataclass(frozen=True)
class Way:
    """What a stream is to count, and by their names settings against end tokens and caches."""

    counts: Mapping[str, Any]
    names: frozenset[str]

    def body(self, tokens: int, number: int) -> dict[str, Any]:
        """The settings of the request of this number for so many tokens."""
        known = {
            "ignore_eos": True,
            "min_tokens": tokens,
            "cache_prompt": False,
            "cache_salt": f"slmeval-{number}",
        }
        told = {name: value for name, value in known.items() if name in self.names}
        return {"stream": True, **({"stream_options": self.counts} if self.counts else {}), **told}

    @property
    def goes_on(self) -> bool:
        """Whether the server was told that no end token ends a text, and did not refuse."""
        return "ignore_eos" in self.names


#: the fullest first: vLLM's and SGLang's, llama-server's, OpenAI's; a server may ignore what it does not know
WAYS = (
    Way(_ALL_COUNTS, frozenset({"ignore_eos", "min_tokens", "cache_prompt", "cache_salt"})),
    Way(_ALL_COUNTS, frozenset({"ignore_eos", "cache_prompt"})),
    Way(_COUNT, frozenset({"ignore_eos"})),
    Way(_COUNT, frozenset()),
    Way({}, frozenset()),
)
