"""The oracle: Llama-family models in float64, written to be read.

This module is what every backend plugin begins with: the hook, and a class that imports no engine. The
work is in :mod:`slmeval_reference.engine`, imported when a model is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

from slmeval import __version__, hookimpl
from slmeval.api import Backend, Option, Reading
from slmeval.option_kinds import count
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
    return (ReferenceBackend,)


def engine_version() -> str:
    """This engine's version and numpy's, which does its arithmetic; numpy is not imported for it."""
    return f"{__version__} (numpy {version('numpy')})"


class ReferenceBackend(Backend):
    """numpy in float64 on the CPU: exact rather than fast, and always there."""

    name = "reference"
    capabilities = frozenset({"score", "generate", "sample", "top_logprobs", "time", "force", "memory"})
    options = (
        # one: BLAS threads wait for each other, which on a busy machine costs far more than a second
        # core brings to matrices this small; and the bits do not depend on the number of cores
        Option("threads", count, 1, "threads of numpy's BLAS; 0 leaves it as it is"),
    )

    @classmethod
    def fingerprint(cls, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        return {**super().fingerprint(options), "version": engine_version()}

    @classmethod
    def cache_bits(cls, _: Mapping[str, OptionValue]) -> float:
        return 64.0

    @classmethod
    def import_engine(cls, options: Mapping[str, OptionValue]) -> None:  # noqa: ARG003
        # numpy is only needed from here on
        import threadpoolctl  # noqa: F401

        import slmeval_reference.engine  # noqa: F401

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        from threadpoolctl import threadpool_limits

        from slmeval_reference.engine import Engine

        self._engine = Engine(model)
        self._limits = threadpool_limits(options["threads"] or None, user_api="blas")

    def model_info(self) -> ModelInfo:
        return self._engine.model_info(self.name, engine_version())

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """As the port says.

        :raises ValueError: a group does not fit the model: too long, no context, or an unknown token id.
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
        """
        return self._engine.generate(prompts, settings, decode)

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """As the port says; of equally likely tokens the one with the lowest id comes first.

        :raises ValueError: ``ids`` do not fit the model, or it has no ``k`` tokens.
        """
        return self._engine.top_logprobs(ids, k)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """As the port says; in each step one sequence is run after the other: n take n times as long.

        :raises ValueError: the workload does not fit the model.
        """
        return self._engine.time(workload)

    def memory(self) -> tuple[Reading, ...]:
        """As the port says: the weights, and the cache of a workload under way."""
        return self._engine.memory()

    def close(self) -> None:
        self._limits.restore_original_limits()
        del self._engine
