"""Models behind servers that speak OpenAI's HTTP interface: vLLM, llama-server, mlx_lm.server, Ollama.

The work is in :mod:`slmeval_openai.engine`, imported when a model is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec

from slmeval import hookimpl
from slmeval.api import Backend, Option, Tokenizer
from slmeval.option_kinds import count, positive
from slmeval.types import (
    Completion,
    GenerationSettings,
    Likelihood,
    ModelInfo,
    ModelRef,
    OptionValue,
    Prompt,
    ScoreGroup,
    Served,
    Timing,
    Workload,
)

#: what changes in how servers are asked, or how their answers are read, gets a new number
_VERSION = "3"


@hookimpl
def slmeval_register_backends() -> Iterable[type[Backend]]:
    """Bring the one backend of this plugin."""
    return (OpenAIBackend,)


class OpenAIBackend(Backend):
    """A model behind a server with an address ``http://HOST:PORT/v1#NAME``.

    A revision of a model is the edition of which its server told when the run was planned.
    The API key is taken from the environment alone: ``SLMEVAL_API_KEY``, else ``OPENAI_API_KEY``.
    """

    name = "openai"
    extra = "openai"
    forms = ("server",)
    capabilities = frozenset({"score", "generate", "sample", "time"})
    options = (
        Option(
            "api",
            str,
            "auto",
            "completions: prompts as they are; chat: in the server's own template; "
            "auto: completions where the server has them",
            choices=("auto", "completions", "chat"),
        ),
        Option("concurrency", positive, 16, "requests that are under way at once", numeric=False),
        Option("timeout", positive, 300, "seconds that one request may take", numeric=False),
        Option("retries", count, 5, "times that a failed request is sent again", numeric=False),
        Option("edition", str, "", "what tells apart what a server serves under one name, one after another"),
    )

    @classmethod
    def missing(cls) -> str | None:
        return None if find_spec("httpx2") else "httpx2 not installed"

    @classmethod
    def fingerprint(cls, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """As the port says; the server's own version is part of the model's edition."""
        return {**super().fingerprint(options), "version": _VERSION}

    @classmethod
    def look_up(cls, model: ModelRef) -> Served:
        """As the port says.

        :raises slmeval.errors.ModelMissing: nothing answers there, or it serves no such model.
        :raises slmeval.errors.ModelError: a secret in the address; or the server refuses, or makes no sense.
        """
        from slmeval_openai.lookup import look_up

        return look_up(model.location)

    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        # the HTTP library is only needed from here on
        from slmeval_openai.engine import Engine

        self._engine = Engine(model, options)

    def model_info(self) -> ModelInfo:
        return self._engine.model_info()

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:
        return self._engine.verify_tokenizer(tokenizer)

    def lacking(self) -> Mapping[str, str]:
        return self._engine.lacking()

    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """As the port says, where the server tells the log-probabilities of prompts.

        :raises ValueError: a group does not fit the model.
        :raises slmeval.errors.JobFailed: the server tells none, refuses, or fails again and again.
        """
        return self._engine.score(groups)

    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """As the port says; ``ids`` are empty where the server does not tell them.

        :raises ValueError: a prompt does not fit the model.
        :raises slmeval.errors.JobFailed: the server refuses, or fails again and again.
        """
        return self._engine.generate(prompts, settings, decode)

    def time(self, workload: Workload) -> Iterator[Timing]:
        """As the port says, but for what a client cannot see or do.

        There is no time of a prefill. A server cannot be told what to have in its cache, so the tokens of a
        depth are run with the prompt, within the time; and where a server takes no ids, words are sent that
        come to as many tokens by its own count. Each run's prompt is the workload's tokens (or the words) in
        another order with another beginning, for a server keeps what it was asked: no run profits from
        another. A request that fails is not sent again.

        :raises ValueError: the workload does not fit the model.
        :raises slmeval.errors.JobFailed: the server refuses, fails, ends texts early, or sends tokens so that
            it cannot be told when each came.
        """
        return self._engine.time(workload)

    def notes(self) -> tuple[str, ...]:
        return self._engine.notes()

    def close(self) -> None:
        self._engine.close()
