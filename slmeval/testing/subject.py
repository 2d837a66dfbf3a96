"""A model that the backend under test has open, with what is true of it."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from slmeval.api import Backend
from slmeval.errors import UnknownName
from slmeval.models import find_model
from slmeval.planner import resolve_options
from slmeval.testing import toy
from slmeval.testing.cases import cases_of
from slmeval.testing.toy_files import write_folder, write_gguf
from slmeval.testing.truth import DEMO, truth_of
from slmeval.types import (
    Completion,
    GenerationSettings,
    Likelihood,
    ModelRef,
    OptionValue,
    Prompt,
    RunOptions,
    ScoreGroup,
    TokenIds,
)


def expect(holds: bool, otherwise: str) -> None:
    """:raises AssertionError: it does not hold; the sentence says what was found instead."""
    if not holds:
        raise AssertionError(otherwise)


def needs(backend: type[Backend], capability: str) -> None:
    """Skip the clause where the backend does not declare it."""
    if capability not in backend.capabilities:
        import pytest

        pytest.skip(f"backend {backend.name!r} does not declare {capability!r}")


def model_for(backend: type[Backend], model: str) -> ModelRef:
    """The model "toy" or "demo" in a form that the backend opens: a folder where it can, else a GGUF file.

    :raises AssertionError: it opens neither.
    """
    form = next((form for form in ("folder", "gguf") if form in backend.forms), None)
    expect(form is not None, f"backend {backend.name!r} opens {backend.forms}: neither 'folder' nor 'gguf'")
    if model == "demo":
        return ModelRef(str(DEMO / ("model" if form == "folder" else "model.gguf")))
    return ModelRef(str(_toy(str(form))))


@cache
def _toy(form: str) -> Path:
    home = Path(tempfile.mkdtemp(prefix="slmeval-toy-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return write_folder(home / "toy") if form == "folder" else write_gguf(home / "toy.gguf")


@cache
def _demo_vocabulary() -> int:
    return int(json.loads((DEMO / "model" / "config.json").read_text(encoding="utf-8"))["vocab_size"])


def options_for(backend: type[Backend], given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Every option of the backend: as given, its default, or, of "dtype", float32 where it can be had.

    :raises UsageError: an option that there is not, or a value that it does not take.
    """
    known = {option.name: option for option in backend.options}
    for name in given:
        if name not in known:
            raise UnknownName(f"option of backend {backend.name!r}", name, known)
    # the contract is about right and wrong, which half precision blurs
    exact = {"dtype": "float32"} if "dtype" in known and "float32" in known["dtype"].choices else {}
    texts = {**exact, **{name: str(value) for name, value in given.items()}}
    return resolve_options(backend, RunOptions(engine_options=texts))


class Subject:
    """An open backend, asked in ways that check the shape of its answers.

    A clause that asks what the backend does not declare is skipped.
    """

    def __init__(self, backend: type[Backend], options: Mapping[str, OptionValue], model: str) -> None:
        self.model = model
        ref = model_for(backend, model)
        self.tokenizer = find_model(ref, lambda _: "").tokenizer()
        self.vocabulary = toy.VOCABULARY if model == "toy" else _demo_vocabulary()
        self.cases = cases_of(model, self.tokenizer)
        self.truth = truth_of(model)
        self.backend = backend(ref, options_for(backend, options))
        # as a run does it
        self.difference = self.backend.verify_tokenizer(self.tokenizer)

    def score(self, groups: Sequence[ScoreGroup]) -> list[tuple[Likelihood, ...]]:
        """One call; the answers to each group."""
        needs(type(self.backend), "score")
        answers = list(self.backend.score(groups))
        expect(len(answers) == len(groups), f"{len(groups)} groups were given {len(answers)} answers")
        for group, replies in zip(groups, answers, strict=True):
            found = [len(reply.token_logprobs) for reply in replies]
            wanted = [len(continuation) for continuation in group.continuations]
            expect(found == wanted, f"continuations of {wanted} tokens were given {found} log-probabilities")
        return answers

    def one(self, context: TokenIds, continuation: TokenIds) -> Likelihood:
        """One continuation of one context, by a call of its own."""
        return self.score([ScoreGroup(context, (continuation,))])[0][0]

    def write(self, prompts: Sequence[Prompt], settings: GenerationSettings) -> list[Completion]:
        """One call; the text after each prompt."""
        needs(type(self.backend), "generate")
        answers = list(self.backend.generate(prompts, settings, self.tokenizer.decode))
        expect(len(answers) == len(prompts), f"{len(prompts)} prompts were given {len(answers)} texts")
        return answers

    def text(self, prompt: TokenIds, settings: GenerationSettings) -> Completion:
        """The text after one prompt, by a call of its own."""
        return self.write([Prompt(prompt)], settings)[0]

    def sure_prompts(self, count: int) -> list[TokenIds]:
        """The prompts after which the likeliest ``count`` tokens are beyond doubt."""
        return [ids for ids in self.cases.prompts if len(self.truth.greedy(ids, count)) == count]
