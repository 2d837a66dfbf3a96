"""Any causal language model that Hugging Face transformers can open, on torch.

The work is in :mod:`slmeval_hf.engine`, imported when a model is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec

from slmeval import hookimpl
from slmeval.api import Backend, Option, Reading, Tokenizer
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


@hookimpl
def slmeval_register_backends() -> Iterable[type[Backend]]:
    """Bring the one backend of this plugin."""
    return (HFBackend,)


class HFBackend(Backend):
    """transformers on a CPU, on CUDA, or on Apple's GPU."""

    name = "hf"
    extra = "hf"
    preference = 50
    capabilities = frozenset({"score", "generate", "sample", "top_logprobs", "time", "force", "memory"})
    options = (
        Option(
            "dtype",
            str,
            "auto",
            "type of the weights and of the arithmetic; auto: as the checkpoint says",
            choices=("auto", "float16", "bfloat16", "float32", "float64"),
        ),
        Option("device", str, "auto", "cpu, cuda, cuda:N or mps; auto: the first of cuda, mps, cpu"),
        Option(
            "attention",
            str,
            "auto",
            "auto: over the tree of all that is asked, no token twice; or as transformers does: eager, sdpa, "
            "flash_attention_2 and so on",
        ),
        Option("threads", count, 0, "threads of torch on the CPU; 0: as torch chooses"),
        Option("batch_tokens", count, 0, "tokens that are run at once; 0: by the memory that is free"),
        Option(
            "trust_remote_code", truth, False, "run the Python code that comes with the model", local=True
        ),
    )

    @classmethod
    def missing(cls) -> str | None:
        absent = [name for name in ("torch", "transformers") if find_spec(name) is None]
        return f"{' and '.join(absent)} not installed" if absent else None

    @classmethod
    def fingerprint(cls, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        from slmeval_hf.devices import surroundings

        return {**super().fingerprint(options), **surroundings(options)}

    @classmethod
    def import_engine(cls, options: Mapping[str, OptionValue]) -> None:  # noqa: ARG003
        # torch and transformers are only needed from here on
        import slmeval_hf.engine  # noqa: F401

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        from slmeval_hf.engine import Engine

        self._engine = Engine(model, options)

    def model_info(self) -> ModelInfo:
        return self._engine.model_info()

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        return self._engine.verify_tokenizer(tokenizer)

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """As the port says.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
        :raises slmeval.errors.JobFailed: there is not enough memory for a single sequence.
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
        :raises slmeval.errors.JobFailed: there is not enough memory for a single sequence.
        """
        return self._engine.generate(prompts, settings, decode)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """As the port says.

        :raises ValueError: ``ids`` do not fit the model, or it has no ``k`` tokens.
        """
        return self._engine.top_logprobs(ids, k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """As the port says, in plain passes of transformers with the model's own cache and attention.

        :raises ValueError: the workload does not fit the model.
        :raises slmeval.errors.JobFailed: memory runs out, or transformers cannot run this workload rightly:
            several sequences at once, or several tokens behind a depth, of some models with a state.
        """
        return self._engine.time(workload)

    def memory(self) -> tuple[Reading, ...]:
        """As the port says; what the device has given out is told by CUDA and Metal, and not on a CPU."""
        return self._engine.memory()

    def lacking(self) -> Mapping[str, str]:
        return self._engine.lacking()

    def notes(self) -> tuple[str, ...]:
        return self._engine.notes()

    def close(self) -> None:
        self._engine.close()
        del self._engine
