"""What a comparison of runs finds: frozen records, each with its error and how it was come by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Estimate:
    """A quantity with its interval.

    ``level`` is the interval's (0.95), ``n`` the items it was seen in, ``clusters`` how many groups of items
    were taken as drawn (0: each item for itself), ``method`` the interval's in a few words.
    """

    value: float
    low: float
    high: float
    stderr: float
    n: int
    method: str
    clusters: int = 0
    level: float = 0.95


@dataclass(frozen=True)
class Compared:
    """One side of a comparison: a model on an engine, in a run or a baseline."""

    run: str
    backend: str
    model: str
    #: as the reader is to call it: short, and another for each side
    label: str


@dataclass(frozen=True)
class Flip:
    """An item whose score a side changed.

    ``task`` is ``task@shots``; ``row`` its place in the data set, from 0; ``before`` and ``after`` are its
    scores. Row, margins (in nats) and prompt (the question alone, as plain text) are ``None`` where they are
    not known.
    """

    task: str
    figure: str
    item: str
    row: int | None
    before: float
    after: float
    margin_before: float | None = None
    margin_after: float | None = None
    prompt: str | None = None


@dataclass(frozen=True)
class FigureDifference:
    """One figure of one task on two sides, item by item.

    ``change`` is the second's value minus the first's. ``gained`` and ``lost`` count the items that the
    second side has better and worse; ``p`` is McNemar's, exact, where all scores are 0 or 1, and ``p_holm``
    the same corrected for the number of tasks. ``detectable`` is the smallest difference that these items
    would have shown in 80 of 100 cases. Where there is no estimate, ``note`` says why.
    """

    task: str
    shots: int | None
    figure: str
    unit: str
    higher_is_better: bool | None
    first: float | None
    second: float | None
    change: Estimate | None
    gained: int = 0
    lost: int = 0
    n: int = 0
    p: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    note: str = ""
    chat: Literal["off", "on"] = "off"

    @property
    def label(self) -> str:
        """``task@shots/figure``, as rules and reports name it; ``probe/figure``."""
        if self.shots is None:
            return f"{self.task}/{self.figure}"
        return f"{self.task}@{self.shots}{' in chat' if self.chat == 'on' else ''}/{self.figure}"


@dataclass(frozen=True)
class Comparison:
    """A side against the first one. ``notes`` say what was left out, and which items were compared."""

    first: Compared
    second: Compared
    figures: Sequence[FigureDifference]
    flips: Sequence[Flip] = ()
    notes: Sequence[str] = ()
