"""What travels: frozen values, each made once from the one before. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

TokenIds = tuple[int, ...]
Row = Mapping[str, Any]
OptionValue = str | int | float | bool | None

# ---- what is asked -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelRef:
    """A model as the user named it: a folder, a file, a hub id with its revision, or a server's address."""

    location: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.location}@{self.revision}" if self.revision else self.location


@dataclass(frozen=True)
class Served:
    """A model behind a server, as the server tells of it.

    ``location`` is its whole address, its name among the server's models included. ``context`` is in tokens,
    ``None`` where it is not told; ``edition`` is what tells it from another under the same name, if anything.
    """

    location: str
    context: int | None = None
    edition: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """Where a task's rows come from, under the hub's names.

    ``name`` is the folder below ``--data`` and in the bundled sample; ``evaluation`` and ``shots`` are
    splits; ``fields`` must be in every row; ``rows`` is the size of the whole evaluation split, so that
    anything less is called a sample. With ``where``, a field and a value, only rows that have it count:
    one file may then hold several tasks.
    """

    name: str
    evaluation: str
    fields: tuple[str, ...]
    shots: str | None = None
    hub: str | None = None
    config: str | None = None
    rows: int | None = None
    licence: str = ""
    source: str = ""
    where: tuple[str, str] | None = None


@dataclass(frozen=True)
class Thought:
    """How a model marks what it thinks before it answers: ``<think>`` and ``</think>``, say.

    ``begun``: the prompt ends within a thought, so that the text begins with one. ``open_ids`` and
    ``close_ids`` are the tokens of marks with special tokens in them, which decoding leaves out.
    """

    opens: str
    closes: str
    begun: bool = False
    open_ids: TokenIds = ()
    close_ids: TokenIds = ()


@dataclass(frozen=True)
class GenerationSettings:
    """How a text is generated: up to ``max_tokens``, ended by a stop string or an end token.

    Greedily at a ``temperature`` of 0; else tokens are drawn from the distribution at that temperature, of
    which ``top_p`` keeps the likeliest tokens that together have at least so much probability. With a
    ``thought`` stop strings count after it only.
    """

    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    end_ids: TokenIds = ()
    temperature: float = 0.0
    top_p: float = 1.0
    thought: Thought | None = None


@dataclass(frozen=True)
class Turns:
    """What a prompt is put together from, so that a chat template can write it in its own way.

    ``examples`` are questions with their answers. In plain text ``delimiter`` stands between a question and
    its answer, and ``separator`` after each example.
    """

    description: str
    examples: tuple[tuple[str, str], ...]
    question: str
    delimiter: str = " "
    separator: str = "\n\n"

    @property
    def shown(self) -> str:
        """The examples as plain text."""
        return "".join(f"{asked}{self.delimiter}{told}{self.separator}" for asked, told in self.examples)

    @cached_property
    def text(self) -> str:
        """The whole prompt as plain text."""
        return f"{self.description}{self.shown}{self.question}"


@dataclass(frozen=True)
class Score:
    """How likely is this continuation after this context? (text)

    ``turns`` are the context's parts, where the task tells them; the continuation then begins with
    ``delimiter``, which a chat template leaves no place for.
    """

    context: str
    continuation: str
    turns: Turns | None = field(default=None, compare=False, repr=False)
    delimiter: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Generate:
    """What does the model write after this prompt? (text) ``turns`` as in :class:`Score`."""

    prompt: str
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    turns: Turns | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Rolling:
    """How likely is this whole text, from its first token on? (text)

    It may be longer than the model's context: it is then asked in windows that do not overlap.
    """

    text: str


Request = Score | Generate | Rolling


@dataclass(frozen=True)
class Sample:
    """One question: what is asked of the model, and what would be right.

    ``target`` is the index of the right choice, the indices where several are right, or the right text.
    ``choices`` are the choices as written in the data set, without any delimiter (lengths for ``acc_norm``
    are taken from these). ``flaw`` says what is wrong with a row that can be asked all the same. ``asked`` is
    the question alone, without what is shown before it, for a filter that must know it.
    """

    requests: tuple[Request, ...]
    target: int | str | tuple[int, ...]
    choices: tuple[str, ...] = ()
    flaw: str = ""
    asked: str = field(default="", compare=False)
    #: the hash of the row's content and the number of its cluster, which the core puts here
    item: str = field(default="", compare=False)
    cluster: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Use:
    """A registered metric or filter by its name, with its settings; ``label`` tells two uses apart."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


# ---- what reaches an engine: token ids -------------------------------------------------------------


@dataclass(frozen=True)
class ScoreGroup:
    """One context with its continuations, all as token ids; the context has at least one token.

    ``shared`` is how many leading tokens the context has in common with the group before it: a hint
    that a backend may ignore and still be right.
    """

    context: TokenIds
    continuations: tuple[TokenIds, ...]
    shared: int = 0


@dataclass(frozen=True)
class Prompt:
    """One prompt as token ids; ``shared`` as in :class:`ScoreGroup`.

    ``seed`` is that of the text's random numbers, where tokens are drawn: one prompt may be asked often.
    """

    ids: TokenIds
    shared: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Workload:
    """What is timed: prompts run through the model, and tokens decoded after them, all sequences in step.

    ``prompts`` all have one length, more than ``depth`` tokens: so many of their leading tokens are in the
    cache before the clock starts. ``new_tokens`` come after each prompt; with 0 it is a prefill alone. With
    ``forced``, one row of ``new_tokens`` ids for each prompt, these are taken in place of what the model
    would choose: a decode without sampling. End tokens end nothing.
    """

    prompts: tuple[TokenIds, ...]
    new_tokens: int = 0
    depth: int = 0
    forced: tuple[TokenIds, ...] = ()

    @property
    def longest(self) -> int:
        """Tokens that each sequence has at the end; the last new one is never an input."""
        return len(self.prompts[0]) + max(self.new_tokens - 1, 0)


# ---- what an engine answers ------------------------------------------------------------------------


@dataclass(frozen=True)
class Likelihood:
    """Natural-log probability of one continuation: per token, and whether each was the most likely."""

    token_logprobs: tuple[float, ...]
    greedy: bool

    @property
    def logprob(self) -> float:
        """The sum over the continuation's tokens; exactly rounded, so the order does not matter."""
        return math.fsum(self.token_logprobs)


EndReason = Literal["stop", "end", "length"]


@dataclass(frozen=True)
class Completion:
    """A generated text, cut at the first stop string.

    ``reason``: ``stop`` (a stop string), ``end`` (an end token), ``length`` (the token cap was hit).
    ``ids`` are all generated tokens, an end token included. ``thought`` is what the model thought before it
    wrote ``text``, with ``thought_tokens`` of ``ids``, the marks around it included.
    """

    text: str
    ids: TokenIds
    reason: EndReason
    thought: str = ""
    thought_tokens: int = 0


@dataclass(frozen=True)
class TopLogprobs:
    """The likeliest tokens at one position, the likeliest first, with their natural-log probabilities."""

    ids: TokenIds
    logprobs: tuple[float, ...]


Reply = Likelihood | Completion


@dataclass(frozen=True)
class Timing:
    """One run of a workload: seconds since its clock started, by the clock of ``time.perf_counter``.

    ``prefill``: the logits after the prompts are there, the device synchronized; ``None`` where that cannot
    be seen (a server). ``tokens``: the i-th new token of all sequences is there, chosen and on the host;
    where it is forced, the logits that it would have been chosen from are. Between two of them lies one
    decoding pass, and before the first one there is none. Where sequences are not in step (a server's need
    not be), the i-th is when i for each sequence are there, all together.
    """

    prefill: float | None
    tokens: tuple[float, ...] = ()


@dataclass(frozen=True)
class ModelInfo:
    """What was opened. Parameters are counts of weights, ``context`` tokens; 0: a server does not tell."""

    architecture: str
    parameters: int
    parameters_stored: int
    dtype: str
    device: str
    context: int
    vocabulary: int
    engine: str
    engine_version: str


# ---- what is scored --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One sample with its replies, one to each request, and what a filter found in them.

    ``found`` is ``None`` where no answer was found.
    """

    sample: Sample
    replies: tuple[Reply, ...]
    found: str | None = None


Source = Literal["measured", "estimated", "unavailable"]
Verdict = Literal["", "stable", "drifting", "throttled"]


@dataclass(frozen=True)
class Figure:
    """A number with its truth: how many items, which error, which unit, how it was come by."""

    name: str
    value: float | None
    stderr: float | None
    ci95: tuple[float, float] | None
    n: int
    unit: str
    source: Source = "measured"
    note: str = ""
    higher_is_better: bool | None = None
    #: of a figure of many values: "p5", "p95" and so on, in its unit
    percentiles: Mapping[str, float] = field(default_factory=dict)
    #: of a figure that was measured over time: whether it stayed as it was
    verdict: Verdict = ""


#: how a figure comes of the weighted mean of its scores: the mean itself, its exponential (a perplexity), or
#: bits of nats (the mean over ln 2)
Scale = Literal["mean", "exp", "bits"]


@dataclass(frozen=True)
class ItemScores:
    """The scores of one figure, item by item; ``None`` where an item has none.

    ``weights`` say how much each counts, () where all count the same. Scores are float32 numbers: what is
    kept is small, and no comparison needs more.
    """

    scores: tuple[float | None, ...]
    weights: tuple[float, ...] = ()
    scale: Scale = "mean"


@dataclass(frozen=True)
class Outcomes:
    """What came of each item of a cell, so that two runs can be compared item by item.

    ``items`` are in the order in which they stand in the data set: hashes of their content, 12 hexadecimal
    digits each; of items that are alike, the second has one of its own. ``clusters`` say which belong
    together (one passage, one subject), by a number for each item; () where each is its own. ``columns`` are
    by figure.
    """

    items: tuple[str, ...]
    columns: Mapping[str, ItemScores]
    clusters: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stop:
    """A cell that was asked in a random order, and looked at now and then, so that it could end early.

    At look ``look`` of ``looks`` it had ``asked`` of ``planned`` items. ``level`` is the level of an interval
    that, given at each look, still covers 95% over all of them; ``decided`` says why it ended, "" where it
    went on to its end.
    """

    asked: int
    planned: int
    look: int
    looks: int
    level: float
    decided: str = ""


@dataclass(frozen=True)
class Series:
    """One quantity as it was measured, value after value: what figures are made of.

    Where it cannot be had it has no values, its source is "unavailable", and the note says why.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    source: Source = "measured"
    note: str = ""


@dataclass(frozen=True)
class Conditions:
    """How the machine was at one moment, ``at`` seconds after a probe began; ``None`` where it does not tell.

    ``clock`` is in MHz, the mean of all cores; ``load`` the number of processes that ran or waited in the
    last minute; ``busy`` the share (0 to 1) of all cores' time that other processes than the worker took
    since the moment before; ``temperature`` the hottest sensor's, in degrees Celsius. ``yardstick`` has, by
    kernel, the seconds that each of a few repeats took, where it was measured (:mod:`slmeval.yardstick`).
    """

    at: float
    clock: float | None = None
    governor: str = ""
    load: float | None = None
    busy: float | None = None
    temperature: float | None = None
    yardstick: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What a probe measured in one worker."""

    series: tuple[Series, ...]
    conditions: tuple[Conditions, ...] = ()
    notes: tuple[str, ...] = ()


# ---- one run ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """A name that stands for several tasks or groups.

    ``shots`` are asked when the user names none. Of the figures that ``average`` names the group has means
    of its own: over rows, as if all were one data set, or over members, each counting the same.
    ``source`` says whose group it is.
    """

    name: str
    members: tuple[str, ...]
    shots: int | None = None
    average: tuple[str, ...] = ()
    over: Literal["rows", "members"] = "members"
    version: str = ""
    source: str = ""


@dataclass(frozen=True)
class RunOptions:
    """One ``slmeval run``, as asked for; made once from the flags.

    ``target_ci`` are half widths of intervals, as written: tasks end when theirs are so narrow. With
    ``until_decided`` they end when the ``rules`` about them are decided, against the file ``baseline`` where
    a rule needs one.
    """

    backends: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    shots: tuple[int, ...] | None = None
    limit: int | None = None
    data: str | None = None
    sample: bool = False
    dtype: str | None = None
    seed: int = 1234
    tokenizer: str | None = None
    compat: str | None = None
    position_bias: bool = False
    executor: str = "process"
    pythons: Mapping[str, str] = field(default_factory=dict)
    engine_options: Mapping[str, str] = field(default_factory=dict)
    blocked_plugins: tuple[str, ...] = ()
    timeout: float = 600.0
    chat_template: str = "off"
    chat_shots: str = "turns"
    template_options: Mapping[str, str] = field(default_factory=dict)
    thinking: str = "auto"
    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    repeats: int = 1
    target_ci: tuple[str, ...] = ()
    until_decided: bool = False
    baseline: str | None = None
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataOrigin:
    """Which rows were asked: where from, how many there are in all, and their hash."""

    source: str
    sha256: str
    rows: int
    shots_source: str = ""
    shots_sha256: str = ""


def cell_label(kind: str, name: str, shots: int, chat: str) -> str:
    """``arc_easy@0``, and that it was asked in chat; a probe's name."""
    return name if kind == "probe" else f"{name}@{shots}{' in chat' if chat == 'on' else ''}"


@dataclass(frozen=True)
class CellResult:
    """One task, probe or group on one model and backend: figures, counts, and where the rows came from.

    ``sample`` is true when fewer rows were asked than the data set has, or when the rows are the
    bundled ones. ``counts`` holds how many requests were truncated, hit the token cap, and so on. A group
    names the ``members`` whose figures it averages, ``over`` rows or members. ``chat`` says whether the
    model's own template wrote the prompts, ``repeats`` how many texts each question was answered with. A
    probe has ``settings``, the raw ``series`` that its figures are made of, and the ``conditions`` of the
    machine at the time. A task has the ``outcomes`` of its items, and a ``stop`` where it could end before
    all were asked.
    """

    kind: Literal["task", "probe", "group"]
    name: str
    version: str
    backend: str
    model: str
    shots: int
    seed: int
    n: int
    sample: bool
    figures: tuple[Figure, ...]
    counts: Mapping[str, int]
    data: DataOrigin
    notes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    chat: Literal["off", "on"] = "off"
    repeats: int = 1
    settings: Mapping[str, OptionValue] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    conditions: tuple[Conditions, ...] = ()
    outcomes: Outcomes | None = None
    stop: Stop | None = None
    over: Literal["", "rows", "members"] = ""

    @property
    def label(self) -> str:
        """``arc_easy@0``, as rules and messages name it, and that it was asked in chat; a probe's name."""
        return cell_label(self.kind, self.name, self.shots, self.chat)


@dataclass(frozen=True)
class ModelReport:
    """One model on one backend: everything another person needs to get the same numbers.

    ``template_hash`` is that of the chat template's text, where one was used.
    """

    label: str
    backend: str
    reference: str
    model_hash: str
    tokenizer: str
    tokenizer_hash: str
    options: Mapping[str, OptionValue]
    info: ModelInfo | None
    notes: tuple[str, ...] = ()
    template_hash: str = ""


@dataclass(frozen=True)
class Failure:
    """A job that could not be finished, and why, in one sentence."""

    backend: str
    model: str
    reason: str


@dataclass(frozen=True)
class Machine:
    """Where it ran. Memory in bytes."""

    system: str
    processor: str
    cores: int
    memory: int
    python: str
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """A finished run (or one that stopped early: ``status``). Times are ISO 8601, UTC."""

    id: str
    started: str
    finished: str
    status: Literal["done", "failed", "interrupted"]
    demo: bool
    options: RunOptions
    versions: Mapping[str, str]
    machine: Machine
    models: tuple[ModelReport, ...]
    cells: tuple[CellResult, ...]
    failures: tuple[Failure, ...] = ()
    asked: int = 0
    reused: int = 0
