"""A model that transformers opened, asked for likelihoods and texts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version

import torch
from transformers import GenerationConfig

from slmeval.api import Reading, Tokenizer
from slmeval.errors import ModelError
from slmeval.fitting import Fitting
from slmeval.sampling import sampler_of
from slmeval.stopping import Stopper
from slmeval.token_tree import common_to_all
from slmeval.types import (
    Completion,
    GenerationSettings,
    Likelihood,
    ModelInfo,
    ModelRef,
    OptionValue,
    Prompt,
    ScoreGroup,
    Timing,
    TokenIds,
    TopLogprobs,
    Workload,
)
from slmeval_hf.attention import NAME
from slmeval_hf.batching import Budget, PassBudget, run_in_batches
from slmeval_hf.devices import resolve_device
from slmeval_hf.forest_generation import generate_forest
from slmeval_hf.forest_passes import ForestPasses
from slmeval_hf.forest_scoring import score_forest
from slmeval_hf.generation import Pen, generate_cached, generate_plainly
from slmeval_hf.loading import open_checkpoint, quiet
from slmeval_hf.memory import forget_peak, readings
from slmeval_hf.own_passes import OwnPasses
from slmeval_hf.passes import Passes, State
from slmeval_hf.room import free_memory, texts_at_once, tokens_of_pass
from slmeval_hf.scoring import score_cached, score_whole
from slmeval_hf.shape import context_of, reach_of, stored_parameters, unique_parameters, vocabulary_of
from slmeval_hf.timing import Timer
from slmeval_hf.tokenizers import first_difference, own_tokenizer
from slmeval_hf.top import top_cached, top_forest, top_whole
from slmeval_hf.trial import fault_of_cache, fault_of_forest, fault_of_state

#: tokens that a padded batch may hold, those in its cache included
BATCH_TOKENS = 16384
#: fewer tokens in common are not worth a pass of their own
SHORTEST_PREFIX = 16


class Engine:
    """One opened model.

    :raises ModelError: it cannot be opened, and why.
    """

    def __init__(self, ref: ModelRef, options: Mapping[str, OptionValue]) -> None:
        device = resolve_device(str(options["device"]))
        if options["threads"]:
            torch.set_num_threads(int(options["threads"]))
        self._trusted = bool(options["trust_remote_code"])
        self._tokenizer_notes: tuple[str, ...] = ()
        forget_peak(device)
        self._checkpoint = open_checkpoint(ref, options, device)
        model = self._checkpoint.model
        # a checkpoint's own settings for generation (a penalty, say) are not what is measured
        model.generation_config = GenerationConfig()
        self._context, self._vocabulary = context_of(model, self._checkpoint.folder), vocabulary_of(model)
        self._fitting = Fitting(self._context, self._vocabulary)
        given = int(options["batch_tokens"] or 0)
        self._given = given
        self._budget = Budget(given or BATCH_TOKENS, self._vocabulary)
        self._passes = Passes(model)
        self._forest: ForestPasses | None = None
        self._fault: str | None = None
        self._apart: str | None = None
        self._pass_budget = PassBudget(given or 1)
        self._reach = reach_of(model)
        self._attention = model.config._attn_implementation
        # asked once: what is run at once must not depend on when it is asked
        self._free = free_memory(model.device)
        # kernels that are missing are named at their first use, on stderr
        with quiet():
            self._choose(str(options["attention"]))
        if self._forest is not None:
            self._pass_budget = PassBudget(given or tokens_of_pass(model, self._vocabulary, self._free))
        self._timer = Timer(
            OwnPasses(self._passes), self._vocabulary, self._as_opened, proven=self._fault is None
        )
        # units of one block follow each other, and begin with the same examples
        self._prefix = lru_cache(maxsize=1)(self._run_prefix)

    def _choose(self, attention: str) -> None:
        """How sequences are run: as a forest, or padded on copies of a cache, or each one whole."""
        self._fault = fault_of_state(self._passes)
        if self._fault:
            return
        model = self._checkpoint.model
        own = attention == "auto"
        self._apart = (
            fault_of_forest(model, self._passes, self._vocabulary) if own else f"attention={attention}"
        )
        if self._apart is None:
            self._forest = ForestPasses(model)
        else:
            self._fault = fault_of_cache(self._passes, self._vocabulary)

    def model_info(self) -> ModelInfo:
        """What was opened."""
        model = self._checkpoint.model
        return ModelInfo(
            architecture=type(model).__name__,
            parameters=unique_parameters(model),
            parameters_stored=stored_parameters(model, self._checkpoint.folder),
            dtype=str(model.dtype).removeprefix("torch."),
            device=str(model.device),
            context=self._context,
            vocabulary=self._vocabulary,
            engine="transformers",
            engine_version=f"{version('transformers')} (torch {torch.__version__})",
        )

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        """The first difference between ``tokenizer`` and the one in the model's folder, or ``None``."""
        try:
            own = own_tokenizer(self._checkpoint.folder, trust_remote_code=self._trusted)
        except ModelError as error:
            self._tokenizer_notes = (f"the tokenizer was not compared with the engine's own: {error}",)
            return None
        return first_difference(tokenizer, own) if own is not None else None

    def notes(self) -> tuple[str, ...]:
        """What the report must say about how this was measured."""
        notes = [*self._checkpoint.notes, *self._tokenizer_notes]
        if self._fault:
            notes.append(f"no pass is shared, each sequence is run whole: {self._fault}")
        elif self._apart:
            notes.append(f"questions are run apart from each other, padded to one length: {self._apart}")
        if self._reach is not None and self._reach < self._context:
            notes.append(
                f"sequences of more than {self._reach} tokens are run whole and alone: this model computes "
                "them in another way"
            )
        notes += [
            f"batch halved to {budget.tokens} tokens after running out of memory"
            for budget in (self._budget, self._pass_budget)
            if budget.halved
        ]
        return (*notes, *self._timer.notes())

    def close(self) -> None:
        """Give back the memory."""
        self._prefix.cache_clear()
        del self._passes, self._forest, self._checkpoint, self._timer
        # passes over a forest, the timer and perhaps the model hold references in circles
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
        """
        for group in groups:
            self._fitting.check_group(group)
        alone = self._reaches_beyond(map(_longest, groups))
        if self._forest is not None and not alone:
            return score_forest(self._forest, groups, self._pass_budget)
        common = common_prefix([group.context for group in groups])

        def work(batch: list[int]) -> list[tuple[Likelihood, ...]]:
            asked = [groups[index] for index in batch]
            if self._fault or alone:
                with self._as_opened():
                    return score_whole(self._passes, asked, budget)
            return score_cached(self._passes, asked, self._prefix(common), budget)

        budget = Budget(1, self._vocabulary) if alone else self._budget
        return run_in_batches([len(group.context) for group in groups], budget, work)

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """Completions, in order.

        :raises ValueError: a prompt does not fit the model: too long, empty, or an unknown token id.
        """
        for prompt in prompts:
            self._fitting.check(prompt.ids)
        common = common_prefix([prompt.ids for prompt in prompts])
        room = [min(settings.max_tokens, self._context - len(prompt.ids)) for prompt in prompts]
        columns = [len(prompt.ids) + more for prompt, more in zip(prompts, room, strict=True)]
        alone = self._reaches_beyond(columns)

        def pen_of(place: int) -> Pen:
            stopper = Stopper(replace(settings, max_tokens=room[place]), decode)
            return Pen(stopper, sampler_of(settings, prompts[place].seed))

        if self._forest is not None and not alone:
            pens = [pen_of(place) for place in range(len(prompts))]
            longest = max(columns, default=1)
            texts = texts_at_once(self._checkpoint.model, longest, self._free, self._given)
            asked = [prompt.ids for prompt in prompts]
            return generate_forest(self._forest, asked, pens, longest, texts, self._pass_budget)

        def work(batch: list[int]) -> list[Completion]:
            asked = [prompts[index].ids for index in batch]

            def pen_in_batch(place: int) -> Pen:
                return pen_of(batch[place])

            if self._fault or alone:
                with self._as_opened():
                    return generate_plainly(self._passes, asked, pen_in_batch)
            return generate_cached(self._passes, asked, self._prefix(common), pen_in_batch)

        return run_in_batches(columns, self._budget, work)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """After each token of ``ids``, the ``k`` likeliest next tokens, the likeliest first.

        :raises ValueError: ``ids`` do not fit the model, or it has no ``k`` tokens.
        """
        self._fitting.check_top(ids, k)
        alone = self._reaches_beyond([len(ids)])
        if self._forest is not None and not alone:
            return top_forest(self._forest, ids, k, self._pass_budget)
        if self._fault or alone:
            with self._as_opened():
                return top_whole(self._passes, ids, k)
        return top_cached(self._passes, ids, k, self._budget.positions)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """Run ``workload`` once for each timing that is asked for.

        :raises ValueError: it does not fit the model.
        :raises slmeval.errors.JobFailed: what this model cannot do is timed, or memory runs out.
        """
        self._fitting.check_workload(workload)
        self._timer.refuse(workload)
        return self._timer.runs(workload)

    def memory(self) -> tuple[Reading, ...]:
        """What is held now, and what the device tells of it."""
        return readings(self._checkpoint.model, self._timer.under_way)

    def lacking(self) -> dict[str, str]:
        """What this very model has not got."""
        fault = self._timer.fault()
        return dict.fromkeys(("time", "force"), fault) if fault else {}

    def _reaches_beyond(self, lengths: Iterable[int]) -> bool:
        """Whether a call with sequences of such ``lengths`` must run each one whole and alone."""
        return self._reach is not None and max(lengths, default=0) > self._reach

    @contextmanager
    def _as_opened(self) -> Iterator[None]:
        """While this lasts, the model attends as transformers opened it."""
        model = self._checkpoint.model
        if self._forest is not None:
            model.set_attn_implementation(self._attention)
        try:
            yield
        finally:
            if self._forest is not None:
                model.set_attn_implementation(NAME)

    def _run_prefix(self, ids: TokenIds) -> State | None:
        return self._passes.prefill([ids])[1] if ids else None


def _longest(group: ScoreGroup) -> int:
    """Tokens of the longest sequence that is run."""
    return len(group.context) + max(0, max(map(len, group.continuations), default=0) - 1)


def common_prefix(rows: Sequence[TokenIds]) -> TokenIds:
    """The tokens that all of several rows begin with, if worth a pass; each row keeps one to itself."""
    length = common_to_all(rows)
    return rows[0][:length] if length >= SHORTEST_PREFIX else ()
