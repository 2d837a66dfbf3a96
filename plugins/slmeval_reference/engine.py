"""The work of the reference backend: likelihoods and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from slmeval.api import Reading
from slmeval.errors import JobFailed, ModelError
from slmeval.fitting import Fitting
from slmeval.sampling import Sampler, sampler_of
from slmeval.stopping import Stopper
from slmeval.types import (
    Completion,
    GenerationSettings,
    Likelihood,
    ModelInfo,
    ModelRef,
    Prompt,
    ScoreGroup,
    Timing,
    TokenIds,
    TopLogprobs,
    Workload,
)
from slmeval_reference.config import read_config
from slmeval_reference.layers import load_weights
from slmeval_reference.model import Model
from slmeval_reference.timing import Timer
from slmeval_reference.trunk import TOKENS_AT_ONCE, Trunk
from slmeval_reference.weights import FloatArray

#: logits held at once: 32 MiB of them
LOGITS_AT_ONCE = 1 << 22


class Engine:
    """A model that scores and writes. Each call begins with an empty cache, so it gives the same bits."""

    def __init__(self, model: ModelRef) -> None:
        """Load the weights.

        :raises ModelError: the model is not a folder, or its files are missing, damaged, or of another
            family.
        """
        folder = Path(model.location)
        if not folder.is_dir():
            raise ModelError(
                f"{model} is not a folder here: the reference backend opens a folder "
                "with config.json and safetensors files"
            )
        config = read_config(folder / "config.json")
        self._weights = load_weights(folder, config)
        self._model = Model(config, self._weights)
        self._fitting = Fitting(config.context, config.vocabulary)
        self._timer = Timer(self._model, self._weights)

    def model_info(self, engine: str, version: str) -> ModelInfo:
        """What was opened."""
        return ModelInfo(
            architecture=self._model.config.architecture,
            parameters=self._weights.unique,
            parameters_stored=self._weights.stored,
            dtype="float64",
            device="cpu",
            context=self._model.config.context,
            vocabulary=self._model.config.vocabulary,
            engine=engine,
            engine_version=version,
        )

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation, in order."""
        trunk = Trunk(self._model)
        for group in groups:
            self._fitting.check_group(group)
            trunk.move_to(group.context, group.shared)
            # equal choices are run once, so that they come out equal to the last bit
            distinct = tuple(dict.fromkeys(group.continuations))
            answers = dict(zip(distinct, self._likelihoods(trunk, distinct), strict=True))
            yield tuple(answers[continuation] for continuation in group.continuations)

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """Completions, in order; greedily, of equally likely tokens the one with the lowest id is taken.

        :raises JobFailed: the model gives no numbers.
        """
        trunk = Trunk(self._model)
        for prompt in prompts:
            self._fitting.check(prompt.ids)
            trunk.move_to(prompt.ids, prompt.shared)
            sampler = sampler_of(settings, prompt.seed)
            yield self._complete(trunk, Stopper(settings, decode), sampler, len(prompt.ids))

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """After each token of ``ids``, the ``k`` likeliest next tokens, the likeliest first."""
        self._fitting.check_top(ids, k)
        trunk = Trunk(self._model)
        trunk.move_to(ids[:1], 0)
        # of a branch that has one token more, each token is predicted after one of ids
        states = trunk.states_before([(*ids[1:], 0)])
        for state in states:
            yield _top(self._model.logits(state), k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """Run ``workload`` once for each timing that is asked for."""
        self._fitting.check_workload(workload)
        return self._timer.runs(workload)

    def memory(self) -> tuple[Reading, ...]:
        """What is held now."""
        return self._timer.readings()

    def _likelihoods(self, trunk: Trunk, continuations: Sequence[TokenIds]) -> Iterator[Likelihood]:
        for pack in _packs(continuations):
            graded = self._graded(trunk, pack)
            for continuation in pack:
                tokens = tuple(islice(graded, len(continuation)))
                yield Likelihood(tuple(logprob for logprob, _ in tokens), all(best for _, best in tokens))

    def _graded(self, trunk: Trunk, pack: Sequence[TokenIds]) -> Iterator[tuple[float, bool]]:
        """For each token of ``pack``: its natural-log probability, and whether it was the most likely."""
        states = trunk.states_before(pack)
        targets = np.fromiter(chain.from_iterable(pack), np.int64)
        step = max(1, LOGITS_AT_ONCE // self._model.config.vocabulary)
        for at in range(0, len(targets), step):
            part = targets[at : at + step]
            logits = self._model.logits(states[at : at + step])
            logits -= logits.max(axis=-1, keepdims=True)
            best = logits.argmax(axis=-1) == part
            logprobs = logits[np.arange(len(part)), part] - np.log(np.exp(logits).sum(axis=-1))
            yield from zip(logprobs.tolist(), best.tolist(), strict=True)

    def _complete(self, trunk: Trunk, stopper: Stopper, sampler: Sampler | None, length: int) -> Completion:
        """Write until the text ends, or fills the context together with its prompt of ``length``."""
        room = self._model.config.context - length
        while stopper.reason is None and room > 0:
            token = _next(self._model.logits(trunk.state)[0], sampler)
            room -= 1
            if stopper.push(token) is None:
                trunk.append(token)
        return stopper.completion()


def _next(logits: FloatArray, sampler: Sampler | None) -> int:
    """The next token after ``logits``, float64[vocabulary]: drawn, or the likeliest.

    :raises JobFailed: the model gives no numbers.
    """
    token = int(logits.argmax())
    # argmax takes what is no number for the largest, and would give some token all the same
    if not np.isfinite(logits[token]):
        raise JobFailed("the model's logits are not numbers: its weights are damaged or overflow")
    return token if sampler is None else sampler.draw(logits)


def _top(logits: FloatArray, k: int) -> TopLogprobs:
    """The ``k`` likeliest tokens by ``logits``, float64[vocabulary]; equally likely ones by their ids."""
    logits = logits - logits.max()
    logprobs = logits - np.log(np.exp(logits).sum())
    best = np.argsort(-logprobs, kind="stable")[:k]
    return TopLogprobs(tuple(best.tolist()), tuple(logprobs[best].tolist()))


def _packs(continuations: Sequence[TokenIds]) -> Iterator[list[TokenIds]]:
    """Continuations in order, as many together as are run at once, and at least one."""
    pack: list[TokenIds] = []
    for continuation in continuations:
        if pack and sum(map(len, pack)) + len(continuation) > TOKENS_AT_ONCE:
            yield pack
            pack = []
        pack.append(continuation)
    if pack:
        yield pack
