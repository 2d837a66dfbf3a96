"""Tasks whose rule is told by their examples alone.

A row has ``input`` (a text), ``choices`` (texts), ``label`` (the place of the right one) and ``rule`` (a
text): the examples before a question are those of its own rule, in the order of their file. A prompt is the
bare inputs, each with its right choice as the next word, with an empty line between them.

These tasks need no data set. Where the folder given with ``--data`` or the bundled sample holds rows they are
taken; otherwise they are generated, the same on every machine. Each generated rule has one question of its
own, so that rows differ in their examples too, and stands beside its mirror images: the same question and
examples under every other assignment of the choices. Whoever cannot read the examples is right on exactly
one of them, so guessing scores chance to the digit, whatever a model likes to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from slmeval.datasets import DataSource, Rows, made_rows
from slmeval.tasks import MultipleChoice, text, texts, whole_number
from slmeval.types import DatasetSpec, Row

#: how many examples each generated rule has
EXAMPLES = 24


@dataclass(frozen=True)
class Block:
    """One line of a prompt: the input, the choices for its next word, and the place of the right one."""

    input: str
    choices: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class Rule:
    """A question, and the examples that tell its rule, in the order in which they are shown."""

    question: Block
    examples: tuple[Block, ...]


@dataclass(frozen=True)
class Induction(MultipleChoice):
    """A task that generates its rows where the source has none: ``rules`` gives them, each time the same."""

    rules: Callable[[], Iterable[Rule]] = field(kw_only=True)
    shot_order: Literal["drawn", "first"] = "first"

    def load(self, source: DataSource, split: str) -> Rows:
        """The rows of ``source`` if it holds either split, or else generated ones.

        :raises slmeval.errors.DataError: it holds rows, but not of this split, or they are damaged.
        """
        splits = (self.dataset.evaluation, self.dataset.shots or self.dataset.evaluation)
        if any(source.holds(self.dataset, each) for each in splits):
            return source.load(self.dataset, split)
        return _generated(self.name, self.rules, split == self.dataset.evaluation, split)


def induction(name: str, rules: Callable[[], Iterable[Rule]], rows: int) -> Induction:
    """The task ``name``, of which ``rows`` questions are generated."""
    dataset = DatasetSpec(
        name=name,
        evaluation="test",
        shots="train",
        fields=("input", "choices", "label", "rule"),
        rows=rows,
        licence="Apache-2.0",
        source="slmeval, generated",
    )
    return Induction(name, "1.0", dataset, _prompt, _choices, _gold, shots=5, shots_alike="rule", rules=rules)


def _prompt(row: Row) -> str:
    return text(row, "input")


def _choices(row: Row) -> tuple[str, ...]:
    return texts(row, "choices")


def _gold(row: Row) -> int:
    return whole_number(row, "label")


@cache
def _generated(name: str, rules: Callable[[], Iterable[Rule]], asked: bool, split: str) -> Rows:
    rows = [row for number, rule in enumerate(rules()) for row in _rows(rule, f"{name}_{number}", asked)]
    return made_rows(rows, f"generated {name} 1.0", f"{name}/{split} (generated)")


def _rows(rule: Rule, name: str, asked: bool) -> Iterator[Row]:
    for block in (rule.question,) if asked else rule.examples:
        yield {"input": block.input, "choices": list(block.choices), "label": block.label, "rule": name}
