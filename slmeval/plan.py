"""What a planned run consists of: jobs, cells, items, and the units that are executed and journaled."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from slmeval.api import Backend, Filter, Metric, Task
from slmeval.models import FoundModel
from slmeval.tokenizing import FastTokenizer
from slmeval.types import (
    DataOrigin,
    GenerationSettings,
    OptionValue,
    Prompt,
    RunOptions,
    Sample,
    ScoreGroup,
    TokenIds,
)


def _digest(kind: str, parts: tuple[TokenIds, ...], settings: GenerationSettings | None = None) -> str:
    whole = hashlib.sha256(kind.encode())
    for ids in parts:
        # the length goes first, so that no two different pairs make the same bytes
        whole.update(len(ids).to_bytes(8, "big") + array("q", ids).tobytes())
    if settings is not None:
        whole.update(json.dumps([settings.max_tokens, settings.stop, settings.end_ids]).encode())
    return whole.hexdigest()


@dataclass(frozen=True)
class ScoreAsk:
    """One continuation after one context, as token ids."""

    context: TokenIds
    continuation: TokenIds

    @cached_property
    def digest(self) -> str:
        """Hash of what is asked."""
        return _digest("score", (self.context, self.continuation))


@dataclass(frozen=True)
class GenerateAsk:
    """One prompt, as token ids, with how to generate."""

    prompt: TokenIds
    settings: GenerationSettings

    @cached_property
    def digest(self) -> str:
        """Hash of what is asked."""
        return _digest("generate", (self.prompt,), self.settings)


Ask = ScoreAsk | GenerateAsk


@dataclass(frozen=True)
class ScoreUnit:
    """Groups that are scored together, in prefix order."""

    groups: tuple[ScoreGroup, ...]

    def asks(self) -> tuple[tuple[Ask, ...], ...]:
        """What is asked, group by group."""
        return tuple(
            tuple(ScoreAsk(group.context, continuation) for continuation in group.continuations)
            for group in self.groups
        )


@dataclass(frozen=True)
class GenerateUnit:
    """Prompts that are continued together, in prefix order, under the same settings."""

    prompts: tuple[Prompt, ...]
    settings: GenerationSettings

    def asks(self) -> tuple[tuple[Ask, ...], ...]:
        """What is asked, prompt by prompt."""
        return tuple((GenerateAsk(prompt.ids, self.settings),) for prompt in self.prompts)


Unit = ScoreUnit | GenerateUnit


@dataclass(frozen=True)
class Item:
    """One row of a cell: its place in the data set, its question, and what is asked of the engine."""

    index: int
    sample: Sample
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Scorer:
    """A task's filters and metrics, made and labelled."""

    filters: tuple[tuple[str, Filter], ...]
    metrics: tuple[tuple[str, Metric], ...]


@dataclass(frozen=True)
class Cell:
    """One task at one number of shots, ready to be asked.

    ``counts``: requests whose prompt was cut to the context (``truncated``), and those whose tokens join
    over the boundary between context and continuation (``merged``).
    """

    task: Task
    shots: int
    seed: int
    scorer: Scorer
    items: tuple[Item, ...]
    data: DataOrigin
    counts: Mapping[str, int]
    sample: bool

    @property
    def label(self) -> str:
        """``task@shots``, as hooks and progress name it."""
        return f"{self.task.name}@{self.shots}"


@dataclass(frozen=True)
class Job:
    """One model on one backend with all its cells, so that the weights load once."""

    backend: type[Backend]
    model: FoundModel
    label: str
    tokenizer: FastTokenizer
    options: Mapping[str, OptionValue]
    python: str
    cells: tuple[Cell, ...]
    units: tuple[Unit, ...]
    notes: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do. Nothing in it needs an engine."""

    options: RunOptions
    demo: bool
    jobs: tuple[Job, ...]

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of all that is measured, by what they are of: the same run has the same."""
        found = {}
        for job in self.jobs:
            found[f"model {job.label}"] = job.model.sha256
            found[f"tokenizer of {job.label}"] = job.tokenizer.sha256
            for cell in job.cells:
                found[f"rows of {cell.label}"] = cell.data.sha256 + cell.data.shots_sha256
        return found

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell, as ``task@shots on backend:model``."""
        return tuple(
            f"{cell.label} on {job.backend.name}:{job.label}" for job in self.jobs for cell in job.cells
        )
