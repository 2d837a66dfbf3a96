"""What a comparison of engines says: frozen values, each made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slmeval.types import OptionValue

#: what makes two engines differ
Kind = Literal[
    "tokenizer",
    "bos",
    "template",
    "truncation",
    "dtype",
    "kv_cache",
    "attention",
    "weights",
    "model",
    "engine",
    "rounding",
    "server",
]
#: "shown": proved from token ids, files or texts; "inferred": from the sizes of differences
Basis = Literal["shown", "inferred"]


@dataclass(frozen=True)
class SideReport:
    """One model on one engine. ``context`` is in tokens; what was never opened is ``None``."""

    name: str
    backend: str
    model: str
    reference: str
    model_hash: str
    tokenizer: str
    tokenizer_hash: str
    context: int
    engine: str | None
    dtype: str | None
    parameters: int | None
    options: Mapping[str, OptionValue]
    notes: tuple[str, ...]
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Spread:
    """Absolute differences of log-probabilities, in nats, over ``n`` requests.

    ``largest`` and ``mean`` are of sums over a continuation; those per token are over the ``tokens`` of
    continuations that are the same token ids on both sides, ``None`` where none are. ``worst`` names the
    request of the largest.
    """

    n: int
    largest: float
    mean: float
    worst: str
    tokens: int
    token_largest: float | None
    token_mean: float | None


@dataclass(frozen=True)
class Flip:
    """One question whose prediction is another one on the other side.

    Predictions are places of choices, from 0, or what was found in a text. ``margin`` is by how many nats the
    likeliest choice is ahead of the next; texts have none.
    """

    cell: str
    row: int
    first: int | str | None
    other: int | str | None
    first_margin: float | None
    other_margin: float | None


@dataclass(frozen=True)
class Flips:
    """Of ``n`` predictions, ``changed`` are others; ``shown`` are the first of them."""

    n: int
    changed: int
    shown: tuple[Flip, ...]


@dataclass(frozen=True)
class Parting:
    """The first of the texts that are not the same, and how each goes on from where they part.

    So many ``tokens`` are the same before, ``None`` where a server tells none.
    """

    cell: str
    row: int
    tokens: int | None
    first: str
    other: str


@dataclass(frozen=True)
class Texts:
    """Of ``n`` generated texts, ``equal`` are the same, to the last token where token ids can be compared."""

    n: int
    equal: int
    parting: Parting | None


@dataclass(frozen=True)
class Token:
    """One token on one side: its place among all that was asked, from 0; the text; the natural-log
    probability, ``None`` for what is only read."""

    position: int
    id: int
    text: str
    logprob: float | None


@dataclass(frozen=True)
class Line:
    """One line of a comparison token by token.

    Lines of one ``segment`` cover the same text; its last one has the ``difference`` of both sides, in nats,
    where both have log-probabilities.
    """

    part: Literal["context", "continuation"]
    segment: int
    first: Token | None
    other: Token | None
    difference: float | None


@dataclass(frozen=True)
class Divergence:
    """The first request on which the sides differ by more than rounding, token by token.

    ``first`` and ``other`` are the sums over the continuation in nats; a generated text has none.
    ``left_out`` lines, of equal tokens or far from the first that differ, are not among ``lines``.
    """

    cell: str
    row: int
    request: int
    first: float | None
    other: float | None
    lines: tuple[Line, ...]
    left_out: int


@dataclass(frozen=True)
class Cause:
    """One reason for a difference, with its evidence in one sentence.

    ``requests`` says how many of the ``n`` requests it touched, ``None`` where that cannot be told. One that
    touched none, or none by more than rounding, is a difference between the models all the same.
    """

    kind: Kind
    basis: Basis
    evidence: str
    requests: int | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """One side held against the first.

    ``equal_ids`` of the ``requests`` were asked with the same token ids, ``None`` where a server makes them.
    ``control`` holds the differences
    where both were asked the very same ids once more, for requests that were not. ``ruled_out`` and
    ``untold`` are sentences: what is no cause, and what cannot be told.
    """

    side: str
    against: str
    questions: int
    requests: int
    equal_ids: int | None
    scores: Spread | None
    same_ids: Spread | None
    control: Spread | None
    flips: Flips | None
    texts: Texts | None
    causes: tuple[Cause, ...]
    ruled_out: tuple[str, ...]
    untold: tuple[str, ...]
    divergence: Divergence | None


@dataclass(frozen=True)
class Gate:
    """A stated tolerance. ``found`` is ``None`` where nothing was compared, and then it is "inconclusive"."""

    name: Literal["tolerance", "max_flips"]
    side: str
    allowed: float
    found: float | None
    verdict: Literal["kept", "broken", "inconclusive"]


@dataclass(frozen=True)
class Asked:
    """One task as it was asked. ``sample``: of fewer rows than the data set has, or of bundled ones."""

    task: str
    version: str
    shots: int
    rows: int
    sample: bool
    source: str


@dataclass(frozen=True)
class Failed:
    """A side, or a part of it, that could not be measured, and why."""

    backend: str
    model: str
    reason: str


@dataclass(frozen=True)
class Parity:
    """The whole: who was asked what, how the others differ from the first, and why."""

    run: str
    started: str
    status: Literal["done", "failed", "interrupted"]
    demo: bool
    versions: Mapping[str, str]
    tasks: tuple[Asked, ...]
    sides: tuple[SideReport, ...]
    comparisons: tuple[Comparison, ...]
    gates: tuple[Gate, ...]
    failures: tuple[Failed, ...]
