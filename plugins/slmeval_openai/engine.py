"""One model behind a server, asked for likelihoods and texts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from slmeval.api import Tokenizer
from slmeval.fitting import Fitting
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
    Workload,
)
from slmeval_openai.asking import Caller
from slmeval_openai.generation import Writer
from slmeval_openai.lanes import Lanes
from slmeval_openai.lookup import Facts, address_and_key, facts_of
from slmeval_openai.opening import SOME_IDS, Manner, Opening
from slmeval_openai.scoring import Scorer, known_case, refused
from slmeval_openai.timing import Timer
from slmeval_openai.tokenizers import Comparison, is_text
from slmeval_openai.watching import Watch, check_planned

#: stands for what a server does not tell; larger than any
_UNTOLD = 2**31 - 1
_NO_IDS = (
    "multiple choice needs token ids: name the model's tokenizer with --tokenizer (and a server that takes "
    "token ids)"
)


class Engine:
    """One opened model.

    :raises ModelError: the server refuses it, and why.
    :raises JobFailed: the server is in trouble.
    """

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        self._address, self._key = address_and_key(model.location)
        timeout, retries = float(options["timeout"] or 1), int(options["retries"] or 0)
        self._caller = Caller(self._address, self._key, timeout, retries)
        self._lanes = Lanes(int(options["concurrency"] or 1))
        self._timer: Timer | None = None
        try:
            self._facts, self._manner = self._lanes.run(self._open(model, str(options["api"])))
        except BaseException:
            self.close()
            raise
        #: why there are no likelihoods, "" where there are; ``None`` until it was tried out
        self._no_scores: str | None = None
        self._of_tokenizer = ""
        self._watch = Watch(self._caller, self._address, self._facts)
        self._writer = self._new_writer()
        self._scorer = Scorer(self._caller, self._address, self._manner, self._facts.name, self._facts.room)

    async def _open(self, model: ModelRef, api: str) -> tuple[Facts, Manner]:
        facts = await facts_of(self._caller, self._address)
        check_planned(facts, model.revision, self._address.base)
        return facts, await Opening(self._caller, self._address, facts.name).manner(api)

    def _new_writer(self) -> Writer:
        return Writer(self._caller, self._address, self._manner, self._facts.name, self._key)

    def model_info(self) -> ModelInfo:
        """What was opened; a server tells little of it, and 0 stands for a number that it does not tell."""
        facts = self._facts
        return ModelInfo(
            architecture="architecture not told",
            parameters=facts.parameters,
            parameters_stored=facts.parameters,
            dtype="dtype not told",
            device="the server",
            context=facts.room or 0,
            vocabulary=facts.vocabulary,
            engine="OpenAI-compatible server",
            engine_version=facts.make or "of unknown make",
        )

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        """The first difference between ``tokenizer`` and the server's own, or ``None``.

        From here on it is known whether prompts are ids or text, and whether the server tells likelihoods.
        """
        if is_text(tokenizer):
            self._manner = self._manner.with_text("there is no tokenizer here (--tokenizer names one)")
            self._no_scores = _NO_IDS
        elif self._manner.no_ids:
            self._no_scores = f"the server takes no token ids: {self._manner.no_ids}"
        else:
            return self._lanes.run(self._compare(tokenizer))
        self._writer = self._new_writer()
        self._writer.tokenizer = None if is_text(tokenizer) else tokenizer
        return None

    async def _compare(self, tokenizer: Tokenizer) -> str | None:
        comparison = Comparison(self._caller, self._address, self._manner, self._facts.name, tokenizer)
        difference = await comparison.first_difference()
        self._of_tokenizer = comparison.note

        def encode(text: str) -> TokenIds:
            return tokenizer.encode(text, special=False)

        if difference is None:
            await self._choose(known_case(tokenizer.encode), encode)
        return difference

    async def _choose(self, known: TokenIds, encode: Callable[[str], TokenIds]) -> None:
        said = await self._scorer.choose(known, encode)
        self._no_scores = said and f"the server gives no log-probabilities of prompts ({said})"

    def lacking(self) -> Mapping[str, str]:
        """Why there are no likelihoods, if there are none."""
        return {"score": self._no_scores} if self._no_scores else {}

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation.

        :raises ValueError: a group does not fit the model.
        :raises JobFailed: there are none, or the server fails or serves something else.
        """
        if self._no_scores is None:
            # nobody showed a tokenizer: the ids are taken to be the server's
            self._lanes.run(self._choose(SOME_IDS, lambda _: ()))
        if self._no_scores:
            raise refused(self._no_scores)
        fitting = self._fitting()
        for group in groups:
            fitting.check_group(group)
        return self._watch.until_the_end(self._scorer.score(groups, self._lanes), self._lanes.run)

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """Completions, in order.

        :raises ValueError: a prompt does not fit the model.
        :raises JobFailed: the server fails or serves something else.
        """
        fitting = self._fitting()
        for prompt in prompts:
            fitting.check(prompt.ids)
        if prompts and settings.temperature > 0:
            self._lanes.run(self._writer.try_drawing())
        room = None if self._manner.no_ids else self._facts.room
        starts: list[Callable[[], Coroutine[Any, Any, Completion]]] = [
            self._writer.start(prompt, settings, decode, room) for prompt in prompts
        ]
        # each look for a stop string is a sign of life, and so is this one, at nothing
        # none goes ahead: a whole text would be waited for
        answers = self._lanes.in_order(starts, lambda: decode(()))
        return self._watch.until_the_end(answers, self._lanes.run)

    def _fitting(self) -> Fitting:
        """What fits: of prompts that are sent as text only the server knows."""
        if self._manner.no_ids:
            return Fitting(_UNTOLD, _UNTOLD)
        return Fitting(self._facts.room or _UNTOLD, self._facts.vocabulary or _UNTOLD)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """One timing for each that is asked for, without end; all prompts are sent at once.

        :raises ValueError: the workload does not fit the model.
        :raises NotImplementedError: tokens are forced, which no server can be told.
        :raises JobFailed: the server fails or serves something else, or what it sends cannot be timed.
        """
        if workload.forced:
            raise NotImplementedError("backend 'openai' does not declare force")
        self._fitting().check_workload(workload)
        if self._timer is None:
            self._timer = Timer(self._caller, self._address, self._key, self._manner, self._facts.name)
        return self._timings(self._timer, workload)

    def _timings(self, timer: Timer, workload: Workload) -> Iterator[Timing]:
        while True:
            self._watch.look_again(self._lanes.run)
            yield self._lanes.run(timer.run(workload))

    def notes(self) -> tuple[str, ...]:
        """What the report must say about how this was measured."""
        timed = self._timer.notes() if self._timer else ()
        return (*self._how_asked(), *self._writer.notes(), *timed)

    def _how_asked(self) -> Iterator[str]:
        manner = self._manner
        if self._key.variable and self._address.in_clear:
            yield f"the key in {self._key.variable} was sent in clear: {self._address.base} is not https"
        if manner.chat:
            yield "server-templated and server-tokenized: prompts are sent as one message of a chat"
        elif manner.no_ids:
            yield f"server-tokenized: prompts are sent as text ({manner.no_ids})"
        if not manner.chat and not manner.no_ids and not manner.tells_ids:
            yield "the server does not tell the ids of the tokens that it writes, and ends texts by itself"
        if "repeat_penalty" not in manner.plainly:
            yield "the server takes no settings of a penalty on repetition: whether it has one is not known"
        if not manner.stops and not manner.tells_ids:
            yield "the server does not end texts rightly at stop strings: it gets none, and we cut the texts"
        if self._of_tokenizer:
            yield self._of_tokenizer

    def close(self) -> None:
        """Close all connections, and end what is under way."""
        self._lanes.close(self._end)

    async def _end(self) -> None:
        if self._timer:
            await self._timer.close()
        await self._caller.close()
