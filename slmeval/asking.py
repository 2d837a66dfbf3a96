"""From questions as text to what an engine is asked: token ids that fit its context, cut into units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from slmeval.errors import DataError
from slmeval.plan import Ask, Cell, GenerateAsk, GenerateUnit, ScoreAsk, ScoreUnit, Unit
from slmeval.prefixes import Budget, cut, in_prefix_order, prompts_in_prefix_order
from slmeval.tokenizing import Encoder, FastTokenizer, Split
from slmeval.types import Generate, GenerationSettings, Prompt, Rolling, Sample, Score, ScoreGroup, TokenIds

#: what a unit may hold: small enough that little is lost, large enough that batches fill; tokens that are
#: generated count
SCORE_UNIT = Budget(tokens=4096, sequences=256)
GENERATE_UNIT = Budget(tokens=32768, sequences=64)


class Asker:
    """Turns samples to token ids that fit the model's context, and counts what had to be cut.

    Truncation is lm-evaluation-harness's: the oldest tokens go, so that context and continuation but
    for its last token fill the model's context; for generation, so that the token cap still fits.
    """

    def __init__(self, tokenizer: FastTokenizer, context: int, task: str) -> None:
        self._encoder = Encoder(tokenizer)
        self._ends_at = cache(tokenizer.ends_at)
        self._limit = context
        self._task = task
        self._counts = {"truncated": 0, "merged": 0}

    def ask(self, samples: Sequence[Sample]) -> tuple[list[tuple[tuple[Ask, ...], ...]], dict[str, int]]:
        """What is asked for each request of each sample, and the counts.

        A text that is longer than the model's context is asked in several windows, all others are asked
        at once.

        :raises DataError: a request does not fit the model's context, or has no tokens where it needs some.
        """
        requests = [request for sample in samples for request in sample.requests]
        splits = iter(self._encoder.splits([part for part in requests if isinstance(part, Score)]))
        texts = self._encoder.texts([_text(part) for part in requests if not isinstance(part, Score)])
        made: list[tuple[tuple[Ask, ...], ...]] = []
        for row, sample in enumerate(samples, 1):
            asks: list[tuple[Ask, ...]] = []
            for place, part in enumerate(sample.requests, 1):
                if isinstance(part, Score):
                    asks.append((self._score(next(splits), f"choice {place} of row {row}"),))
                elif isinstance(part, Generate):
                    asks.append((self._generate(part, texts[part.prompt], f"row {row}"),))
                else:
                    asks.append(self._windows(texts[part.text], f"the text of row {row}"))
            made.append(tuple(asks))
        return made, self._counts

    def _score(self, split: Split, place: str) -> ScoreAsk:
        self._check_some(split.context, f"the context of {place}")
        # no tokens would have a log-probability of 0, and be the likeliest choice of all
        self._check_some(split.continuation, place)
        self._counts["merged"] += split.merged
        room = self._limit + 1 - len(split.continuation)
        if room < 1:
            raise DataError(
                f"task {self._task!r}: a continuation of {len(split.continuation)} tokens does not fit the "
                f"model's context of {self._limit}"
            )
        return ScoreAsk(self._keep(split.context, room), split.continuation)

    def _generate(self, request: Generate, prompt: TokenIds, place: str) -> GenerateAsk:
        self._check_some(prompt, f"the prompt of {place}")
        room = self._limit - request.max_tokens
        if room < 1:
            raise DataError(
                f"task {self._task!r} generates up to {request.max_tokens} tokens, which leaves no room "
                f"for a prompt in the model's context of {self._limit}"
            )
        settings = GenerationSettings(request.max_tokens, request.stop, self._ends_at(request.stop))
        return GenerateAsk(self._keep(prompt, room), settings)

    def _windows(self, ids: TokenIds, place: str) -> tuple[ScoreAsk, ...]:
        """Windows that each token is in once; the first begins after BOS (or EOS).

        As lm-evaluation-harness cuts them (``lm_eval/utils.py``, a context of one token): the last window,
        which may be short, gets as much of what is before it as the model's context holds.
        """
        self._check_some(ids, place)
        whole = (self._encoder.first, *ids)
        starts = range(0, len(ids), self._limit)
        ends = [min(start + self._limit, len(ids)) for start in starts]
        return tuple(
            ScoreAsk(whole[max(0, end - self._limit) : start + 1], ids[start:end])
            for start, end in zip(starts, ends, strict=True)
        )

    def _check_some(self, ids: TokenIds, what: str) -> None:
        if not ids:
            raise DataError(
                f"task {self._task!r}, {what} becomes no tokens: with this tokenizer there is nothing to ask"
            )

    def _keep(self, ids: TokenIds, room: int) -> TokenIds:
        if len(ids) <= room:
            return ids
        self._counts["truncated"] += 1
        return ids[-room:]


def _text(request: Generate | Rolling) -> str:
    return request.prompt if isinstance(request, Generate) else request.text


def cut_units(cells: Iterable[Cell]) -> Iterator[Unit]:
    """Cut what all cells ask into units, by the tree of its beginnings; what is asked twice is asked once."""
    seen: set[str] = set()
    #: likelihoods, and texts under each settings, in the order in which they are first asked for
    scores: dict[TokenIds, list[TokenIds]] = {}
    texts: dict[GenerationSettings, list[Prompt]] = {}
    for ask in (ask for cell in cells for item in cell.items for ask in item.asks):
        if ask.digest in seen:
            continue
        seen.add(ask.digest)
        if isinstance(ask, ScoreAsk):
            scores.setdefault(ask.context, []).append(ask.continuation)
        else:
            texts.setdefault(ask.settings, []).append(Prompt(ask.prompt, 0, ask.seed))
    yield from _score_units(scores)
    for settings, prompts in texts.items():
        yield from _generate_units(prompts, settings)


def _score_units(asked: Mapping[TokenIds, Sequence[TokenIds]]) -> Iterator[ScoreUnit]:
    contexts = list(asked)
    more = [sum(map(len, continuations)) for continuations in asked.values()]
    for numbers in cut(contexts, more, SCORE_UNIT) if contexts else ():
        yield ScoreUnit(
            in_prefix_order(ScoreGroup(contexts[at], tuple(asked[contexts[at]])) for at in numbers)
        )


def _generate_units(prompts: Sequence[Prompt], settings: GenerationSettings) -> Iterator[GenerateUnit]:
    more = [settings.max_tokens] * len(prompts)
    for numbers in cut([prompt.ids for prompt in prompts], more, GENERATE_UNIT):
        yield GenerateUnit(prompts_in_prefix_order(prompts[at] for at in numbers), settings)
