"""A task on one page: multiple choice and free text, and which rows are shown as examples.

The prompt is put together as lm-evaluation-harness does: the description, each example as its question,
the delimiter, its answer and the separator, and then the question that is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from reprlib import repr as short
from typing import Any

from slmeval.api import Task
from slmeval.errors import DataError
from slmeval.types import DatasetSpec, Generate, Row, Sample, Score, Use

#: what every multiple-choice task is scored with
CHOICE_METRICS = tuple(
    Use(name) for name in ("acc", "acc_norm", "acc_bytes", "bits_per_byte", "margin", "chance")
)

# ---- fields of a row ---------------------------------------------------------------------------------


def text(row: Mapping[str, Any], name: str) -> str:
    """A field that must be a text, for a number or null would be asked about as if it were one.

    :raises ValueError: it is none.
    """
    if not isinstance(row[name], str):
        raise ValueError(f"{name} must be a text, not {short(row[name])}")
    return str(row[name])


def texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A field that must be a list of texts.

    :raises ValueError: it is none.
    """
    found = row[name]
    if not isinstance(found, (list, tuple)) or not all(isinstance(part, str) for part in found):
        raise ValueError(f"{name} must be a list of texts, not {short(found)}")
    return tuple(found)


def whole_number(row: Mapping[str, Any], name: str) -> int:
    """A field that must be a whole number, perhaps written as a text of digits.

    :raises ValueError: it is none.
    """
    found = row[name]
    if isinstance(found, str) and found.isdecimal():
        return int(found)
    if not isinstance(found, int) or isinstance(found, bool):
        raise ValueError(f"{name} must be a whole number, not {short(found)}")
    return found


# ---- tasks -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MultipleChoice(Task):
    """Which of the choices is the likeliest after the question? A task is one value::

        TOY = MultipleChoice(
            name="toy", version="1.0", dataset=DatasetSpec("toy", "test", ("q", "a", "right")),
            prompt=lambda row: f"Q: {row['q']}\\nA:",
            choices=lambda row: row["a"],
            gold=lambda row: row["right"],
        )

    ``prompt`` gives the question without its answer, ``choices`` the choices without the delimiter, and
    ``gold`` the index of the right one. ``lm_eval_same_split`` tells :func:`lm_eval_shots` how
    lm-evaluation-harness draws for this task.
    """

    name: str
    version: str
    dataset: DatasetSpec
    prompt: Callable[[Row], str]
    choices: Callable[[Row], Sequence[str]]
    gold: Callable[[Row], int]
    shots: int = 0
    description: str = ""
    delimiter: str = " "
    separator: str = "\n\n"
    metrics: tuple[Use, ...] = CHOICE_METRICS
    lm_eval_same_split: bool = False
    kind: str = field(default="multiple_choice", init=False)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request per choice, all after the same context.

        :raises ValueError: a choice that is no text or empty, or a right choice that is not there.
        """
        examples = (self._example(shot) for shot in shots)
        context = _few_shot_text(self, examples, self.prompt(row))
        choices, gold = self._checked(row)
        requests = tuple(Score(context, self.delimiter + choice) for choice in choices)
        return Sample(requests, gold, choices)

    def _example(self, row: Row) -> tuple[str, str]:
        choices, gold = self._checked(row)
        return self.prompt(row), choices[gold]

    def _checked(self, row: Row) -> tuple[tuple[str, ...], int]:
        given, gold = self.choices(row), self.gold(row)
        if isinstance(given, str):
            raise ValueError(f"the choices must be a list of texts, not the one text {short(given)}")
        choices = tuple(given)
        for place, choice in enumerate(choices):
            if not isinstance(choice, str) or not choice:
                raise ValueError(f"choice {place} must be a text that is not empty, not {choice!r}")
        if not isinstance(gold, int) or isinstance(gold, bool):
            raise ValueError(f"the right choice must be given as a whole number, not {short(gold)}")
        if not 0 <= gold < len(choices):
            raise ValueError(f"the right choice is given as {gold}, but there are {len(choices)}, from 0 on")
        return choices, gold


@dataclass(frozen=True)
class FreeText(Task):
    """What does the model write after the question, and does the answer in it match the right one?

    ``prompt`` gives the question without its answer, ``target`` the right answer as it is shown in an
    example. The model writes up to ``max_tokens`` tokens, until one of ``stop``; each of ``filters``
    looks for the answer in the text, and ``metrics`` compare what it found with the target.
    """

    name: str
    version: str
    dataset: DatasetSpec
    prompt: Callable[[Row], str]
    target: Callable[[Row], str]
    stop: tuple[str, ...]
    filters: tuple[Use, ...]
    metrics: tuple[Use, ...]
    max_tokens: int = 256
    shots: int = 0
    description: str = ""
    delimiter: str = " "
    separator: str = "\n\n"
    lm_eval_same_split: bool = False
    kind: str = field(default="generation", init=False)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request.

        :raises ValueError: a right answer that is no text or empty.
        """
        examples = ((self.prompt(shot), self._checked_target(shot)) for shot in shots)
        prompt = _few_shot_text(self, examples, self.prompt(row))
        return Sample((Generate(prompt, self.max_tokens, self.stop),), self._checked_target(row))

    def _checked_target(self, row: Row) -> str:
        target = self.target(row)
        if not isinstance(target, str) or not target:
            raise ValueError(f"the right answer must be a text that is not empty, not {target!r}")
        return target


def _few_shot_text(
    task: MultipleChoice | FreeText, examples: Iterable[tuple[str, str]], question: str
) -> str:
    shown = "".join(f"{asked}{task.delimiter}{answer}{task.separator}" for asked, answer in examples)
    if not isinstance(question, str):
        raise ValueError(f"the question must be a text, not {short(question)}")
    return f"{task.description}{shown}{question}"


# ---- which rows are shown as examples --------------------------------------------------------------


def fixed_shots(
    pool: Sequence[Row], rows: Iterable[Row], k: int, seed: int, task_name: str
) -> Iterator[tuple[Row, ...]]:
    """For each of ``rows`` its ``k`` examples: the same for every row, but never the row itself.

    The order of the pool depends on the seed and the task alone, so more shots begin with the fewer. A
    row counts as itself when it is equal, wherever it stands.

    :raises DataError: the pool is too small.
    """
    _check_enough(len(pool), k)
    ranks = Random(f"{task_name}:{seed}")
    # random() is the one method whose sequence Python promises to keep for ever
    keys = [ranks.random() for _ in pool]
    order = [pool[place] for place in sorted(range(len(pool)), key=keys.__getitem__)]
    for asked in rows:
        shots = tuple(islice((row for row in order if row != asked), k))
        _check_enough(len(shots), k)
        yield shots


def lm_eval_shots(
    pool: Sequence[Row], rows: Iterable[Row], k: int, seed: int, same_split: bool
) -> Iterator[tuple[Row, ...]]:
    """For each of ``rows`` the ``k`` examples that lm-evaluation-harness 0.4.13 would show.

    One stream of random numbers runs through all rows, so ``rows`` must be those that are evaluated, in
    their order. With ``same_split`` (its configuration names neither a few-shot nor a test split) one
    row more is drawn, and rows equal to the one asked are taken out; where copies of it leave too few,
    it draws again from the others (lm_eval/api/samplers.py).

    :raises DataError: the pool is too small.
    """
    drawn = k + 1 if same_split and k else k
    _check_enough(len(pool), drawn)
    stream = Random(seed)
    for asked in rows:
        shots = stream.sample(pool, drawn)
        if same_split:
            shots = [row for row in shots if row != asked][:k]
        if len(shots) < k:
            others = [row for row in pool if row != asked]
            _check_enough(len(others), k)
            shots = stream.sample(others, k)
        yield tuple(shots)


def _check_enough(rows: int, needed: int) -> None:
    if rows < needed:
        raise DataError(
            f"drawing the shots takes {needed} rows, and there are {rows} beside the question: "
            "ask for fewer with --shots"
        )
