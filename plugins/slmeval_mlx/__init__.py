"""Models on MLX, by mlx-lm: Apple silicon, and the CPU elsewhere.

The work is in :mod:`slmeval_mlx.engine`, imported when a model is opened.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec

from slmeval import hookimpl
from slmeval.api import Backend, Converter, Option, Reading, Tokenizer
from slmeval.option_kinds import positive
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
from slmeval_mlx.forms import FORMS

_APPLE_SILICON = (sys.platform, platform.machine()) == ("darwin", "arm64")


@hookimpl
def slmeval_register_backends() -> Iterable[type[Backend]]:
    """Bring the one backend of this plugin."""
    return (MLXBackend,)


@hookimpl
def slmeval_register_converters() -> Iterable[type[Converter]]:
    """Bring the one converter of this plugin."""
    return (MLXConverter,)


def _missing() -> str | None:
    absent = [name for name, module in (("mlx", "mlx"), ("mlx-lm", "mlx_lm")) if find_spec(module) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


class MLXBackend(Backend):
    """mlx-lm on Apple's GPU, or on a CPU (correct there, and slow)."""

    name = "mlx"
    extra = "mlx"
    preference = 60 if _APPLE_SILICON else 20
    capabilities = frozenset({"score", "generate", "sample", "top_logprobs", "memory", "time", "force"})
    options = (
        Option(
            "dtype",
            str,
            "auto",
            "type of the weights and of the arithmetic; auto: as stored; quantized weights stay as stored",
            choices=("auto", "float16", "bfloat16", "float32"),
        ),
        Option("device", str, "auto", "auto: as MLX chooses", choices=("auto", "cpu", "gpu")),
        Option(
            "kv_bits", int, 0, "bits of keys and values in the cache; 0: as computed", choices=("0", "4", "8")
        ),
        Option("kv_group_size", int, 64, "keys and values that share a scale", choices=("32", "64", "128")),
        Option("prefill_step", positive, 2048, "tokens that are run at once, at most"),
        Option("batch_tokens", positive, 16384, "tokens that a batch may hold, those in its cache included"),
    )

    @classmethod
    def missing(cls) -> str | None:
        return _missing()

    @classmethod
    def fingerprint(cls, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        from slmeval_mlx.devices import surroundings

        group = options["kv_group_size"] if options["kv_bits"] else None
        return {**super().fingerprint(options), "kv_group_size": group, **surroundings(options)}

    @classmethod
    def cache_bits(cls, options: Mapping[str, OptionValue]) -> float:
        # of quantized ones the least: scales and biases are beside them
        return float(options["kv_bits"] or super().cache_bits(options))

    @classmethod
    def import_engine(cls, options: Mapping[str, OptionValue]) -> None:  # noqa: ARG003
        # mlx-lm is only needed from here on
        import slmeval_mlx.engine  # noqa: F401

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        from slmeval_mlx.engine import Engine

        self._engine = Engine(model, options)

    def model_info(self) -> ModelInfo:
        return self._engine.model_info()

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        return self._engine.verify_tokenizer(tokenizer)

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """As the port says.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
        :raises slmeval.errors.JobFailed: there is not enough memory, or the text is longer than a sliding
            window that mlx-lm does not compute.
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
        :raises slmeval.errors.JobFailed: as for ``score``, or the model gives no numbers.
        """
        return self._engine.generate(prompts, settings, decode)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """As the port says; of equally likely tokens the one with the lower id comes first.

        :raises ValueError: ``ids`` do not fit the model: too long, empty, or an unknown token id.
        :raises slmeval.errors.JobFailed: as for ``score``.
        """
        return self._engine.top_logprobs(ids, k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """As the port says, as mlx-lm itself runs a model: the next pass is under way while a token is read.

        The last token of a prompt has a pass of its own. What scoring and writing have kept is given back.

        :raises ValueError: the workload does not fit the model.
        :raises slmeval.errors.JobFailed: as for ``score``, when the first timing is asked for.
        """
        return self._engine.time(workload)

    def memory(self) -> tuple[Reading, ...]:
        """As the port says: the arrays of the weights and of a workload's cache, and what MLX counts.

        The cache has room for some tokens more than are in it, for mlx-lm makes it larger by 256 at a time;
        of layers with a sliding window "kv cache room" tells nothing. "active" and "peak" are without what
        MLX keeps of freed buffers.
        """
        return self._engine.memory()

    def notes(self) -> tuple[str, ...]:
        return self._engine.notes()

    def close(self) -> None:
        self._engine.close()
        del self._engine


class MLXConverter(Converter):
    """mlx-lm's converter, in a process of its own.

    "4bit" quantizes groups of 64 weights, as mlx-lm does by itself; "4bit-g32" says another size.
    """

    name = "mlx"
    extra = "mlx"
    forms = tuple(FORMS)

    @classmethod
    def missing(cls) -> str | None:
        return _missing()

    @classmethod
    def version(cls) -> str:
        return f"mlx-lm {version('mlx-lm')} (mlx {version('mlx')})"

    def convert(self, model: ModelRef, form: str, folder: str) -> ModelRef:
        """As the port says; the model lies in a folder in ``folder`` that is named like the form.

        :raises slmeval.errors.ModelError: mlx-lm cannot convert it, and why.
        """
        from slmeval_mlx.conversion import converted

        return converted(model, form, folder)
