"""From questions as text to what an engine is asked: token ids that fit its context, cut into units."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from slmeval.bos import beginnings, begins_twice
from slmeval.errors import DataError, ModelError
from slmeval.plan import Ask, Cell, GenerateAsk, GenerateUnit, ScoreAsk, ScoreUnit, Unit
from slmeval.prefixes import Budget, cut, in_prefix_order, prompts_in_prefix_order
from slmeval.tokenizing import Encoder, FastTokenizer, Split
from slmeval.types import (
    Generate,
    GenerationSettings,
    Prompt,
    Rolling,
    Sample,
    Score,
    ScoreGroup,
    Thought,
    TokenIds,
)

#: what a unit may hold: small enough that little is lost, large enough that batches fill; tokens that are
#: generated count
SCORE_UNIT = Budget(tokens=4096, sequences=256)
GENERATE_UNIT = Budget(tokens=32768, sequences=64)


@dataclass(frozen=True)
class Writing:
    """How texts are to be written, beside what a task says of it.

    ``max_tokens`` takes the place of each task's own. Each of the ``repeats`` draws with a seed of its own,
    which follows from ``seed`` and the prompt.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    repeats: int = 1
    seed: int = 0
    thought: Thought | None = None


class Asker:
    """Turns samples to token ids that fit the model's context, and counts what had to be cut.

    Truncation is lm-evaluation-harness's: the oldest tokens go, so that context and continuation but
    for its last token fill the model's context; for generation, so that the token cap still fits.
    """

    def __init__(
        self,
        tokenizer: FastTokenizer,
        context: int,
        task: str,
        writing: Writing | None = None,
        in_chat: bool = False,
    ) -> None:
        """``in_chat``: a chat template wrote the prompts."""
        self._in_chat = in_chat
        self._encoder = Encoder(tokenizer)
        self._ends_at = cache(tokenizer.ends_at)
        self._decode = tokenizer.decode
        self._begins = beginnings(tokenizer)
        self._limit = context
        self._task = task
        self._writing = writing or Writing()
        self._thought = self._writing.thought and _with_ids(self._writing.thought, tokenizer)
        # a stop string counts after a thought, so none ends it that its marks hold
        marks = set() if self._thought is None else {*self._thought.open_ids, *self._thought.close_ids}
        self._marks = marks - set(tokenizer.end_ids)
        self._counts = {"truncated": 0, "merged": 0, "doubled_bos": 0}
        #: what was counted at each sample that was asked, where there was something
        self.counted: list[Mapping[str, int]] = []

    def ask(self, samples: Sequence[Sample]) -> tuple[list[tuple[tuple[Ask, ...], ...]], dict[str, int]]:
        """What is asked for each request of each sample, and the counts.

        A text that is longer than the model's context is asked in several windows, and one that is to be
        written several times as often; all others are asked at once.

        :raises DataError: a request does not fit the model's context, or has no tokens where it needs some.
        :raises ModelError: a prompt that a chat template wrote begins with BOS twice.
        """
        requests = [request for sample in samples for request in sample.requests]
        splits = iter(self._encoder.splits([part for part in requests if isinstance(part, Score)]))
        texts = self._encoder.texts([_text(part) for part in requests if not isinstance(part, Score)])
        made: list[tuple[tuple[Ask, ...], ...]] = []
        for row, sample in enumerate(samples, 1):
            before = dict(self._counts)
            asks: list[tuple[Ask, ...]] = []
            for place, part in enumerate(sample.requests, 1):
                if isinstance(part, Score):
                    asks.append((self._score(next(splits), f"choice {place} of row {row}"),))
                elif isinstance(part, Generate):
                    asks.append(self._generate(part, texts[part.prompt], f"row {row}"))
                else:
                    asks.append(self._windows(texts[part.text], f"the text of row {row}"))
            made.append(tuple(asks))
            more = {name: n - before[name] for name, n in self._counts.items()}
            self.counted.append({name: n for name, n in more.items() if n})
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
        kept = self._keep(split.context, room)
        self._check_bos(kept, f"the context of {place}")
        return ScoreAsk(kept, split.continuation)

    def _generate(self, request: Generate, prompt: TokenIds, place: str) -> tuple[GenerateAsk, ...]:
        self._check_some(prompt, f"the prompt of {place}")
        settings = self._settings(request)
        room = self._limit - settings.max_tokens
        if room < 1:
            raise DataError(
                f"task {self._task!r} generates up to {settings.max_tokens} tokens, which leaves no room "
                f"for a prompt in the model's context of {self._limit}: --max-tokens sets another cap"
            )
        kept = self._keep(prompt, room)
        self._check_bos(kept, f"the prompt of {place}")
        return tuple(GenerateAsk(kept, settings, seed) for seed in self._seeds(kept))

    def _settings(self, request: Generate) -> GenerationSettings:
        most = self._writing.max_tokens
        return GenerationSettings(
            request.max_tokens if most is None else most,
            request.stop,
            tuple(token for token in self._ends_at(request.stop) if token not in self._marks),
            self._writing.temperature,
            self._writing.top_p,
            self._thought and _begun(self._thought, request.prompt),
        )

    def _seeds(self, prompt: TokenIds) -> Iterator[int]:
        """Seeds of 31 bits, which every engine takes: two questions never draw with the same."""
        if not self._writing.temperature:
            return iter([0])
        told = hashlib.sha256(array("q", prompt).tobytes())
        return (_seed(told.hexdigest(), self._writing.seed, draw) for draw in range(self._writing.repeats))

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

    def _check_bos(self, ids: TokenIds, what: str) -> None:
        """A second BOS is refused where a template writes the prompt, and counted else."""
        if not begins_twice(ids, self._begins, self._decode):
            return
        if self._in_chat:
            raise ModelError(
                f"task {self._task!r}, {what} begins with BOS twice, which no model was trained on: the chat "
                "template, the tokenizer or the data adds one too many (--chat-template off, --tokenizer)"
            )
        self._counts["doubled_bos"] += 1

    def _keep(self, ids: TokenIds, room: int) -> TokenIds:
        if len(ids) <= room:
            return ids
        self._counts["truncated"] += 1
        return ids[-room:]


def _seed(prompt: str, seed: int, draw: int) -> int:
    told = hashlib.sha256(f"{prompt}:{seed}:{draw}".encode()).digest()
    return int.from_bytes(told[:4], "big") >> 1


def _with_ids(thought: Thought, tokenizer: FastTokenizer) -> Thought:
    """With the ids of marks that have special tokens in them, which decoding leaves out."""
    opens, closes = (tokenizer.special(mark) for mark in (thought.opens, thought.closes))
    return replace(thought, open_ids=opens, close_ids=closes)


def _begun(thought: Thought, prompt: str) -> Thought:
    return replace(thought, begun=prompt.rstrip().endswith(thought.opens))


def _text(request: Generate | Rolling) -> str:
    return request.prompt if isinstance(request, Generate) else request.text


def cut_units(cells: Iterable[Cell]) -> Iterator[Unit]:
    """Cut what all cells ask into units, by the tree of its beginnings; what is asked twice is asked once."""
    seen: set[str] = set()
    scores: dict[TokenIds, list[TokenIds]] = {}
    texts: dict[GenerationSettings, list[Prompt]] = {}
    #: likelihoods (``None``), and texts under each settings, in the order in which they are first asked for
    kinds: dict[GenerationSettings | None, None] = {}
    for ask in (ask for cell in cells for item in cell.items for ask in item.asks):
        if ask.digest in seen:
            continue
        seen.add(ask.digest)
        if isinstance(ask, ScoreAsk):
            kinds[None] = None
            scores.setdefault(ask.context, []).append(ask.continuation)
        else:
            kinds[ask.settings] = None
            texts.setdefault(ask.settings, []).append(Prompt(ask.prompt, 0, ask.seed))
    for kind in kinds:
        yield from _score_units(scores) if kind is None else _generate_units(texts[kind], kind)


def _score_units(asked: Mapping[TokenIds, Sequence[TokenIds]]) -> Iterator[ScoreUnit]:
    contexts = list(asked)
    more = [sum(map(len, continuations)) for continuations in asked.values()]
    for numbers in cut(contexts, more, SCORE_UNIT):
        yield ScoreUnit(
            in_prefix_order(ScoreGroup(contexts[at], tuple(asked[contexts[at]])) for at in numbers)
        )


def _generate_units(prompts: Sequence[Prompt], settings: GenerationSettings) -> Iterator[GenerateUnit]:
    more = [settings.max_tokens] * len(prompts)
    for numbers in cut([prompt.ids for prompt in prompts], more, GENERATE_UNIT):
        yield GenerateUnit(prompts_in_prefix_order(prompts[at] for at in numbers), settings)
