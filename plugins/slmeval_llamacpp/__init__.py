"""GGUF models on llama.cpp, through llama-cpp-python's low-level interface.

The work is in :mod:`slmeval_llamacpp.engine`, imported when a model is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec

from slmeval import hookimpl
from slmeval.api import Backend, Converter, Option, Reading, Tokenizer
from slmeval.number_types import bits_of
from slmeval.option_kinds import count, truth
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
from slmeval_llamacpp.cache_types import KV_TYPES, kv_types
from slmeval_llamacpp.converter import LlamaCppConverter


@hookimpl
def slmeval_register_backends() -> Iterable[type[Backend]]:
    """Bring the one backend of this plugin."""
    return (LlamaCppBackend,)


@hookimpl
def slmeval_register_converters() -> Iterable[type[Converter]]:
    """Bring the one converter of this plugin."""
    return (LlamaCppConverter,)


def threads(text: str) -> int:
    """Threads, as many as llama.cpp has room for (``GGML_MAX_N_THREADS``): with more it ends its process.

    :raises ValueError: it is no such number.
    """
    number = count(text)
    if number > 512:
        raise ValueError(f"{number} is more than the 512 threads that llama.cpp has room for")
    return number


def batch(text: str) -> int:
    """A number of tokens that is worth a batch, or 0.

    :raises ValueError: it is none.
    """
    number = int(text)
    if number and number < 32:
        raise ValueError(f"{number} is too small: a batch holds 32 tokens or more")
    return number


class LlamaCppBackend(Backend):
    """llama.cpp on the CPU, or on the GPU that it was built for."""

    name = "llamacpp"
    extra = "llamacpp"
    preference = 40
    forms = ("gguf",)
    capabilities = frozenset({"score", "generate", "sample", "top_logprobs", "memory", "time", "force"})
    options = (
        Option(
            "dtype",
            str,
            "auto",
            "auto: the weights as stored, in llama.cpp's own arithmetic; "
            "float32: the weights widened to float32 at opening, and exact arithmetic",
            choices=("auto", "float32"),
        ),
        Option(
            "kv_type",
            str,
            "auto",
            "type of the cached keys and values; auto: f16, and f32 with dtype=float32",
            choices=KV_TYPES,
        ),
        Option("kv_type_v", str, "auto", "type of the cached values; auto: as kv_type", choices=KV_TYPES),
        Option(
            "flash_attention",
            str,
            "auto",
            "on or off; auto: off, which is the more exact, unless the cached values are quantized; "
            "as llama.cpp chooses in what is timed",
            choices=("auto", "on", "off"),
        ),
        Option("threads", threads, 0, "threads on the CPU; 0: one for each core"),
        Option("gpu_layers", int, -1, "layers on the GPU; -1: all, where llama.cpp was built for one"),
        Option(
            "batch_tokens",
            batch,
            0,
            "tokens that are run at once; 0: 256, and 512, llama.cpp's own, in what is timed",
        ),
        Option(
            "repack",
            truth,
            False,
            "let llama.cpp rearrange the weights at loading: quicker on some CPUs, refused on those with AMX",
        ),
    )

    @classmethod
    def missing(cls) -> str | None:
        return None if find_spec("llama_cpp") else "llama-cpp-python not installed"

    @classmethod
    def fingerprint(cls, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """As the port says; versions and the features of the processor that llama.cpp uses stand in it.

        :raises slmeval.errors.ModelError: the options cannot go together, or not here.
        """
        from slmeval_llamacpp.settings import surroundings

        return {**super().fingerprint(options), **surroundings(options)}

    @classmethod
    def cache_bits(cls, options: Mapping[str, OptionValue]) -> float:
        # of a token there are as many values as keys
        keys, values = (bits_of(kind) for kind in kv_types(options))
        return (keys + values) / 2

    @classmethod
    def import_engine(cls, options: Mapping[str, OptionValue]) -> None:  # noqa: ARG003
        # llama.cpp is only needed from here on
        import slmeval_llamacpp.engine  # noqa: F401

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        from slmeval_llamacpp.engine import Engine

        self._engine = Engine(model, options)

    def model_info(self) -> ModelInfo:
        return self._engine.model_info()

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        return self._engine.verify_tokenizer(tokenizer)

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """As the port says.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
        :raises slmeval.errors.JobFailed: llama.cpp has no memory, or gives no numbers.
        """
        return self._engine.score(groups)

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """As the port says; a text that fills the model's context ends there, by ``length``.

        :raises ValueError: a prompt does not fit the model: too long, empty, or an unknown token id.
        :raises slmeval.errors.JobFailed: llama.cpp has no memory, or gives no numbers.
        """
        return self._engine.generate(prompts, settings, decode)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """As the port says; of equally likely tokens those with the lowest ids come first.

        :raises ValueError: ``ids`` do not fit the model, or ``k`` does not fit the vocabulary.
        """
        return self._engine.top_logprobs(ids, k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """As the port says; it is run as llama-bench does it, and answers' cache is given back before.

        :raises ValueError: the workload does not fit the model.
        :raises slmeval.errors.JobFailed: llama.cpp has no memory, or gives no numbers.
        """
        return self._engine.time(workload)

    def memory(self) -> tuple[Reading, ...]:
        return self._engine.memory()

    def notes(self) -> tuple[str, ...]:
        return self._engine.notes()

    def close(self) -> None:
        self._engine.close()
        del self._engine
