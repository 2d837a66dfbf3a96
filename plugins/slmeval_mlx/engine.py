"""A model that mlx-lm opened, asked for likelihoods, texts and distributions."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from typing import TypeVar

import mlx.core as mx

from slmeval.api import Reading, Tokenizer
from slmeval.errors import JobFailed, ModelError
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
from slmeval_mlx import shape
from slmeval_mlx.devices import computing, resolve_device, wired
from slmeval_mlx.distributions import top_logprobs
from slmeval_mlx.generation import WRITTEN_AT_ONCE, Limits, Work, write_alone, write_together
from slmeval_mlx.loading import UNREADABLE, Checkpoint, open_checkpoint, reason
from slmeval_mlx.memory import memory_guard
from slmeval_mlx.packed import AT_ONCE, LOGITS, Choice, Packed, teach
from slmeval_mlx.readings import readings
from slmeval_mlx.scoring import score_group, score_tree
from slmeval_mlx.timing import Runs
from slmeval_mlx.tokenizers import first_difference, own_tokenizer
from slmeval_mlx.trial import worst_difference
from slmeval_mlx.trunk import Passes, Trunk

T = TypeVar("T")


class Engine:
    """One opened model. What a call's contexts begin with is kept in the cache for the next call.

    :raises ModelError: it cannot be opened, and why.
    """

    def __init__(self, ref: ModelRef, options: Mapping[str, OptionValue]) -> None:
        self._device = resolve_device(str(options["device"]))
        self._options = options
        mx.reset_peak_memory()
        with computing(self._device):
            self._checkpoint = open_checkpoint(ref, options)
            self._passes, self._choice, self._found = _tried(ref, self._checkpoint, options)
            self._trunk = Trunk(self._passes)
        # what opening needed is kept for the next arrays, and would count as held by this process
        mx.clear_cache()
        self._size = min(
            self._passes.step, AT_ONCE[self._device], max(1, LOGITS // self._checkpoint.vocabulary)
        )
        self._fitting = Fitting(self._checkpoint.context, self._checkpoint.vocabulary)
        self._tokenizer_notes: tuple[str, ...] = ()
        #: workloads that are being timed
        self._timed: list[Runs] = []

    def model_info(self) -> ModelInfo:
        """What was opened."""
        checkpoint = self._checkpoint
        architectures = checkpoint.config.get("architectures") or [checkpoint.config["model_type"]]
        return ModelInfo(
            architecture=str(architectures[0]),
            parameters=shape.parameters_of(checkpoint.model),
            parameters_stored=shape.stored_parameters(checkpoint),
            dtype=shape.dtype_of(checkpoint.model),
            device=self._device,
            context=checkpoint.context,
            vocabulary=checkpoint.vocabulary,
            engine="mlx-lm",
            engine_version=f"{version('mlx-lm')} (mlx {version('mlx')})",
        )

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        """The first difference between ``tokenizer`` and the one in the model's folder, or ``None``."""
        try:
            own = own_tokenizer(self._checkpoint.folder)
        except ModelError as error:
            self._tokenizer_notes = (f"the tokenizer was not compared with the engine's own: {error}",)
            return None
        return first_difference(tokenizer, own) if own is not None else None

    def notes(self) -> tuple[str, ...]:
        """What the report must say about how this was measured."""
        return (
            *_of_weights(self._checkpoint, str(self._options["dtype"])),
            *_of_cache(self._options),
            *self._found,
            *self._tokenizer_notes,
        )

    def memory(self) -> tuple[Reading, ...]:
        """What is held now, with the caches of workloads under way, and what MLX counts."""
        return tuple(readings(self._checkpoint.model, [runs.cache for runs in self._timed]))

    def close(self) -> None:
        """Give back the memory."""
        del self._passes, self._checkpoint, self._trunk, self._choice
        # a class that was taught knows the choice, and the choice the modules of that class
        gc.collect()
        mx.clear_cache()

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation, in order."""
        for group in groups:
            self._fitting.check_group(group)
        longest = max(map(_length, groups), default=0)
        yield from self._working(longest, lambda: self._scores(groups))

    def _scores(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        self._trunk.begin([group.context for group in groups])
        if self._choice is not None:
            return score_tree(Packed(self._trunk, self._choice), groups, self._size)
        batch_tokens = int(self._options["batch_tokens"] or 1)
        return (score_group(self._trunk, group, batch_tokens) for group in groups)

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """Completions, in order; greedily, of equally likely tokens the one with the lowest id is taken."""
        works, longest = [], 0
        for prompt in prompts:
            self._fitting.check(prompt.ids)
            room = min(settings.max_tokens, self._checkpoint.context - len(prompt.ids))
            stopper = Stopper(replace(settings, max_tokens=room), decode)
            works.append(Work(prompt.ids, stopper, sampler_of(settings, prompt.seed)))
            longest = max(longest, len(prompt.ids) + max(room - 1, 0))
        yield from self._working(longest, lambda: self._texts(works))

    def _texts(self, works: Sequence[Work]) -> Iterator[Completion]:
        self._trunk.begin([work.ids for work in works])
        if self._choice is None:
            return (write_alone(self._trunk, work) for work in works)
        packed = Packed(self._trunk, self._choice)
        columns = int(self._options["batch_tokens"] or 1) - packed.start
        limits = Limits(WRITTEN_AT_ONCE[self._device], self._size, columns)
        return write_together(packed, works, limits)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """After each token of ``ids``, the ``k`` likeliest next tokens."""
        self._fitting.check_top(ids, k)
        for piece in self._working(len(ids), lambda: top_logprobs(self._passes, ids, k)):
            yield from piece

    def time(self, workload: Workload) -> Iterator[Timing]:
        """Run ``workload`` once for each timing that is asked for.

        :raises ValueError: it does not fit the model.
        """
        self._fitting.check_workload(workload)
        return self._timings(workload)

    def _timings(self, workload: Workload) -> Iterator[Timing]:
        with computing(self._device):
            # what was kept of earlier calls makes room
            self._trunk = Trunk(self._passes)
            runs = Runs(self._passes, workload, self._choice.forgotten if self._choice else nullcontext)
        self._timed.append(runs)
        try:
            yield from self._working(workload.longest, runs.timings, len(workload.prompts))
        finally:
            self._timed.remove(runs)
            runs.close()

    def _working(self, tokens: int, begun: Callable[[], Iterator[T]], rows: int = 1) -> Iterator[T]:
        """What comes of ``begun``, computed where it should be, sequences having at most ``tokens``."""
        with wired(self._checkpoint.model, self._device):
            with self._at_work(tokens, rows):
                pieces = begun()
            while True:
                with self._at_work(tokens, rows):
                    piece = next(pieces, None)
                if piece is None:
                    return
                yield piece

    @contextmanager
    def _at_work(self, tokens: int, rows: int) -> Iterator[None]:
        window = self._checkpoint.window
        if window is not None and tokens > window:
            raise JobFailed(
                f"{tokens} tokens are more than this model's sliding window of {window}, which mlx-lm does "
                "not compute: ask for fewer shots, or take another backend"
            )
        what = f"{tokens} tokens" if rows == 1 else f"{rows} sequences of {tokens} tokens"
        with computing(self._device), memory_guard(what):
            yield


def _length(group: ScoreGroup) -> int:
    """Of the longest sequence that is run."""
    return len(group.context) + max(max(map(len, group.continuations), default=0) - 1, 0)


def _tried(
    ref: ModelRef, checkpoint: Checkpoint, options: Mapping[str, OptionValue]
) -> tuple[Passes, Choice | None, tuple[str, ...]]:
    """The model's passes, tried once, how it is packed, and what there is to be said of them.

    :raises ModelError: it cannot be run.
    :raises JobFailed: there is not enough memory.
    """
    rough = shape.is_quantized(checkpoint.model) or bool(options["kv_bits"])
    try:
        passes = Passes(
            checkpoint.model,
            checkpoint.vocabulary,
            kv_bits=int(options["kv_bits"] or 0),
            kv_group=int(options["kv_group_size"] or 0),
            step=int(options["prefill_step"] or 1),
        )
        with memory_guard("a first trial"):
            choice = _choice(passes, rough)
            return passes, choice, () if choice is not None else _faults(passes, rough)
    except UNREADABLE as error:
        raise ModelError(f"{ref} is opened by mlx-lm, and cannot be run: {reason(error)}") from error


def _choice(passes: Passes, rough: bool) -> Choice | None:
    """How sequences are packed in one row, ``None`` where this architecture cannot be run so."""
    if not passes.plain:
        return None
    choice = teach(passes.model)
    try:
        if not worst_difference(passes, choice, rough=rough):
            return choice
    except UNREADABLE:
        # what is wrong with the model itself will show in the plain way
        pass
    choice.forget()
    return None


def _faults(passes: Passes, rough: bool) -> tuple[str, ...]:
    alone = "each continuation is run by itself"
    if passes.odd:
        notes: tuple[str, ...] = (
            f"nothing that contexts have in common is shared, and {alone}: "
            f"mlx-lm's {passes.odd} can be neither cut off nor put in a batch",
        )
    else:
        notes = ()
        if not (worst := worst_difference(passes, None, rough=rough)):
            return notes
        passes.plain = False
        notes = (f"{alone}: in a batch log-probabilities differ by {worst:.2g}",)
    if worst := worst_difference(passes, None, rough=rough):
        notes += (f"with mlx-lm's cache log-probabilities differ by {worst:.2g} from a pass without it",)
    return notes


def _of_weights(checkpoint: Checkpoint, dtype: str) -> Iterator[str]:
    if not shape.is_quantized(checkpoint.model):
        return
    yield f"{shape.bits_per_weight(checkpoint.model):.3f} bits per weight, scales and all"
    if left := shape.unquantized_matrices(checkpoint.model):
        yield f"matrices that are not quantized: {left}"
    if dtype != "auto":
        yield f"{dtype} is the type of the arithmetic and of scales; the quantized weights are as stored"


def _of_cache(options: Mapping[str, OptionValue]) -> Iterator[str]:
    if options["kv_bits"]:
        yield (
            f"keys and values are held in {options['kv_bits']} bits (group {options['kv_group_size']}) "
            "from the first token on"
        )
