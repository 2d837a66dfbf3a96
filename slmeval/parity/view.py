"""What is looked at when causes are sought, and what is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from slmeval.parity.control import Control
from slmeval.parity.differences import Gap, gaps
from slmeval.parity.report import Basis, Cause, Kind
from slmeval.parity.sides import Pair, Side

FileHash = Callable[[Path], str]


@dataclass(frozen=True)
class View:
    """Two sides with all that was put to both, and the control."""

    pairs: tuple[Pair, ...]
    first: Side
    other: Side
    control: Control
    file_hash: FileHash

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both."""
        return self.first, self.other

    @cached_property
    def same_ids(self) -> tuple[Pair, ...]:
        """The requests that are known to have been asked with the same token ids."""
        return () if self.ids_unknown else tuple(pair for pair in self.pairs if pair.equal_ids)

    @cached_property
    def parted(self) -> tuple[Pair, ...]:
        """The generated texts that are not the same."""
        return tuple(pair for pair in self.pairs if pair.parts)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """The answers to the same token ids, those of the control included."""
        return (*gaps(self.same_ids), *self.control.gaps)

    @property
    def differs(self) -> bool:
        """Whether any answer is another one at all."""
        return bool(self.parted) or any(gap.difference > 0 for gap in (*gaps(self.pairs), *self.control.gaps))

    @property
    def ids_unknown(self) -> bool:
        """Whether a server makes the token ids of a side."""
        return any(side.by_server for side in self.sides)

    @property
    def all_seen(self) -> bool:
        """Whether all that was answered was answered to the same token ids as well."""
        seen = {pair.place for pair in self.same_ids} | {gap.place for gap in self.control.gaps}
        answered = [pair for pair in self.pairs if pair.comparable]
        return bool(answered) and all(pair.place in seen for pair in answered)

    @property
    def touched(self) -> int | None:
        """How many answers differ; ``None`` where some may do so for their ids alone."""
        differing = {gap.place for gap in self.gaps if gap.difference > 0}
        return len(differing | {pair.place for pair in self.parted}) if self.all_seen else None

    @property
    def one_program(self) -> bool:
        """Whether both sides are the same engine, of the same version."""
        ours, theirs = (side.program for side in self.sides)
        return ours is not None and ours == theirs

    @property
    def one_engine(self) -> bool:
        """Whether both sides are one program that computes in one way: then only models can differ."""
        settings = [
            (side.report.info.dtype, side.report.info.device, side.report.options)
            for side in self.sides
            if side.report and side.report.info
        ]
        return self.one_program and settings[0] == settings[1]

    def cause(self, kind: Kind, basis: Basis, evidence: str, requests: int | None) -> Findings:
        """One cause, as findings."""
        return Findings(causes=(Cause(kind, basis, evidence, requests, len(self.pairs)),))


@dataclass(frozen=True)
class Findings:
    """Causes, what is ruled out, and what cannot be told; two of them add up."""

    causes: tuple[Cause, ...] = ()
    ruled_out: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()

    def __add__(self, more: Findings) -> Findings:
        return Findings(self.causes + more.causes, self.ruled_out + more.ruled_out, self.untold + more.untold)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of the causes."""
        return frozenset(cause.kind for cause in self.causes)


#: what is found where nothing is
NOTHING = Findings()


def together(*parts: Findings) -> Findings:
    """All of them, in order."""
    whole = NOTHING
    for part in parts:
        whole += part
    return whole
