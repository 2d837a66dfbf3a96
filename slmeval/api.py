"""The ports: base classes that a plugin may fill. Small enough to be read at one sitting.

A plugin is a module with hook functions (see :mod:`slmeval.hookspecs`) that return subclasses or
instances of these. Nothing here imports an engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, Literal, TextIO

from slmeval.datasets import DataSource, Rows
from slmeval.differences import Comparison
from slmeval.statistics import mean_figure
from slmeval.types import (
    Answer,
    Completion,
    Conditions,
    DatasetSpec,
    Figure,
    GenerationSettings,
    Likelihood,
    Measurement,
    ModelInfo,
    ModelRef,
    OptionValue,
    Prompt,
    Row,
    RunResult,
    Sample,
    Scale,
    ScoreGroup,
    Series,
    Served,
    Timing,
    TokenIds,
    TopLogprobs,
    Use,
    Workload,
)
from slmeval.verdicts import GateReport

# ---- engines ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """An option of a backend or a probe, given as ``-o name=value``; ``kind`` turns the text into a value.

    ``choices`` limits the values. ``numeric`` says that it can change the numbers measured, so that
    answers under different values are never mixed up.
    """

    name: str
    kind: Callable[[str], OptionValue]
    default: OptionValue
    help: str
    choices: tuple[str, ...] = ()
    numeric: bool = True
    #: it runs code or opens files that whoever gives it names: only for one who sits at the machine, so that
    #: a service that takes options from others refuses it
    local: bool = False


class Tokenizer(ABC):
    """Text to token ids and back. The core makes it; engines take ids only."""

    #: where it came from, as the report names it
    origin: str
    #: hash of its definition
    sha256: str
    bos_id: int | None
    eos_id: int | None

    @abstractmethod
    def encode(self, text: str, *, special: bool = True) -> TokenIds:
        """Token ids of ``text``; with ``special`` the tokenizer adds its own marks (BOS), if it has any."""

    def encode_many(self, texts: Sequence[str], *, special: bool = True) -> list[TokenIds]:
        """Token ids of each text; override it where many at once are quicker."""
        return [self.encode(text, special=special) for text in texts]

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, special tokens left out."""


#: what keys and values are held in where a model is computed in one of these
_BITS = {"float64": 64.0, "float32": 32.0}


class Backend(ABC):
    """A model in memory on one engine. Opened by making it, freed by ``close``.

    A plugin writes two files: ``__init__.py`` with the hook and a class that imports no engine, and
    ``engine.py`` with the work::

        class ToyBackend(Backend):
            name = "toy"
            def __init__(self, model, options): ...
            def model_info(self): ...
            def score(self, groups): ...
            def generate(self, prompts, settings, decode): ...

    ``score`` and ``generate`` answer in the order of what they were given, one at a time as soon as
    they are known. The same call gives the same bits whenever it is repeated.
    """

    #: what the user writes after ``--backend``
    name: ClassVar[str]
    #: the extra that brings the engine: ``pip install 'slmeval[EXTRA]'``; ``None`` where none is needed
    extra: ClassVar[str | None] = None
    #: among those that can run here, the highest is the default engine
    preference: ClassVar[int] = 0
    options: ClassVar[tuple[Option, ...]] = ()
    #: what it can do: "score", "generate", "sample" (draw tokens at a temperature), "top_logprobs", "memory",
    #: "time", "force" (time the decoding of given tokens), and later "profile"
    capabilities: ClassVar[frozenset[str]] = frozenset({"score", "generate"})
    #: the forms of a model that it opens: "folder" (config.json with its weights), "gguf" (one file),
    #: "server" (the address of one that answers)
    forms: ClassVar[tuple[str, ...]] = ("folder",)

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, in a few words, or ``None``. Must be cheap: no engine is imported."""
        return None

    @classmethod
    def environment(cls) -> tuple[tuple[str, ...], ...]:
        """What pip must do, one tuple of arguments for each call, to make an environment of the engine's own.

        None where the extra can be installed beside slmeval. Must be cheap.
        """
        return ()

    @classmethod
    def look_up(cls, model: ModelRef) -> Served:
        """A model of the form "server", as its server tells of it. Asked once, before anything is planned.

        :raises slmeval.errors.ModelMissing: nothing answers there, or there is no such model, and what to do.
        """
        raise NotImplementedError(f"backend {cls.name!r} opens no servers: {model}")

    @classmethod
    def fingerprint(cls, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
        """Everything but model and tokenizer that can change the numbers.

        ``engine`` and ``version``, and every option as it will be used ("auto" resolved). Asked in the
        worker's interpreter before any model is opened; answers are reused only where it is equal.
        """
        numeric = {option.name: options[option.name] for option in cls.options if option.numeric}
        return {"engine": cls.name, **numeric}

    @classmethod
    def import_engine(cls, options: Mapping[str, OptionValue]) -> None:
        """Import what opening a model needs: timed apart from it. By default nothing.

        Called once in a worker, before its first model is opened; errors as of opening one.
        """

    @classmethod
    def cache_bits(cls, options: Mapping[str, OptionValue]) -> float:
        """Bits of a key or value in its cache, as far as options tell; must be cheap.

        What is asked of a model is held against the memory that is free by it, before anything is opened.
        """
        return _BITS.get(str(options.get("dtype")), 16.0)

    @abstractmethod
    def __init__(self, model: ModelRef, options: Mapping[str, OptionValue]) -> None:
        """Load the weights; ``options`` holds every declared option.

        :raises slmeval.errors.ModelError: the model cannot be opened, and why, in one sentence.
        """

    @abstractmethod
    def model_info(self) -> ModelInfo:
        """What was opened."""

    def verify_tokenizer(self, tokenizer: Tokenizer) -> str | None:  # noqa: ARG002
        """The first difference between ``tokenizer`` and the engine's own, or ``None``."""
        return None

    @abstractmethod
    def score(self, groups: Sequence[ScoreGroup]) -> Iterator[tuple[Likelihood, ...]]:
        """For each group, one likelihood per continuation, in order. Groups come in prefix order.

        A context and a continuation together have at most one token more than the model's context: the
        last one is predicted, and is never an input.
        """

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        decode: Callable[[Sequence[int]], str],
    ) -> Iterator[Completion]:
        """Completions, in order. :class:`slmeval.stopping.Stopper` says when each one ends.

        Greedy ones at a temperature of 0; else, where it declares "sample", each drawn with its prompt's
        ``seed`` (:class:`slmeval.sampling.Sampler` draws from logits).
        """

    def top_logprobs(self, ids: TokenIds, k: int) -> Iterator[TopLogprobs]:
        """After each token of ``ids``, the ``k`` likeliest next tokens; declared as "top_logprobs".

        ``ids`` has at least one token and at most the model's context; ``k`` may be the whole vocabulary.
        """
        raise NotImplementedError(f"backend {self.name!r} does not declare top_logprobs")

    def time(self, workload: Workload) -> Iterator[Timing]:
        """Run ``workload`` once for each timing that is asked for, without end; declared as "time".

        What comes before the clock (the first ``depth`` tokens, copies to the device) is done before each
        run, and what was run before is forgotten: no run profits from another. The device is idle when the
        clock starts, and synchronized when a time is taken. Closing the iterator gives back its cache; until
        then :meth:`memory` tells of it.

        :raises ValueError: the workload does not fit the model.
        """
        raise NotImplementedError(f"backend {self.name!r} does not declare time")

    def memory(self) -> tuple[Reading, ...]:
        """What the engine itself knows of its memory now; declared as "memory".

        The scope of each reading begins with a part: "weights", "kv cache", "state" (of layers that keep one
        in place of keys), "compute" and "logits" are what is held, "active" and "peak" all that the engine
        holds, and held at most since it was opened; they may go on with a device, "weights (CPU)", say. All
        of these are in bytes. "kv cache room" is in tokens: for so many, all sequences together, is "kv
        cache". What an engine does not know of is left out.
        """
        raise NotImplementedError(f"backend {self.name!r} does not declare memory")

    def lacking(self) -> Mapping[str, str]:
        """Of the declared capabilities, those that this very model has not got, each with the reason.

        What needs one of them is reported as failed, with that reason, and the rest is measured.
        """
        return {}

    def notes(self) -> tuple[str, ...]:
        """What the report must say about how this was measured (a batch that was halved, say)."""
        return ()

    def close(self) -> None:
        """Give back the memory. Called once."""


# ---- questions -------------------------------------------------------------------------------------


class Task(ABC):
    """A set of questions. ``sample`` turns one row, with the rows shown as examples, into a question."""

    name: str
    version: str
    #: "multiple_choice", "likelihood" or "generation": what it asks of an engine is "score" or "generate"
    kind: str
    dataset: DatasetSpec
    #: shots when the user names none
    shots: int = 0
    filters: tuple[Use, ...] = ()
    metrics: tuple[Use, ...] = ()
    #: what guessing scores over the whole data set, where that is known
    chance: float | None = None
    #: the examples: "drawn" from the pool by the seed, or its "first" rows (lm-evaluation-harness's first_n)
    shot_order: Literal["drawn", "first"] = "drawn"
    #: a field in which rows that belong together are equal (one passage, one subject): they are no draws of
    #: their own, and comparisons take them as one
    cluster: str = ""
    #: a field in which the examples must equal the question asked
    shots_alike: str = ""
    #: the task whose examples these are, where it is not this one
    shots_as: str = ""
    #: rows whose choices repeat are asked wherever they come from, for each choice is told apart otherwise
    repeats_allowed: bool = False
    #: lm-evaluation-harness draws this task's shots as from the evaluated split (``--compat lm-eval``)
    lm_eval_same_split: bool = False
    #: lm-evaluation-harness shows no examples, whatever number is asked for
    lm_eval_zero_shot: bool = False

    def load(self, source: DataSource, split: str) -> Rows:
        """All rows of a split: those of ``source``, unless the task brings its own.

        :raises slmeval.errors.DataError: there are none, or they are damaged.
        """
        return source.load(self.dataset, split)

    def rotated(self) -> Task | None:
        """The same questions, each asked once for every place its choices can stand in.

        ``None`` where the prompt does not show the choices, so that they stand nowhere.
        """
        return None

    @abstractmethod
    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """The question of ``row`` after the examples ``shots``.

        :raises ValueError, KeyError, TypeError, IndexError: the row is not what this task needs; the core
            adds file and line.
        """


@dataclass(frozen=True)
class Demand:
    """The most that a probe asks of a model: sequences at once, and tokens of each."""

    tokens: int
    sequences: int = 1


class Session(ABC):
    """What a probe works with: one model on one engine, in a worker; it may be closed and opened again."""

    #: the model's folder, file or address
    model: ModelRef
    #: the longest sequence in tokens; a very large number where a server does not tell
    context: int
    seed: int
    #: each of the probe's options with its value
    settings: Mapping[str, OptionValue]
    #: what the worker knows of this machine's meters, by name
    meters: Mapping[str, type[Meter]]
    #: whether the worker is a process of its own: else what the process holds is not the model's alone
    own_process: bool

    @property
    @abstractmethod
    def beginning(self) -> Mapping[str, float]:
        """Seconds of what came before the model: "start" (of the interpreter), "engine" (its import).

        The import is told whole once a model has been opened.
        """

    @property
    @abstractmethod
    def backend(self) -> Backend:
        """The model, opened where it is not.

        :raises slmeval.errors.ModelError, slmeval.errors.JobFailed: it cannot be opened.
        """

    @abstractmethod
    def open(self) -> float:
        """Open the model anew, and say in how many seconds; where it is open it is closed first."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the model holds, if it is open."""

    @abstractmethod
    def lacks(self, capability: str) -> str | None:
        """Why the engine, or this very model on it, cannot do something ("time", say), or ``None``."""

    @abstractmethod
    def workload(
        self, prompt: int, new_tokens: int = 0, *, depth: int = 0, batch: int = 1, forced: bool = False
    ) -> Workload:
        """``batch`` sequences of random tokens by the seed: ``depth`` in the cache and ``prompt`` to be run.

        :raises slmeval.errors.JobFailed: they are longer than the model's context, and by how much.
        """

    @abstractmethod
    def timed(self, workload: Workload) -> AbstractContextManager[Callable[[], Timing]]:
        """A function that runs ``workload`` once; while it does, garbage collection waits.

        What it returns has been looked at: times are numbers, do not fall, and there are ``new_tokens``.

        :raises slmeval.errors.JobFailed: the engine gives no such times.
        """

    @abstractmethod
    def show_life(self) -> None:
        """To be called now and then (not while something is timed) where no timed run does it."""

    @abstractmethod
    def note_conditions(self) -> Conditions:
        """How the machine is now; kept with what is measured."""


@dataclass(frozen=True)
class Stream:
    """One figure, run after run without an end, so that two engines can be timed in turn.

    ``values`` has, of each run, the figure's value in each of its steps (from one token to the next, say) or
    in the whole of it, in ``unit``; the first run comes warm. Closing it gives back what it holds.
    """

    unit: str
    higher_is_better: bool
    values: Generator[Sequence[float], None, None]


class Probe(ABC):
    """A measurement of what a model costs, in two steps: what is measured is kept, figures are made of it.

    The core notes the machine's conditions before and after ``measure``.
    """

    name: str
    version: str
    options: tuple[Option, ...] = ()
    #: capabilities of a backend without which nothing of it can be measured
    needs: frozenset[str] = frozenset({"time"})
    #: workers in which it is measured, each a fresh one with nothing open; 0: one that probes share
    workers: int = 0

    def demand(self, settings: Mapping[str, OptionValue]) -> Demand | None:  # noqa: ARG002
        """The most it asks of a model, so that what does not fit is refused beforehand; ``None``: nothing."""
        return None

    @abstractmethod
    def measure(self, session: Session) -> Measurement:
        """Measure, in a worker.

        :raises slmeval.errors.JobFailed: it cannot be measured, and why.
        """

    def stream(self, session: Session, figure: str) -> Stream | None:  # noqa: ARG002
        """A figure of one run after another; ``None``: it takes a whole measurement.

        Runs may be shorter than those that are measured, for they are many, and another engine waits.

        :raises slmeval.errors.JobFailed: this engine or model has no such figure, and why.
        """
        return None

    @abstractmethod
    def figures(self, settings: Mapping[str, OptionValue], series: Mapping[str, Series]) -> Sequence[Figure]:
        """The figures that ``series``, by name, come to; nothing is opened for it.

        Values of several workers stand one after the other. Each figure has a value with its unit, n and
        95% interval, or is unavailable and says why in its note; the core takes no other.
        """


class Filter(ABC):
    """Finds the answer in what a model wrote."""

    name: ClassVar[str]

    @abstractmethod
    def find(self, text: str) -> str | None:
        """The answer in ``text``, or ``None`` when there is none."""

    def find_for(self, text: str, sample: Sample) -> str | None:  # noqa: ARG002
        """As :meth:`find`, knowing what was asked; for one who looks for the words of the question, say."""
        return self.find(text)


class Metric(ABC):
    """Scores one answer, and totals many: a figure never travels without its error."""

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = True
    #: every score lies between 0 and 1; where each is 0 or 1, the interval is Wilson's
    proportion: ClassVar[bool] = False
    #: how the total comes of the weighted mean of scores, so that runs can be compared item by item;
    #: ``None``: in another way, and they cannot
    scale: ClassVar[Scale | None] = "mean"

    @abstractmethod
    def score(self, answer: Answer) -> float | None:
        """One answer's score, or ``None`` where it has none."""

    def vote(self, answer: Answer) -> str | None:
        """What the answer counts as where several to one question vote; ``None`` for none at all."""
        return answer.found

    def weight(self, answer: Answer) -> float:  # noqa: ARG002
        """How much the answer's score counts (a text by its words, say)."""
        return 1.0

    def total(self, name: str, scores: Sequence[float], weights: Sequence[float]) -> Figure:  # noqa: ARG002
        """The mean with its standard error and 95% interval; a metric with weights of its own uses them."""
        return mean_figure(
            name,
            scores,
            unit=self.unit,
            proportion=self.proportion,
            higher_is_better=self.higher_is_better,
        )


# ---- what surrounds a run --------------------------------------------------------------------------


class Reporter(ABC):
    """Writes a run for a reader, and where it says so comparisons of runs and gates."""

    name: ClassVar[str]
    #: the ending of a file of this format, without the dot before it ("md", "bmf.json")
    suffix: ClassVar[str]
    #: what it can write: "run", "comparison", "gate"; the core asks it for nothing else
    writes: ClassVar[frozenset[str]] = frozenset({"run"})

    @abstractmethod
    def write(self, run: RunResult, out: TextIO) -> None:
        """Write the whole report of ``run``."""

    def write_comparisons(self, comparisons: Sequence[Comparison], out: TextIO) -> None:
        """Write what was found of each side against the first; declared as "comparison"."""
        raise NotImplementedError(f"format {self.name!r} does not write comparisons")

    def write_gate(self, report: GateReport, out: TextIO) -> None:
        """Write how each rule of a gate was answered; declared as "gate"."""
        raise NotImplementedError(f"format {self.name!r} does not write gates")


@dataclass(frozen=True)
class Launch:
    """How a worker starts: a command line for a transport that can run one, or a function that serves.

    ``backend`` is the engine that it will be asked for, for a transport whose other end chooses the command.
    """

    command: tuple[str, ...]
    serve: Callable[[BinaryIO, BinaryIO], None]
    backend: str = ""


class Channel(ABC):
    """A worker at the other end: frames out, frames in. A frame is bytes; what it says is the core's."""

    @abstractmethod
    def send(self, frame: bytes) -> None:
        """:raises OSError: the worker is gone."""

    @abstractmethod
    def receive(self, timeout: float) -> bytes | None:
        """The next frame; ``None`` when the worker is gone.

        :raises TimeoutError: nothing came within ``timeout`` seconds.
        """

    def locate(self, model: ModelRef, sha256: str) -> ModelRef:  # noqa: ARG002
        """Where the worker finds ``model``; a transport to another machine first brings it there.

        ``sha256`` is the hash of all that defines the model.

        :raises slmeval.errors.JobFailed: it cannot be brought there, and why.
        """
        return model

    @abstractmethod
    def last_words(self) -> str:
        """Why the worker is gone, as far as the transport knows: exit status, the end of its stderr."""

    @abstractmethod
    def close(self, *, kill: bool = False) -> None:
        """End the worker; with ``kill`` at once."""


class Executor(ABC):
    """Where workers live. It starts them and carries frames; it knows neither models nor tasks."""

    name: ClassVar[str]

    @abstractmethod
    def start(self, launch: Launch) -> Channel:
        """:raises slmeval.errors.UsageError: no worker can be started, and why."""


@dataclass(frozen=True)
class Reading:
    """What a meter read: a value with its unit, what it covers, and where it came from."""

    value: float
    unit: str
    seconds: float
    scope: str
    source: str


class Meter(ABC):
    """Reads energy, power or temperature between ``start`` and ``stop``."""

    name: ClassVar[str]

    @classmethod
    def missing(cls) -> str | None:
        """Why this machine cannot be read, or ``None``."""
        return None

    @abstractmethod
    def start(self) -> None:
        """Begin."""

    @abstractmethod
    def stop(self) -> Reading:
        """End, and say what was read."""


class Converter(ABC):
    """Makes one form of a model from another, quantized or not: ``slmeval convert MODEL NAME:FORM``."""

    name: ClassVar[str]
    #: the extra that brings what it needs: ``pip install 'slmeval[EXTRA]'``; ``None`` where nothing is needed
    extra: ClassVar[str | None] = None
    #: what it can write, as the user names it ("Q4_K_M", say)
    forms: ClassVar[tuple[str, ...]]
    #: the forms of a model that it reads, as in :attr:`Backend.forms`
    sources: ClassVar[tuple[str, ...]] = ("folder",)

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, in a few words, or ``None``. Must be cheap: no engine is imported."""
        return None

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """What makes the artefact, with its version: another version makes another artefact."""

    @abstractmethod
    def convert(self, model: ModelRef, form: str, folder: str) -> ModelRef:
        """Write ``model`` as ``form`` into the empty ``folder``, and say where it lies in there.

        An engine that may end its process does so in a process of its own.

        :raises slmeval.errors.ModelError: this model cannot be converted, and why.
        """


class Importer(ABC):
    """Turns another tool's results into runs."""

    name: ClassVar[str]

    @abstractmethod
    def read(self, document: Any) -> RunResult:
        """:raises slmeval.errors.DataError: the document is not of that tool."""
