"""A model that vLLM opened, asked for likelihoods and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from slmeval.api import Reading, Tokenizer
from slmeval.errors import ModelError, SlmevalError, Unanswerable
from slmeval.fitting import Fitting
from slmeval.stopping import Stopper
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
from slmeval_vllm.drawing import COLDEST, our_rule, own_rule
from slmeval_vllm.driver import run
from slmeval_vllm.loading import collect, open_model
from slmeval_vllm.memory import readings
from slmeval_vllm.requests import Desk
from slmeval_vllm.routes import likelihoods, routes
from slmeval_vllm.shape import parameters_of
from slmeval_vllm.surroundings import device, vllm_version
from slmeval_vllm.texts import Work, params_of, write
from slmeval_vllm.timing import Timer
from slmeval_vllm.tokenizers import first_difference, own_tokenizer
from slmeval_vllm.top import tops
from slmeval_vllm.trial import case_for, choose


class Engine:
    """One opened model.

    :raises ModelError: it cannot be opened, and why.
    :raises JobFailed: there is not enough memory, or no way to ask it is right.
    """

    def __init__(self, ref: ModelRef, options: Mapping[str, OptionValue]) -> None:
        self._room = int(options["batch_tokens"] or 1)
        self._trusted = bool(options["trust_remote_code"])
        self._tokenizer_notes: tuple[str, ...] = ()
        self._of_draws: tuple[str, ...] = ()
        self._opened = opened = open_model(ref, options)
        self._fitting = Fitting(opened.context, opened.vocabulary)
        self._desk = Desk(opened.engine)
        self._timer = Timer(self._desk, opened)
        try:
            self._choose()
        except SlmevalError:
            self.close()
            raise

    def _choose(self) -> None:
        opened = self._opened
        ways = dict(routes(opened.block))
        if not opened.config.cache_config.enable_prefix_caching:
            # nothing is read from a cache that there is not: each sequence is whole in any way
            ways = dict(list(ways.items())[-1:])
        case = case_for(opened.block, opened.context, opened.vocabulary)
        name, self._faults = choose(self._desk, ways, case, self._dtype)
        self._route = ways[name]
        self._taken = name

    @property
    def _dtype(self) -> str:
        return str(self._opened.config.model_config.dtype).removeprefix("torch.")

    # ---- what was opened -----------------------------------------------------------------------------

    def model_info(self) -> ModelInfo:
        """What was opened."""
        parameters, stored = parameters_of(self._opened.folder)
        return ModelInfo(
            architecture=str(self._opened.config.model_config.architecture),
            parameters=parameters,
            parameters_stored=stored,
            dtype=self._dtype,
            device=device(),
            context=self._opened.context,
            vocabulary=self._opened.vocabulary,
            engine="vLLM",
            engine_version=f"{vllm_version()} (torch {torch.__version__})",
        )

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        """The first difference between ``tokenizer`` and the one in the model's folder, or ``None``."""
        try:
            own = own_tokenizer(self._opened.folder, trust_remote_code=self._trusted)
        except ModelError as error:
            self._tokenizer_notes = (f"the tokenizer was not compared with the engine's own: {error}",)
            return None
        return first_difference(tokenizer, own) if own is not None else None

    def notes(self) -> tuple[str, ...]:
        """What the report must say about how this was measured."""
        caching = self._opened.config.cache_config.enable_prefix_caching
        notes = [] if caching else ["no pass is shared: vLLM caches no prefixes of this model"]
        if self._faults:
            told = "; ".join(f"{name}: {fault}" for name, fault in self._faults.items())
            notes.append(f"asked by way of {self._taken}, for others are not right ({told})")
        return (*notes, *self._tokenizer_notes, *self._of_draws, *self._timer.notes())

    def memory(self) -> tuple[Reading, ...]:
        """What vLLM tells of its memory."""
        return tuple(readings(self._opened))

    def close(self) -> None:
        """Give back memory, threads and files."""
        self._opened.close()
        del self._opened, self._desk, self._timer
        collect()

    # ---- what is asked -------------------------------------------------------------------------------

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
        """
        for group in groups:
            self._fitting.check_group(group)
        works = [(_tokens(group), self._route(group)) for group in groups]
        answers = run(self._desk, works, self._room, [group.context for group in groups])
        return (likelihoods(group, graded) for group, graded in zip(groups, answers, strict=True))

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """Completions, in order.

        :raises ValueError: a prompt does not fit the model: too long, empty, or an unknown token id.
        :raises Unanswerable: the temperature is lower than any at which vLLM draws.
        """
        for prompt in prompts:
            self._fitting.check(prompt.ids)
        if settings.temperature > 0 and not self._opened.our_rule:
            self._draws_itself(settings.temperature)
        works = [self._work(prompt, settings, decode) for prompt in prompts]
        return write(self._desk, works, self._room)

    def _work(
        self, prompt: Prompt, settings: GenerationSettings, decode: Callable[[Sequence[int]], str]
    ) -> Work:
        room = min(settings.max_tokens, self._fitting.context - len(prompt.ids))
        stopper = Stopper(replace(settings, max_tokens=room), decode)
        rule = our_rule if self._opened.our_rule else own_rule
        drawn = rule(settings, prompt.seed) if settings.temperature > 0 else {}
        return Work(prompt.ids, params_of(room, drawn), stopper)

    def _draws_itself(self, temperature: float) -> None:
        """:raises Unanswerable: vLLM would take another temperature."""
        if temperature < COLDEST:
            raise Unanswerable(
                f"vLLM draws at no temperature below {COLDEST}, and {temperature:g} was asked for: "
                "take 0, or more"
            )
        self._of_draws = (
            "texts are drawn by vLLM's own random numbers: no other engine draws the same with the same seed",
        )

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """After each token of ``ids``, the ``k`` likeliest next tokens, the likeliest first.

        :raises ValueError: ``ids`` do not fit the model, or it has no ``k`` tokens.
        """
        self._fitting.check_top(ids, k)
        return tops(self._desk, ids, k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """One timing for each that is asked for, without end.

        :raises ValueError: the workload does not fit the model.
        :raises NotImplementedError: tokens are forced, which vLLM does not do.
        :raises JobFailed: its sequences cannot be under way at once.
        """
        if workload.forced:
            raise NotImplementedError("backend 'vllm' does not declare force")
        self._fitting.check_workload(workload)
        self._timer.check(workload)
        return self._timings(workload)

    def _timings(self, workload: Workload) -> Iterator[Timing]:
        while True:
            yield self._timer.run(workload)


def _tokens(group: ScoreGroup) -> int:
    """What a group takes of the cache, if it shares nothing but its context."""
    return len(group.context) + sum(map(len, group.continuations))
