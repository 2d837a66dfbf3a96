"""For each clause of the contract a backend that is sound but for that clause.

Each says with ``breaks`` which clause it fails. What it answers otherwise is the reference backend's, whose
answers are remembered, so that a hundred contracts cost little more than one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from slmeval.api import Reading
from slmeval.errors import ModelError
from slmeval.sampling import Sampler
from slmeval.stopping import Stopper
from slmeval.testing import toy
from slmeval.token_tree import common_length
from slmeval.types import (
    Completion,
    GenerationSettings,
    Likelihood,
    ModelRef,
    Prompt,
    ScoreGroup,
    Timing,
    TokenIds,
    TopLogprobs,
    Workload,
)
from slmeval_reference import ReferenceBackend

Decode = Callable[[Sequence[int]], str]
Answer = tuple[Likelihood, ...]

#: not exact, and not enough to count as a mistake
A_LITTLE = 0.01
MUCH = 0.5


# ---- the sound part ----------------------------------------------------------------------------------


@cache
def opened(location: str) -> ReferenceBackend:
    return ReferenceBackend(ModelRef(location), {"threads": 1})


@cache
def scored(location: str, context: TokenIds, continuations: tuple[TokenIds, ...]) -> Answer:
    return next(iter(opened(location).score([ScoreGroup(context, continuations)])))


@cache
def written(location: str, ids: TokenIds) -> TokenIds:
    (completion,) = opened(location).generate([Prompt(ids)], GenerationSettings(24), str)
    return completion.ids


@cache
def drawn(location: str, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
    (completion,) = opened(location).generate([prompt], settings, str)
    return completion.ids


@cache
def likeliest(location: str, ids: TokenIds, k: int) -> tuple[TopLogprobs, ...]:
    return tuple(opened(location).top_logprobs(ids, k))


class SoundBackend(ReferenceBackend):
    """The reference backend, each question answered by itself and remembered."""

    breaks: ClassVar[str] = ""

    def __init__(self, model: ModelRef, options: Any) -> None:
        if not Path(model.location).is_dir():
            raise ModelError(f"{model} is not a folder here")
        self.location = model.location
        self.is_toy = Path(model.location).name == "toy"

    def close(self) -> None:
        pass

    def model_info(self) -> Any:
        return opened(self.location).model_info()

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[Answer]:
        for at in range(len(groups)):
            yield self.answer(groups, at)

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        """The answers to one group of a call."""
        return scored(self.location, groups[at].context, groups[at].continuations)

    def generate(
        self, prompts: Sequence[Prompt], settings: GenerationSettings, decode: Decode
    ) -> Iterator[Completion]:
        for at in range(len(prompts)):
            yield self.text(prompts[at], settings, decode)

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        """The text after one prompt."""
        stopper = Stopper(settings, decode)
        for token in self.tokens(prompt, settings):
            if stopper.reason is not None:
                break
            stopper.push(token)
        return stopper.completion()

    def tokens(self, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
        """What follows one prompt, whatever ends the text."""
        if settings.temperature == 0:
            return written(self.location, prompt.ids)
        plain = GenerationSettings(
            settings.max_tokens, temperature=settings.temperature, top_p=settings.top_p
        )
        return drawn(self.location, replace(prompt, shared=0), plain)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        return iter(likeliest(self.location, ids, k))

    def time(self, workload: Workload) -> Iterator[Timing]:
        return opened(self.location).time(workload)

    def memory(self) -> tuple[Reading, ...]:
        return opened(self.location).memory()


def shifted(answer: Answer, by: float, wrong: Callable[[Likelihood], bool] = lambda _: True) -> Answer:
    """The log-probability of the first token less by so much, where it is to be wrong."""
    return tuple(
        replace(each, token_logprobs=(each.token_logprobs[0] - by, *each.token_logprobs[1:]))
        if wrong(each)
        else each
        for each in answer
    )


# ---- the numbers -------------------------------------------------------------------------------------


class InexactInLongContinuations(SoundBackend):
    breaks = "test_log_probabilities_are_the_oracles"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        long = super().answer(groups, at)
        return shifted(long, A_LITTLE, lambda each: len(each.token_logprobs) > 9)


class NotNormalizedInLargeGroups(SoundBackend):
    breaks = "test_probabilities_sum_to_one"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        large = len(groups[at].continuations) > 100
        return shifted(super().answer(groups, at), A_LITTLE if large else 0)


class NeverTheLikeliest(SoundBackend):
    breaks = "test_says_whether_a_continuation_was_the_most_likely"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        return tuple(replace(each, greedy=False) for each in super().answer(groups, at))


# ---- the same in any company ---------------------------------------------------------------------------


def share(groups: Sequence[ScoreGroup]) -> bool:
    return any(common_length(one.context, other.context) > 3 for one, other in pairwise(groups))


class PaddedBatches(SoundBackend):
    breaks = "test_alone_and_in_a_batch_are_the_same"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        padded = len(groups) > 1 and not share(groups)
        return shifted(super().answer(groups, at), A_LITTLE if padded else 0)


class InPrefixOrderOnly(SoundBackend):
    breaks = "test_the_order_of_groups_does_not_matter"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        out_of_order = at > 0 and groups[at].context < groups[at - 1].context
        return shifted(super().answer(groups, at), A_LITTLE if out_of_order else 0)


class StalePrefix(SoundBackend):
    breaks = "test_a_shared_prefix_changes_nothing"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        return shifted(super().answer(groups, at), A_LITTLE if groups[at].shared > 3 else 0)


class NeedsTheHint(SoundBackend):
    breaks = "test_the_hint_may_be_left_out"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        untold = share(groups[max(0, at - 1) : at + 1]) and not groups[at].shared
        return shifted(super().answer(groups, at), A_LITTLE if untold else 0)


class ContinuationsSeeEachOther(SoundBackend):
    breaks = "test_continuations_do_not_see_each_other"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        first, *others = super().answer(groups, at)
        return (first, *(others if len(others) > 100 else shifted(tuple(others), A_LITTLE)))


class NeverTheSameBits(SoundBackend):
    breaks = "test_the_same_call_gives_the_same_bits"
    calls = 0

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        self.calls += 1
        return shifted(super().answer(groups, at), 1e-9 * (self.calls % 100))


# ---- edges -------------------------------------------------------------------------------------------


class WrongAfterBOS(SoundBackend):
    breaks = "test_an_empty_context"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        return shifted(super().answer(groups, at), MUCH if len(groups[at].context) == 1 else 0)


class WrongOfOneToken(SoundBackend):
    breaks = "test_a_continuation_of_one_token"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        few = len(groups[at].continuations) < 9
        answer = super().answer(groups, at)
        return shifted(answer, A_LITTLE, lambda each: few and len(each.token_logprobs) == 1)


class TokenizesAgain(SoundBackend):
    breaks = "test_a_continuation_that_merges_with_its_context"

    def verify_tokenizer(self, tokenizer: Any) -> str | None:
        self.tokenizer = tokenizer
        return None

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        group = groups[at]
        if len(group.continuations) > 1 or self.is_toy:
            return super().answer(groups, at)
        (continuation,) = group.continuations
        ids = self.tokenizer.encode(self.tokenizer.decode(group.context + continuation))
        end = max(1, len(ids) - len(continuation))
        padded = (*ids[end:], *continuation)[: len(continuation)]
        return scored(self.location, ids[:end], (padded,))


class WrongAtBlocks(SoundBackend):
    breaks = "test_a_context_of_any_number_of_blocks"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        return shifted(super().answer(groups, at), 0 if len(groups[at].context) % 32 else A_LITTLE)


class WrongAfterBytes(SoundBackend):
    breaks = "test_unicode_and_bytes"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        beyond_ascii = any(toy.byte(128) <= token < toy.byte(256) for token in groups[at].context)
        return shifted(super().answer(groups, at), MUCH if beyond_ascii else 0)


class LosesTheLastPlace(SoundBackend):
    breaks = "test_the_context_is_used_to_its_last_token"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        context, (continuation, *_) = groups[at].context, groups[at].continuations
        if self.is_toy and len(context) > 1 and len(context) + len(continuation) > toy.CONTEXT:
            raise ValueError("no place is left")
        return super().answer(groups, at)


class Truncates(SoundBackend):
    breaks = "test_what_does_not_fit_is_refused"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        if not self.is_toy:
            return super().answer(groups, at)
        room = toy.CONTEXT + 1 - max(map(len, groups[at].continuations))
        return super().answer([replace(groups[at], context=groups[at].context[-room:])], 0)


class CountsIdsFromTheEnd(SoundBackend):
    breaks = "test_an_unknown_token_is_refused"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        def known(ids: TokenIds) -> TokenIds:
            return tuple(token % toy.VOCABULARY if token < 0 else token for token in ids)

        group = groups[at]
        return super().answer([ScoreGroup(known(group.context), tuple(map(known, group.continuations)))], 0)


# ---- many --------------------------------------------------------------------------------------------


class NeedsAGroup(SoundBackend):
    breaks = "test_nothing_asked_is_nothing_answered"

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[Answer]:
        if not groups:
            raise ValueError("no groups")
        return super().score(groups)


class ForgetsBeyondFiveHundred(SoundBackend):
    breaks = "test_a_thousand_requests"

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        return super().answer(groups, at % 500)


# ---- texts -------------------------------------------------------------------------------------------


class StraysFromTheLikeliest(SoundBackend):
    breaks = "test_greedy_texts_are_the_oracles"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        found = super().text(prompt, settings, decode)
        return replace(found, ids=(*found.ids[:9], 0, *found.ids[10:])) if settings.max_tokens > 20 else found


class StopsATokenEarly(SoundBackend):
    breaks = "test_a_text_has_as_many_tokens_as_asked_for"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        early = settings.max_tokens - (settings.max_tokens == 5)
        return super().text(prompt, replace(settings, max_tokens=early), decode)


class DecodesTokenByToken(SoundBackend):
    breaks = "test_a_text_is_decoded_as_a_whole"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        found = super().text(prompt, settings, decode)
        by_token = "".join(decode([token]) for token in found.ids)
        return found if found.text.isascii() else replace(found, text=by_token)


class KeepsTheStopString(SoundBackend):
    breaks = "test_a_stop_string_ends_a_text"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        found = super().text(prompt, settings, decode)
        if settings.thought is not None:
            return found
        last = decode(found.ids[-1:])
        kept = next((stop for stop in settings.stop if stop in last), "") if found.reason == "stop" else ""
        return replace(found, text=found.text + kept)


class SeesStopsInSingleTokens(SoundBackend):
    breaks = "test_a_stop_string_may_span_tokens"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        texts = [decode([token]) for token in written(self.location, prompt.ids)]
        seen = tuple(stop for stop in settings.stop if any(stop in text for text in texts))
        return super().text(prompt, replace(settings, stop=seen), decode)


class DropsTheEndToken(SoundBackend):
    breaks = "test_an_end_token_ends_a_text"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        found = super().text(prompt, settings, decode)
        return replace(found, ids=found.ids[:-1]) if found.reason == "end" else found


class EndsAtEOSAnyway(SoundBackend):
    breaks = "test_no_other_token_ends_a_text"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        plain = self.is_toy and settings == GenerationSettings(10)
        return super().text(prompt, replace(settings, end_ids=(toy.EOS,)) if plain else settings, decode)


class WritesPastTheContext(SoundBackend):
    breaks = "test_a_text_ends_where_the_context_is_full"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        found = super().text(prompt, settings, decode)
        more = settings.max_tokens - len(found.ids) if self.is_toy and found.reason == "length" else 0
        return replace(found, ids=(*found.ids, *[toy.PLAIN[0]] * more))


class TruncatesPrompts(SoundBackend):
    breaks = "test_a_prompt_that_does_not_fit_is_refused"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        return super().text(replace(prompt, ids=prompt.ids[-toy.CONTEXT :]), settings, decode)


class AnswersShortPromptsFirst(SoundBackend):
    breaks = "test_prompts_in_a_batch_are_answered_in_order"

    def generate(
        self, prompts: Sequence[Prompt], settings: GenerationSettings, decode: Decode
    ) -> Iterator[Completion]:
        hinted = any(prompt.shared for prompt in prompts)
        order = (
            prompts if hinted or settings.temperature else sorted(prompts, key=lambda prompt: len(prompt.ids))
        )
        return super().generate(order, settings, decode)


class ForgetsTheSharedPrompt(SoundBackend):
    breaks = "test_prompts_may_share_a_prefix"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        kept = prompt.ids[min(prompt.shared, len(prompt.ids) - 1) :] if prompt.shared else prompt.ids
        return super().text(replace(prompt, ids=kept), settings, decode)


# ---- thoughts ------------------------------------------------------------------------------------------


class StopsWithinThoughts(SoundBackend):
    breaks = "test_a_stop_string_within_a_thought_does_not_end_it"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        plain = super().text(prompt, replace(settings, thought=None), decode)
        return plain if plain.reason == "stop" else super().text(prompt, settings, decode)


class TakesAllForAnAnswer(SoundBackend):
    breaks = "test_a_thought_stands_apart_from_the_text"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        found = super().text(prompt, settings, decode)
        return found if found.text or not found.thought else replace(found, text=found.thought, thought="")


# ---- texts that are drawn --------------------------------------------------------------------------------


class DrawsOnAndOn(SoundBackend):
    breaks = "test_the_same_seed_draws_the_same_text"

    def __init__(self, model: ModelRef, options: Any) -> None:
        super().__init__(model, options)
        self.asked: Counter[object] = Counter()

    def tokens(self, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
        times = self.asked[prompt, settings]
        self.asked[prompt, settings] += self.alone
        return super().tokens(replace(prompt, seed=prompt.seed + 1000 * times), settings)

    def generate(
        self, prompts: Sequence[Prompt], settings: GenerationSettings, decode: Decode
    ) -> Iterator[Completion]:
        self.alone = len(prompts) == 1
        return super().generate(prompts, settings, decode)


class HeedsNoSeedWhereItIsHot(SoundBackend):
    breaks = "test_each_seed_draws_a_text_of_its_own"

    def tokens(self, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
        return super().tokens(replace(prompt, seed=0) if settings.temperature > 1.4 else prompt, settings)


class SeedsByTheRow(SoundBackend):
    breaks = "test_drawn_alone_and_in_a_batch_the_text_is_the_same"

    def generate(
        self, prompts: Sequence[Prompt], settings: GenerationSettings, decode: Decode
    ) -> Iterator[Completion]:
        if len({prompt.ids for prompt in prompts}) == len(prompts):
            prompts = [replace(prompt, seed=prompt.seed + row) for row, prompt in enumerate(prompts)]
        return super().generate(prompts, settings, decode)


class DrawsOnceForEachPrompt(SoundBackend):
    breaks = "test_one_prompt_may_be_drawn_from_with_several_seeds"

    def generate(
        self, prompts: Sequence[Prompt], settings: GenerationSettings, decode: Decode
    ) -> Iterator[Completion]:
        if settings.max_tokens > 1:
            seeds = {prompt.ids: prompt.seed for prompt in reversed(prompts)}
            prompts = [replace(prompt, seed=seeds[prompt.ids]) for prompt in prompts]
        return super().generate(prompts, settings, decode)


class NeverColderThanATenth(SoundBackend):
    breaks = "test_at_a_low_temperature_the_likeliest_tokens_are_drawn"

    def tokens(self, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
        warmer = max(settings.temperature, 0.5) if settings.temperature else 0
        return super().tokens(prompt, replace(settings, temperature=warmer))


class NeverFewerThanFive(SoundBackend):
    breaks = "test_a_small_top_p_leaves_the_likeliest_token"

    def tokens(self, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
        return super().tokens(prompt, replace(settings, top_p=max(settings.top_p, 0.8)))


class TopPBeforeTemperature(SoundBackend):
    """As llama.cpp's own sampler has it, unless it is told another order."""

    breaks = "test_tokens_are_drawn_as_often_as_they_are_likely"

    def tokens(self, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
        if settings.max_tokens > 1 or not settings.temperature:
            return super().tokens(prompt, settings)
        logits = toy.logits(prompt.ids)[-1]
        weights = np.exp(logits - logits.max())
        order = np.argsort(-weights)
        before = np.cumsum(weights[order]) - weights[order]
        logits[order[before >= settings.top_p * weights.sum()]] = -np.inf
        return (Sampler(replace(settings, top_p=1), prompt.seed).draw(logits),)


class SlightlyTooHot(SoundBackend):
    breaks = "test_tokens_are_drawn_as_often_as_they_are_likely"

    def tokens(self, prompt: Prompt, settings: GenerationSettings) -> TokenIds:
        hotter = settings.temperature * (1.5 if settings.max_tokens == 1 else 1)
        return super().tokens(prompt, replace(settings, temperature=hotter))


# ---- errors, and opening and closing -------------------------------------------------------------------


class DisturbedByErrors(SoundBackend):
    breaks = "test_an_error_while_scoring_loses_nothing"
    disturbed = False

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[Answer]:
        by, self.disturbed = MUCH if self.disturbed else 0, False
        try:
            for answer in super().score(groups):
                yield shifted(answer, by)
        except ValueError:
            self.disturbed = len(groups) > 1
            raise


class SwallowsErrors(SoundBackend):
    breaks = "test_an_error_while_writing_loses_nothing"

    def text(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        try:
            return super().text(prompt, settings, decode)
        except Exception as error:
            if isinstance(error, ValueError):
                raise
            return Completion("", (), "length")


class GoesOnWithWhatWasLeft(SoundBackend):
    breaks = "test_answers_may_be_left_unread"
    left: Sequence[ScoreGroup] = ()

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[Answer]:
        groups, self.left = (*self.left, *groups), ()
        for at in range(len(groups)):
            try:
                yield self.answer(groups, at)
            except GeneratorExit:
                self.left = groups[at + 1 :]
                raise


class AsksTheSystem(SoundBackend):
    breaks = "test_a_place_without_a_model_is_refused"

    def __init__(self, model: ModelRef, options: Any) -> None:
        (Path(model.location) / "config.json").read_text()
        super().__init__(model, options)


#: what is never let go of
kept: list[Any] = []


class KeepsItsWeights(SoundBackend):
    breaks = "test_opened_and_closed_many_times_it_leaves_nothing_behind"

    def __init__(self, model: ModelRef, options: Any) -> None:
        super().__init__(model, options)
        if self.is_toy:
            kept.append(ReferenceBackend(model, options))


class KeepsAFile(SoundBackend):
    breaks = "test_opened_and_closed_many_times_it_leaves_nothing_behind"

    def __init__(self, model: ModelRef, options: Any) -> None:
        super().__init__(model, options)
        kept.append((Path(model.location) / "config.json").open())


# ---- what it says of itself ----------------------------------------------------------------------------


class DeclaresAnOptionTwice(SoundBackend):
    breaks = "test_the_class_says_what_it_is"
    options = (*ReferenceBackend.options, *ReferenceBackend.options)


class HidesItsVersion(SoundBackend):
    breaks = "test_the_fingerprint_holds_all_that_can_change_a_number"

    @classmethod
    def fingerprint(cls, options: Any) -> dict[str, Any]:
        return {name: value for name, value in super().fingerprint(options).items() if name != "version"}


class CountsTiedWeightsTwice(SoundBackend):
    breaks = "test_the_model_is_described"

    def model_info(self) -> Any:
        info = super().model_info()
        return replace(info, parameters=info.parameters + toy.VOCABULARY * toy.HIDDEN)


class HasAnotherTokenizer(SoundBackend):
    breaks = "test_the_models_own_tokenizer_is_accepted"

    def verify_tokenizer(self, tokenizer: Any) -> str | None:
        return "'a' is [1, 2] here, and [2] by the model"


class LikeliestLast(SoundBackend):
    breaks = "test_the_likeliest_tokens"

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        for each in super().top_logprobs(ids, k):
            yield TopLogprobs(each.ids[::-1], each.logprobs[::-1])


# ---- what is timed -----------------------------------------------------------------------------------


class TimesAllButTheFirst(SoundBackend):
    breaks = "test_a_workload_is_timed"

    def time(self, workload: Workload) -> Iterator[Timing]:
        for timing in super().time(workload):
            # of a prompt that fills the context another clause asks
            wrong = workload.depth and len(timing.tokens) == 1
            yield replace(timing, tokens=()) if wrong else timing


class TimesInNumbersOfNumpy(SoundBackend):
    breaks = "test_a_workload_is_timed"

    def time(self, workload: Workload) -> Iterator[Timing]:
        for timing in super().time(workload):
            wrong = workload.depth and len(timing.tokens) == 1
            yield replace(timing, tokens=tuple(map(np.float64, timing.tokens))) if wrong else timing


class TimesTheLastGivenTokenAlone(SoundBackend):
    breaks = "test_given_tokens_are_timed"

    def time(self, workload: Workload) -> Iterator[Timing]:
        for timing in super().time(workload):
            yield replace(timing, tokens=timing.tokens[-1:]) if workload.forced else timing


class CountsMilliseconds(SoundBackend):
    breaks = "test_no_time_is_longer_than_the_run"

    def time(self, workload: Workload) -> Iterator[Timing]:
        for timing in super().time(workload):
            prefill = None if timing.prefill is None else 1000 * timing.prefill
            yield Timing(prefill, tuple(1000 * time for time in timing.tokens))


class SharesItsCacheWithAWorkload(SoundBackend):
    breaks = "test_timing_changes_no_answer"
    waiting = False

    def time(self, workload: Workload) -> Iterator[Timing]:
        try:
            for timing in super().time(workload):
                self.waiting = True
                yield timing
        finally:
            self.waiting = False

    def answer(self, groups: Sequence[ScoreGroup], at: int) -> Answer:
        return shifted(super().answer(groups, at), MUCH if self.waiting else 0.0)


class CutsWorkloads(SoundBackend):
    breaks = "test_a_workload_that_does_not_fit_is_refused"

    def time(self, workload: Workload) -> Iterator[Timing]:
        room = toy.CONTEXT - max(workload.new_tokens - 1, 0)
        return super().time(replace(workload, prompts=tuple(ids[-room:] for ids in workload.prompts)))


class ForgetsThatThereAreSeveral(SoundBackend):
    breaks = "test_the_cache_has_room_for_a_workload"

    def memory(self) -> tuple[Reading, ...]:
        return tuple(
            replace(each, value=each.value / 3) if "room" in each.scope else each for each in super().memory()
        )


class MemoryOfNothing(SoundBackend):
    breaks = "test_memory_is_read"

    def memory(self) -> tuple[Reading, ...]:
        return tuple(
            replace(each, value=0.0) if each.scope == "weights" else each for each in super().memory()
        )


class GuessesItsMemory(SoundBackend):
    breaks = "test_what_is_not_declared_is_refused"
    capabilities = ReferenceBackend.capabilities - {"memory"}

    def memory(self) -> tuple[Reading, ...]:
        return ()


def broken_backends() -> list[type[SoundBackend]]:
    """All of them."""
    return [backend for backend in SoundBackend.__subclasses__() if backend.breaks]
