"""What a planned run consists of: jobs, cells, items, and the units that are executed and journaled."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from slmeval.api import Backend, Filter, Metric, Probe, Task
from slmeval.models import FoundModel
from slmeval.places import HERE, Place
from slmeval.store import CONFIRMED
from slmeval.tokenizing import FastTokenizer
from slmeval.types import (
    DataOrigin,
    Failure,
    GenerationSettings,
    Group,
    OptionValue,
    Prompt,
    RunOptions,
    Sample,
    ScoreGroup,
    TokenIds,
)

if TYPE_CHECKING:
    from slmeval.sequential import Stopping

#: whether the model's own chat template writes the prompts
Chat = Literal["off", "on"]


#: under what a cell is found among those of one job and manner: the name of its task or group, and its shots
CellKey = tuple[str, int]


def _digest(kind: str, parts: tuple[TokenIds, ...], *settings: str) -> str:
    whole = hashlib.sha256(kind.encode())
    for ids in parts:
        # the length goes first, so that no two different pairs make the same bytes
        whole.update(len(ids).to_bytes(8, "big") + array("q", ids).tobytes())
    for told in settings:
        whole.update(told.encode())
    return whole.hexdigest()


def _told(settings: GenerationSettings, seed: int) -> tuple[str, ...]:
    """What of the settings makes another text; what greedy texts without a thought have not is left out."""
    told = [json.dumps([settings.max_tokens, settings.stop, settings.end_ids])]
    if settings.thought is not None:
        told.append(json.dumps(["thought", *astuple(settings.thought)]))
    if settings.temperature:
        told.append(json.dumps(["drawn", settings.temperature, settings.top_p, seed]))
    return tuple(told)


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
    """One prompt, as token ids, with how to generate, and the seed of what is drawn."""

    prompt: TokenIds
    settings: GenerationSettings
    seed: int = 0

    @cached_property
    def digest(self) -> str:
        """Hash of what is asked."""
        return _digest("generate", (self.prompt,), *_told(self.settings, self.seed))


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
        return tuple((GenerateAsk(prompt.ids, self.settings, prompt.seed),) for prompt in self.prompts)


Unit = ScoreUnit | GenerateUnit


@dataclass(frozen=True)
class Item:
    """One row of a cell: its place in the data set, its question, and what is asked for each request.

    ``counts`` are its part of the cell's.
    """

    index: int
    sample: Sample
    parts: tuple[tuple[Ask, ...], ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def asks(self) -> tuple[Ask, ...]:
        """All that is asked of the engine, request by request."""
        return tuple(ask for part in self.parts for ask in part)


@dataclass(frozen=True)
class Scorer:
    """A task's filters and metrics, made and labelled."""

    filters: tuple[tuple[str, Filter], ...]
    metrics: tuple[tuple[str, Metric], ...]

    @property
    def figures(self) -> dict[str, Metric]:
        """The metric behind each figure that is made of the items' scores, by name; the main one first."""
        if not self.filters:
            return dict(self.metrics)
        return {f"{name}/{label}": metric for name, metric in self.metrics for label, _ in self.filters}


@dataclass(frozen=True)
class Cell:
    """One task at one number of shots, ready to be asked.

    ``counts``: requests whose prompt was cut to the context (``truncated``), those whose tokens join over
    the boundary between context and continuation (``merged``), those that begin with BOS twice
    (``doubled_bos``), and rows that have a ``flaw``.
    """

    task: Task
    shots: int
    seed: int
    scorer: Scorer
    items: tuple[Item, ...]
    data: DataOrigin
    counts: Mapping[str, int]
    sample: bool
    notes: tuple[str, ...] = ()
    chat: Chat = "off"
    repeats: int = 1

    @property
    def key(self) -> CellKey:
        """Under what it is found."""
        return self.task.name, self.shots

    @property
    def label(self) -> str:
        """``task@shots``, as hooks and progress name it."""
        return f"{self.task.name}@{self.shots}{' in chat' if self.chat == 'on' else ''}"


@dataclass(frozen=True)
class GroupCell:
    """A group at one number of shots: nothing is asked for it, its figures are means of its members'."""

    group: Group
    shots: int
    members: tuple[CellKey, ...]
    chat: Chat = "off"


@dataclass(frozen=True)
class ProbeCell:
    """One probe with its settings, ready to be measured."""

    probe: Probe
    settings: Mapping[str, OptionValue]
    seed: int

    @property
    def label(self) -> str:
        """As hooks and progress name it."""
        return self.probe.name


@dataclass(frozen=True)
class Block:
    """A part of a cell's items, drawn at random, that is asked as a whole.

    ``cell`` is the cell's place in the job; cells of one ``trial`` end together. After the blocks of
    ``look``, of ``looks``, they may end; those of look 0 come first of all, only to be shown.
    """

    cell: int
    trial: int
    look: int
    looks: int
    items: tuple[Item, ...]
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class Job:
    """One model on one backend with all its cells, so that the weights load once.

    ``template`` is the hash of the chat template, where one is used. Where cells may end early, ``units`` are
    those of the ``blocks``, in their order.
    """

    backend: type[Backend]
    model: FoundModel
    label: str
    tokenizer: FastTokenizer
    options: Mapping[str, OptionValue]
    python: str
    cells: tuple[Cell, ...]
    units: tuple[Unit, ...]
    groups: tuple[GroupCell, ...] = ()
    notes: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    template: str = ""
    probes: tuple[ProbeCell, ...] = ()
    blocks: tuple[Block, ...] = ()
    #: where its workers are
    place: Place = HERE


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do. Nothing in it needs an engine."""

    options: RunOptions
    demo: bool
    jobs: tuple[Job, ...]
    #: models and backends that were asked for and cannot be had
    refused: tuple[Failure, ...] = ()
    #: when tasks end before all is asked
    stopping: Stopping | None = None
    #: the run whose gate asked for this one, "" where the user did
    confirms: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """Hashes and versions of all that is measured, by what they are of: the same run has the same."""
        found = dict(self.stopping.identity) if self.stopping else {}
        if self.confirms:
            found[CONFIRMED] = self.confirms
        for job in self.jobs:
            found[f"model {job.label}"] = job.model.sha256
            found[f"tokenizer of {job.label}"] = job.tokenizer.sha256
            if job.template:
                found[f"template of {job.label}"] = job.template
            for cell in job.cells:
                found[f"rows of {cell.label}"] = cell.data.sha256 + cell.data.shots_sha256
                found[f"task {cell.label}"] = cell.task.version
            for measured in job.probes:
                found[f"probe {measured.label}"] = measured.probe.version
        return found

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell, as ``task@shots on backend:model``."""
        return tuple(
            f"{label} on {job.backend.name}:{job.label}"
            for job in self.jobs
            for label in (*(cell.label for cell in job.cells), *(probe.label for probe in job.probes))
        )
