"""How long vLLM takes: the batches of a workload, and the time at the end of each."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from slmeval.errors import JobFailed
from slmeval.types import Timing, Workload
from slmeval_vllm.loading import SEQUENCES, Opened
from slmeval_vllm.requests import Desk, Turn


class Timer:
    """Runs workloads on the engine in this process, step by step.

    vLLM is synchronized at the end of a step, for it gives out the tokens that it chose. What it computed
    for one run is forgotten before the next.
    """

    def __init__(self, desk: Desk, opened: Opened) -> None:
        self._desk, self._context = desk, opened.context
        cache = opened.config.cache_config
        self._block = opened.block if cache.enable_prefix_caching else 0
        self._blocks = int(cache.num_gpu_blocks or 0)
        self._block_size = opened.block
        self._batch = int(opened.config.scheduler_config.max_num_batched_tokens)
        self._timed = False
        #: by the depth that was asked for, how much of it was in the cache
        self._cached: dict[int, int] = {}

    def check(self, workload: Workload) -> None:
        """:raises JobFailed: its sequences cannot be under way at once."""
        count = len(workload.prompts)
        if count > SEQUENCES:
            raise JobFailed(f"{count} sequences are more than the {SEQUENCES} that vLLM runs at once here")
        # one block holds nothing, and each sequence has blocks of its own
        needed = count * -(-(workload.longest + 1) // self._block_size)
        if self._blocks and needed > self._blocks - 1:
            raise JobFailed(
                f"{count} sequences of {workload.longest + 1} tokens need {needed} blocks of vLLM's cache, "
                f"which has {self._blocks - 1}: -o batch_tokens= makes room for more"
            )

    def run(self, workload: Workload) -> Timing:
        """One run. A prefill alone ends with a token, too: vLLM has no step that chooses none.

        :raises JobFailed: vLLM stopped.
        """
        with self._desk.turn() as turn:
            self._fill(turn, workload)
            times = self._times(turn, workload)
        self._timed = True
        return Timing(times[0], tuple(times[: workload.new_tokens]))

    def _fill(self, turn: Turn, workload: Workload) -> None:
        """Put into the cache what is to be in it; vLLM reads whole blocks only."""
        if not self._block or workload.depth < self._block:
            self._note(workload.depth, 0)
            return
        waited = {turn.add(ids[: workload.depth], _params(1)) for ids in workload.prompts}
        while waited:
            waited -= {output.request_id for output in turn.step() if output.finished}

    def _note(self, depth: int, cached: int) -> None:
        if depth:
            self._cached[depth] = min(cached, self._cached.get(depth, depth))

    def _times(self, turn: Turn, workload: Workload) -> list[float]:
        """When each new token of all sequences was there.

        Where the prompts take several steps, the sequences that begin to write first go on until the last
        one has its tokens, so that every pass decodes all of them.
        """
        least = max(1, workload.new_tokens)
        params = _params(min(least + self._ahead(workload), self._context + 1 - len(workload.prompts[0])))
        came: dict[str, list[float]] = {}
        began = perf_counter()
        for ids in workload.prompts:
            came[turn.add(ids, params)] = []
        while any(len(times) < least for times in came.values()):
            outputs = turn.step()
            now = perf_counter() - began
            for output in outputs:
                came[output.request_id] += [now] * len(output.outputs[0].token_ids)
                self._note(workload.depth, output.num_cached_tokens or 0)
        for name in came:
            turn.abort(name)
        return [max(times) for times in zip(*(each[:least] for each in came.values()), strict=True)]

    def _ahead(self, workload: Workload) -> int:
        """Steps that the first sequence may be before the last one."""
        fresh = len(workload.prompts) * len(workload.prompts[0])
        # the decoding of those that are before takes its share of each step
        return -(-fresh // max(1, self._batch - len(workload.prompts)))

    def notes(self) -> Iterator[str]:
        """What the report must say of what was timed."""
        if not self._timed:
            return
        yield "vLLM chooses a token in the step that ends a prefill: its time has that choice in it"
        for depth, cached in sorted(self._cached.items()):
            if cached != depth:
                kept = f"of a depth of {depth} tokens {cached} were in the cache"
                yield f"{kept}, and the others were run within the time: {self._why()}"

    def _why(self) -> str:
        if not self._block:
            return "vLLM caches no prefixes of this model"
        return f"vLLM reads whole blocks of {self._block} tokens"


def _params(tokens: int) -> SamplingParams:
    """So many tokens, greedily, whatever they are."""
    return SamplingParams(
        temperature=0.0,
        max_tokens=tokens,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
