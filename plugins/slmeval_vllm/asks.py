"""One question to vLLM and its answer: what follows a prompt, and how likely its last tokens were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm import SamplingParams, sampling_params

from slmeval.errors import JobFailed
from slmeval.types import TokenIds

#: tokens whose log-probabilities one request may ask for
MOST_TARGETS = int(getattr(sampling_params, "MAX_LOGPROB_TOKEN_IDS", 128))


@dataclass(frozen=True)
class Mark:
    """How likely one token was, and the likeliest; ``hit`` is ``None`` where others are as likely as it."""

    logprob: float
    best: float
    hit: bool | None


@dataclass(frozen=True)
class Ask:
    """How likely is each of ``targets`` after the prompt ``ids``, and were its last ``rows`` tokens?

    ``fresh``: compute all of the prompt, and read nothing from the cache.
    """

    ids: TokenIds
    targets: tuple[int, ...]
    rows: int = 0
    fresh: bool = False

    def params(self) -> SamplingParams:
        """The same in vLLM's words."""
        # the two likeliest, for ties; a rank says not whether one of equals would be taken
        more = {"prompt_logprobs": 2} if self.rows else {}
        return SamplingParams(
            **more,
            temperature=0.0,
            max_tokens=1,
            ignore_eos=True,
            detokenize=False,
            flat_logprobs=True,
            logprob_token_ids=list(self.targets),
            skip_reading_prefix_cache=self.fresh,
        )

    def reply(self, output: Any) -> Reply:
        """What ``output``, a RequestOutput that is finished, says.

        :raises JobFailed: it says less than was asked.
        """
        written = output.outputs[0]
        if not written.token_ids or not written.logprobs:
            raise JobFailed("vLLM gave no token with its log-probability")
        (best,) = written.token_ids
        found = written.logprobs[0]
        absent = [token for token in (best, *self.targets) if token not in found]
        if absent:
            raise JobFailed(f"vLLM gave no log-probability of token {absent[0]}")
        marks = {
            token: Mark(found[token].logprob, found[best].logprob, token == best) for token in self.targets
        }
        return Reply(marks, self._rows(output))

    def _rows(self, output: Any) -> tuple[Mark | None, ...]:
        # of what was read from the cache there are no rows, or rows of memory that was never written
        cached = output.num_cached_tokens
        computed = len(self.ids) - 1 - (len(self.ids) if cached is None else cached)
        told = output.prompt_logprobs or ()
        places = range(-self.rows, 0)
        return tuple(
            _mark(told[place], self.ids[place]) if -place <= min(computed, len(told)) else None
            for place in places
        )


@dataclass(frozen=True)
class Reply:
    """How likely each target is, and each of the last rows that was told."""

    marks: Mapping[int, Mark]
    rows: tuple[Mark | None, ...]


def _mark(row: Mapping[int, Any] | None, token: int) -> Mark | None:
    if not row or token not in row:
        return None
    logprob = row[token].logprob
    first, second = sorted((each.logprob for each in row.values()), reverse=True)[:2]
    return Mark(logprob, first, logprob == first if first != second or logprob != first else None)


def in_chunks(targets: Sequence[int]) -> list[tuple[int, ...]]:
    """As many at a time as one request may ask for."""
    return [tuple(targets[at : at + MOST_TARGETS]) for at in range(0, len(targets), MOST_TARGETS)]
