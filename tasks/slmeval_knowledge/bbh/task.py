"""A subtask of BIG-Bench Hard, asked in one of the four ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from slmeval.api import Task
from slmeval.datasets import DataSource, Rows, made_rows
from slmeval.tasks import text
from slmeval.types import DatasetSpec, Generate, Row, Sample, Turns, Use
from slmeval_knowledge.bbh.texts import find_texts

#: each with the rows of its one split: 6,511 in all
SUBTASKS = {
    "boolean_expressions": 250,
    "causal_judgement": 187,
    "date_understanding": 250,
    "disambiguation_qa": 250,
    "dyck_languages": 250,
    "formal_fallacies": 250,
    "geometric_shapes": 250,
    "hyperbaton": 250,
    "logical_deduction_five_objects": 250,
    "logical_deduction_seven_objects": 250,
    "logical_deduction_three_objects": 250,
    "movie_recommendation": 250,
    "multistep_arithmetic_two": 250,
    "navigate": 250,
    "object_counting": 250,
    "penguins_in_a_table": 146,
    "reasoning_about_colored_objects": 250,
    "ruin_names": 250,
    "salient_translation_error_detection": 250,
    "snarks": 178,
    "sports_understanding": 250,
    "temporal_sequences": 250,
    "tracking_shuffled_objects_five_objects": 250,
    "tracking_shuffled_objects_seven_objects": 250,
    "tracking_shuffled_objects_three_objects": 250,
    "web_of_lies": 250,
    "word_sorting": 250,
}
#: the split that the worked examples are of
EXAMPLES = "examples"


@dataclass(frozen=True)
class BbhTask(Task):
    """What does the model write after the question? Free text whose description comes with its rows.

    ``family`` is lm-evaluation-harness's, and ``cue`` what stands after "A:". The rows that :meth:`load`
    gives have ``input``, ``target`` and ``description``, the examples only the first two.
    """

    name: str
    version: str
    subtask: str
    family: str
    dataset: DatasetSpec
    cue: str
    stop: tuple[str, ...]
    filters: tuple[Use, ...]
    metrics: tuple[Use, ...]
    max_tokens: int = 256
    shots: int = 0
    delimiter: str = " "
    lm_eval_zero_shot: bool = False
    shot_order: Literal["drawn", "first"] = field(default="first", init=False)
    kind: str = field(default="generation", init=False)

    def load(self, source: DataSource, split: str) -> Rows:
        """The rows of the subtask, each with the description, or the worked examples.

        :raises slmeval.errors.DataError: they are missing or damaged, and what to do.
        """
        if split == EXAMPLES:
            return find_texts(source, self.subtask, self.family).examples
        found = self._questions(source, split)
        description = find_texts(source, self.subtask, self.family).description
        rows = [{**_fields(row), "description": description} for row in found.rows]
        made = made_rows(rows, found.source, self.name)
        return replace(found, rows=made.rows, sha256=made.sha256)

    def _questions(self, source: DataSource, split: str) -> Rows:
        shared = DatasetSpec("bbh", split, ("task", *self.dataset.fields), where=("task", self.subtask))
        one_file = not source.holds(self.dataset, split) and source.holds(shared, split)
        return source.load(shared if one_file else self.dataset, split)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request.

        :raises ValueError: a field that is no text, or a right answer that is empty.
        """
        examples = tuple((self._question(shot), _target(shot)) for shot in shots)
        turns = Turns(text(row, "description"), examples, self._question(row), self.delimiter)
        request = Generate(turns.text, self.max_tokens, self.stop, turns)
        return Sample((request,), _target(row), asked=text(row, "input"))

    def _question(self, row: Row) -> str:
        return f"Q: {text(row, 'input')}\nA:{self.cue}"


def _fields(row: Row) -> dict[str, object]:
    """Those that a row has wherever it comes from, so that equal rows have equal hashes."""
    return {"input": row["input"], "target": row["target"]}


def _target(row: Row) -> str:
    target = text(row, "target")
    if not target:
        raise ValueError("the right answer must be a text that is not empty")
    return target
