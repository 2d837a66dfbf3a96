"""What a probe may be asked to vary, and the points at which it measures: each value with each other.

A figure's name has the values of those axes that have more than one: ``latency@prompt=512,batch=2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from slmeval.api import Demand, Option
from slmeval.option_kinds import counts, listed
from slmeval.types import OptionValue

Settings = Mapping[str, OptionValue]

_HOW = ": 1,4 or 1-16*2 or 0-2048+512"


@dataclass(frozen=True)
class Axis:
    """An option with one value or several, each at least ``least``."""

    name: str
    least: int
    help: str

    def option(self, default: str) -> Option:
        """What the user may give; an empty ``default`` is as the model allows."""
        return Option(self.name, partial(listed, least=self.least), default, f"{self.help}; or several{_HOW}")

    def single(self, default: str) -> Option:
        """The same of a probe that takes one value only."""
        return Option(self.name, partial(_single, least=self.least), default, self.help)

    def values(self, settings: Settings) -> tuple[int, ...]:
        """What was given, in that order."""
        return counts(str(settings[self.name]), self.least)


def _single(text: str, least: int) -> str:
    if len(counts(text, least)) > 1:
        raise ValueError("one value only")
    return listed(text, least)


PROMPT = Axis("prompt", 1, "tokens of each prompt")
DEPTH = Axis("depth", 0, "tokens that are in the cache before")
NEW_TOKENS = Axis("new_tokens", 2, "tokens that are decoded, two at least")
BATCH = Axis("batch", 1, "sequences at once")


@dataclass(frozen=True)
class Point:
    """What is run: ``label`` tells it from the other points of its probe."""

    prompt: int = 1
    depth: int = 0
    new_tokens: int = 0
    batch: int = 1
    label: str = ""

    def named(self, name: str) -> str:
        """The name of a figure or a series at this point."""
        return f"{name}@{self.label}" if self.label else name

    @property
    def tokens(self) -> int:
        """Tokens of each sequence at the end, as :attr:`slmeval.types.Workload.longest` has it."""
        return self.depth + self.prompt + max(self.new_tokens - 1, 0)


def points(
    settings: Settings, axes: Sequence[Axis], *, shown: Sequence[Axis] = (), **fixed: int
) -> tuple[Point, ...]:
    """All points, the last of ``axes`` going fastest; those of ``shown`` are always in the names."""
    values = {axis.name: axis.values(settings) for axis in axes}
    named = [axis.name for axis in axes if axis in shown or len(values[axis.name]) > 1]
    found = (dict(zip(values, each, strict=True)) for each in product(*values.values()))
    return tuple(
        Point(**each, **fixed, label=",".join(f"{name}={each[name]}" for name in named)) for each in found
    )


def demand(many: Sequence[Point]) -> Demand:
    """What all ``many`` points ask of a model at the most."""
    return Demand(max(point.tokens for point in many), max(point.batch for point in many))
