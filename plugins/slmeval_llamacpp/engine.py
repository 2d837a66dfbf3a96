"""A GGUF model on llama.cpp, asked for likelihoods and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from slmeval.api import Reading, Tokenizer
from slmeval.errors import ModelError, SlmevalError
from slmeval.fitting import Fitting
from slmeval.sampling import sampler_of
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
from slmeval_llamacpp.context import Context, Room
from slmeval_llamacpp.distributions import graded, top
from slmeval_llamacpp.loading import load
from slmeval_llamacpp.memory import readings
from slmeval_llamacpp.native import engine_version, library
from slmeval_llamacpp.packing import Limits, Pack, Row
from slmeval_llamacpp.settings import resolve
from slmeval_llamacpp.timing import Timer, check_batch, room_for, timed_note
from slmeval_llamacpp.tokenizers import OwnTokenizer, first_difference
from slmeval_llamacpp.trunk import Trunk
from slmeval_llamacpp.writing import Work, Writer

#: sequences at once, the trunk's among them; llama.cpp has room for 256, and reserves memory for each
SEQUENCES = 64
#: cells of the cache that a model is opened with: the fewest that llama.cpp makes, for it only shows that the
#: options suit the model, and may be the only one beside those of what is timed
OPENING_CELLS = 256
#: cells that the cache of answers has at first; it grows with what is asked, for a model of 131,072 tokens of
#: context would fill a laptop's memory with what nobody asked for
FIRST_CELLS = 4096
#: texts that are written at once; each token is multiplied with the cells of all of them
TEXTS = 12


class Engine:
    """One opened model.

    :raises ModelError: it cannot be opened, and why.
    :raises JobFailed: there is not enough memory.
    """

    def __init__(self, ref: ModelRef, options: Mapping[str, OptionValue]) -> None:
        self._settings = resolve(options)
        self._loaded = load(ref, self._settings)
        self._fitting = Fitting(self._loaded.context, self._loaded.vocabulary)
        self._rewinds = self._loaded.rewinds
        self._context: Context | None = None
        self._cells = self._calls = 0
        self._timed: dict[str, None] = {}
        try:
            self._trunk = self._open(min(OPENING_CELLS, self._loaded.context))
        except SlmevalError:
            self.close()
            raise

    # ---- what was opened -----------------------------------------------------------------------------

    def model_info(self) -> ModelInfo:
        """What was opened."""
        header, stored = self._loaded.header, self._stored()
        return ModelInfo(
            architecture=header.architecture,
            parameters=library().llama_model_n_params(self._loaded.pointer),
            parameters_stored=header.weights,
            dtype=f"float32 (from {stored})" if self._settings.widened else stored,
            device=self._loaded.device,
            context=self._loaded.context,
            vocabulary=self._loaded.vocabulary,
            engine="llama.cpp",
            engine_version=engine_version(),
        )

    def _stored(self) -> str:
        header = self._loaded.header
        return f"{header.quantization}, {header.bits_per_weight:.2f} bits per weight"

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        """The first difference between ``tokenizer`` and the one in the model's file, or ``None``."""
        return first_difference(tokenizer, OwnTokenizer(self._loaded.vocab, self._loaded.vocabulary))

    def notes(self) -> tuple[str, ...]:
        """What the report must say about how this was measured."""
        settings = self._settings
        flash = "on" if settings.flash_attention else "off"
        notes = [
            f"{self._stored()} over all tensors",
            f"keys cached as {settings.kv_type_k}, values as {settings.kv_type_v}; flash attention {flash}",
        ]
        if not self._rewinds:
            notes.append(
                "no token is shared, each sequence is run whole: this model's state cannot be rewound"
            )
        if settings.widened and self._loaded.device != "cpu":
            notes.append("a GPU may multiply float32 in fewer bits than it is stored in (TF32)")
        return (*notes, *self._timed)

    def memory(self) -> tuple[Reading, ...]:
        """The buffers that llama.cpp reserved, in bytes, and the cache's room in tokens."""
        exact = {"weights": (library().llama_model_size(self._loaded.pointer), "llama_model_size")}
        context = self._context
        if context is None:
            return tuple(readings(self._loaded.said, exact))
        exact["logits"] = (4 * self._loaded.vocabulary * context.rows, "the rows that were asked for")
        found = list(readings((*self._loaded.said, *context.said), exact))
        if any(each.scope.startswith("kv cache") for each in found):
            found.append(Reading(float(context.cells), "tokens", 0.0, "kv cache room", "llama_n_ctx"))
        return tuple(found)

    def close(self) -> None:
        """Give back the memory."""
        self._calls += 1
        self._release()
        self._loaded.close()

    # ---- what is asked -------------------------------------------------------------------------------

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
        """
        for group in groups:
            self._fitting.check_group(group)
        return self._score(groups)

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
        return self._generate(prompts, settings, decode)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """After each token of ``ids``, the ``k`` likeliest next tokens.

        :raises ValueError: ``ids`` do not fit the model, or ``k`` does not fit the vocabulary.
        """
        self._fitting.check_top(ids, k)
        return self._top(Row(ids, 0), k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """Run ``workload`` once for each timing that is asked for.

        :raises ValueError: the workload does not fit the model.
        """
        self._fitting.check_workload(workload)
        check_batch(workload)
        return self._time(workload)

    def _time(self, workload: Workload) -> Iterator[Timing]:
        self._calls += 1
        call = self._calls
        self._release()
        self._context = context = Context(self._loaded, self._settings, room_for(workload, self._settings))
        self._timed[timed_note(context, self._settings)] = None
        try:
            timer = Timer(context, workload, rewinds=self._rewinds)
            while True:
                yield timer.run()
                self._check(call)
        finally:
            # a later call has closed it
            if call == self._calls:
                self._release()

    # ---- likelihoods ---------------------------------------------------------------------------------

    def _score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        # sorted, so that what continuations begin with in common is run once; equal ones are run once
        asks = [
            (place, tokens)
            for place, group in enumerate(groups)
            for tokens in sorted(set(group.continuations))
            if tokens
        ]
        rows = [
            Row(groups[place].context + tokens[:-1], len(groups[place].context) - 1) for place, tokens in asks
        ]
        known: dict[tuple[int, TokenIds], Likelihood] = {}
        done = 0
        for at, pack in self._packs([group.context for group in groups], rows):
            taken = asks[at : at + pack.rows]
            known.update(zip(taken, self._graded(pack, [tokens for _, tokens in taken]), strict=True))
            # all groups before that of the next row
            end = asks[at + pack.rows][0] if at + pack.rows < len(asks) else done
            for place in range(done, end):
                yield _answers(known, place, groups[place])
            done = end
        for place in range(done, len(groups)):
            yield _answers(known, place, groups[place])

    def _graded(self, pack: Pack, targets: Sequence[TokenIds]) -> Iterator[Likelihood]:
        """The likelihood of each row's targets, which follow the places that it asks for."""
        places = np.fromiter(chain.from_iterable(pack.places), np.int64)
        tokens = np.fromiter(chain.from_iterable(targets), np.int64)
        logprobs, hits = np.empty(len(places)), np.empty(len(places), bool)
        for found, logits in self._trunk.run(pack):
            mine = np.flatnonzero((places >= found[0]) & (places <= found[-1]))
            lines = np.searchsorted(found, places[mine])
            logprobs[mine], hits[mine] = graded(logits, lines, tokens[mine])
        ends = np.cumsum([len(target) for target in targets])[:-1]
        for values, best in zip(np.split(logprobs, ends), np.split(hits, ends), strict=True):
            yield Likelihood(tuple(values.tolist()), bool(best.all()))

    def _top(self, row: Row, k: int) -> Iterator[TopLogprobs]:
        for _, pack in self._packs([row.ids], [row]):
            call = self._calls
            for _, logits in self._trunk.run(pack):
                for found in top(logits, k):
                    yield found
                    # another call may have given back the logits
                    self._check(call)

    # ---- texts ---------------------------------------------------------------------------------------

    def _generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        if not prompts:
            return
        works = [self._work(prompt, settings, decode) for prompt in prompts]
        need = max(len(work.prompt) + work.room for work in works)
        call, limits = self._begin([work.prompt for work in works], need, texts=True)
        trunk = self._trunk.length if self._rewinds else None
        writer = Writer(self._trunk.context, works, limits, trunk)
        for completion in writer.completions():
            yield completion
            self._check(call)

    def _work(
        self, prompt: Prompt, settings: GenerationSettings, decode: Callable[[Sequence[int]], str]
    ) -> Work:
        room = min(settings.max_tokens, self._loaded.context - len(prompt.ids))
        stopper = Stopper(replace(settings, max_tokens=room), decode)
        return Work(prompt.ids, room, stopper, sampler_of(settings, prompt.seed))

    # ---- the cache -----------------------------------------------------------------------------------

    def _packs(self, contexts: Sequence[TokenIds], rows: Sequence[Row]) -> Iterator[tuple[int, Pack]]:
        """The packs of ``rows``, each with the number of its first row; what follows is kept in the cache."""
        if not rows:
            return
        call, limits = self._begin(contexts, max(len(row.ids) for row in rows))
        at = 0
        while at < len(rows):
            pack = self._trunk.take(rows, at, limits)
            yield at, pack
            self._check(call)
            at += pack.rows
            self._trunk.move(rows[at - 1], pack, rows[at] if at < len(rows) else None)

    def _begin(self, contexts: Sequence[TokenIds], need: int, *, texts: bool = False) -> tuple[int, Limits]:
        """A call's number, and what a batch of it may hold; the cache holds what all ``contexts`` begin with.

        The limits are told by the call alone: a cache that has grown before must not change a bit.
        """
        self._calls += 1
        self._trunk = self._reserve(need)
        self._trunk.begin(contexts, whole=texts)
        sequences = min(SEQUENCES - 1, TEXTS) if texts else SEQUENCES - 1
        limits = Limits(
            tokens=self._settings.batch_tokens,
            sequences=sequences if self._rewinds else 1,
            cells=self._cells_for(need),
        )
        return self._calls, limits

    def _check(self, call: int) -> None:
        if call != self._calls:
            raise RuntimeError("the answers to one call must be taken before the next call")

    def _cells_for(self, need: int) -> int:
        """Cells for sequences of ``need`` tokens."""
        first = max(FIRST_CELLS, self._settings.batch_tokens)
        # these have other rotary factors behind a certain number of cells, whatever is in them
        if any(tensor.name.startswith("rope_factors_long") for tensor in self._loaded.header.tensors):
            return self._loaded.context
        return min(self._loaded.context, max(first, 1 << (need - 1).bit_length()))

    def _reserve(self, need: int) -> Trunk:
        """The cache, with room for sequences of ``need`` tokens.

        :raises JobFailed: there is not enough memory.
        """
        cells = self._cells_for(need)
        return self._trunk if cells <= self._cells else self._open(cells)

    def _open(self, cells: int) -> Trunk:
        """A cache in place of the one there is, if any."""
        self._release()
        settings = self._settings
        room = Room(
            cells=cells,
            sequences=SEQUENCES if self._rewinds else 1,
            batch=settings.batch_tokens,
            pass_tokens=settings.batch_tokens,
            flash_attention=int(settings.flash_attention),
        )
        self._context = Context(self._loaded, settings, room)
        self._cells = cells
        if not self._context.has_memory:
            raise ModelError(f"{self._loaded.path} ({self._loaded.header.architecture}) does not write text")
        return Trunk(self._context, rewinds=self._rewinds)

    def _release(self) -> None:
        """Give back the cache, if there is one."""
        if self._context:
            self._context.close()
        self._context, self._cells = None, 0


def _answers(
    known: Mapping[tuple[int, TokenIds], Likelihood], place: int, group: ScoreGroup
) -> tuple[Likelihood, ...]:
    certain = Likelihood((), greedy=True)
    return tuple(known.get((place, tokens), certain) for tokens in group.continuations)
