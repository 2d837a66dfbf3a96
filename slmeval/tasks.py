"""A task on one page: multiple choice, the likelihood of a text, and free text.

The prompt is put together as lm-evaluation-harness does: the description, each example as its question,
the delimiter, its answer and the separator, and then the question that is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from reprlib import repr as short
from typing import Any, Literal

from slmeval.api import Task
from slmeval.datasets import DataSource, Rows
from slmeval.types import DatasetSpec, Generate, Rolling, Row, Sample, Score, Turns, Use

#: what every multiple-choice task is scored with
CHOICE_METRICS = tuple(
    Use(name)
    for name in ("acc", "acc_norm", "acc_bytes", "acc_corrected", "chance", "bits_per_byte", "margin")
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

    ``prompt`` gives the question without its answer, or one question for each choice; ``choices`` the
    choices without the delimiter; ``gold`` the index of the right one, or the indices of several.
    ``lm_eval_same_split`` tells :func:`lm_eval_shots` how lm-evaluation-harness draws for this task.
    """

    name: str
    version: str
    dataset: DatasetSpec
    prompt: Callable[[Row], str | Sequence[str]]
    choices: Callable[[Row], Sequence[str]]
    gold: Callable[[Row], int | Sequence[int]]
    shots: int = 0
    description: str = ""
    delimiter: str = " "
    separator: str = "\n\n"
    metrics: tuple[Use, ...] = CHOICE_METRICS
    chance: float | None = None
    shots_alike: str = ""
    lm_eval_same_split: bool = False
    lm_eval_zero_shot: bool = False
    cluster: str = ""
    kind: str = field(default="multiple_choice", init=False)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request per choice, all after the same context unless each has a question of its own.

        :raises ValueError: a choice that is no text or empty, or a right choice that is not there.
        """
        prompt = _prompts(self, map(self._example, shots))
        questions, choices, gold = self._checked(row)
        turns = {question: prompt(question) for question in questions}
        requests = tuple(
            _choice(turns[question], choice) for question, choice in zip(questions, choices, strict=True)
        )
        return Sample(requests, gold if len(gold) > 1 else gold[0], choices, _repeats("choice", requests))

    def _example(self, row: Row) -> tuple[str, str]:
        questions, choices, gold = self._checked(row)
        return questions[gold[0]], choices[gold[0]]

    def _checked(self, row: Row) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
        choices = _checked_texts("choice", self.choices(row))
        question = self.prompt(row)
        questions = (question,) * len(choices) if isinstance(question, str) else tuple(question)
        if len(questions) != len(choices) or not all(isinstance(each, str) for each in questions):
            raise ValueError(f"the question must be a text, or one for each choice, not {short(question)}")
        gold = self.gold(row)
        golds = tuple(gold) if isinstance(gold, Sequence) and not isinstance(gold, str) else (gold,)
        if not golds:
            raise ValueError("none of the choices is given as right")
        return questions, choices, tuple(_checked_index(each, len(choices)) for each in golds)


#: what each choice is called where the prompt shows the choices
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class LetteredChoice(Task):
    """Which letter is the likeliest after a question that shows its choices, each behind a letter?

    ``question`` gives what stands before the choices, ``choices`` what stands behind the letters, ``gold``
    the index of the right one.
    """

    name: str
    version: str
    dataset: DatasetSpec
    question: Callable[[Row], str]
    choices: Callable[[Row], Sequence[str]]
    gold: Callable[[Row], int]
    shots: int = 0
    description: str = ""
    delimiter: str = " "
    separator: str = "\n\n"
    metrics: tuple[Use, ...] = CHOICE_METRICS
    chance: float | None = None
    shot_order: Literal["drawn", "first"] = "drawn"
    lm_eval_same_split: bool = False
    repeats_allowed: bool = field(default=True, init=False)
    cluster: str = ""
    kind: str = field(default="multiple_choice", init=False)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request per letter, all after the same context.

        :raises ValueError: a choice that is no text or empty, or a right choice that is not there.
        """
        return self.turned(row, shots, 0)

    def turned(self, row: Row, shots: Sequence[Row], by: int) -> Sample:
        """The same question with its choices moved on by so many places, the last ones to the front."""
        question, choices, gold = self._checked(row)
        order = [(place - by) % len(choices) for place in range(len(choices))]
        letters = tuple(LETTERS[: len(choices)])
        shown = _lettered(question, [choices[each] for each in order])
        turns = _prompts(self, map(self._example, shots))(shown)
        requests = tuple(_choice(turns, letter) for letter in letters)
        return Sample(requests, order.index(gold), letters, _repeats("choice", choices))

    def rotated(self) -> Task:
        """The same questions with their choices in every place."""
        return Rotated(self)

    def _example(self, row: Row) -> tuple[str, str]:
        question, choices, gold = self._checked(row)
        return _lettered(question, choices), LETTERS[gold]

    def _checked(self, row: Row) -> tuple[str, tuple[str, ...], int]:
        choices = _checked_texts("choice", self.choices(row))
        if len(choices) > len(LETTERS):
            raise ValueError(f"there are {len(choices)} choices, and only {len(LETTERS)} letters")
        return _checked_question(self.question(row)), choices, _checked_index(self.gold(row), len(choices))


def _lettered(question: str, choices: Sequence[str]) -> str:
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    return "\n".join([question, *lines, "Answer:"])


@dataclass(frozen=True)
class Rotated(Task):
    """The questions of a lettered task, each asked once for every place its choices can stand in.

    A sample of k choices has k·k requests: the letters of the question as it is, then those with its
    choices moved on by one place, and so on. ``target`` is the place of the right choice in the data set.
    """

    task: LetteredChoice
    repeats_allowed: bool = field(default=True, init=False)
    kind: str = field(default="multiple_choice", init=False)

    def __post_init__(self) -> None:
        for name in ("version", "dataset", "shots", "shot_order", "cluster", "lm_eval_same_split"):
            object.__setattr__(self, name, getattr(self.task, name))
        object.__setattr__(self, "name", f"{self.task.name}/rotated")
        object.__setattr__(self, "shots_as", self.task.name)
        places = 5 if self.task.chance is None else round(1 / self.task.chance)
        picked = (Use("picked", {"place": at}, label=f"picked_{LETTERS[at]}") for at in range(places))
        object.__setattr__(self, "metrics", (Use("acc_rotated"), Use("same_choice"), *picked))

    def load(self, source: DataSource, split: str) -> Rows:
        """The rows of the task itself."""
        return self.task.load(source, split)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """Every rotation of the question.

        :raises ValueError: as the task itself.
        """
        plain = self.task.sample(row, shots)
        turns = [self.task.turned(row, shots, by) for by in range(len(plain.choices))]
        requests = tuple(request for turn in turns for request in turn.requests)
        return Sample(requests, plain.target, plain.choices, plain.flaw)


@dataclass(frozen=True)
class NextWords(Task):
    """How likely is the end of a text after its beginning?

    ``context`` gives the beginning, ``ending`` how it goes on, white space included.
    """

    name: str
    version: str
    dataset: DatasetSpec
    context: Callable[[Row], str]
    ending: Callable[[Row], str]
    metrics: tuple[Use, ...]
    shots: int = 0
    description: str = ""
    delimiter: str = " "
    separator: str = "\n\n"
    lm_eval_same_split: bool = False
    cluster: str = ""
    kind: str = field(default="likelihood", init=False)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request.

        :raises ValueError: an ending that is no text or empty.
        """
        context, ending = self._example(row)
        turns = _prompts(self, map(self._example, shots))(context)
        return Sample((Score(turns.text, ending, turns),), ending)

    def _example(self, row: Row) -> tuple[str, str]:
        ending = self.ending(row)
        if not isinstance(ending, str) or not ending:
            raise ValueError(f"the ending must be a text that is not empty, not {short(ending)}")
        return _checked_question(self.context(row)), ending


@dataclass(frozen=True)
class WholeText(Task):
    """How likely is a whole text? It is asked in windows that fill the model's context.

    ``text`` gives what the model reads, ``original`` the text whose words and bytes are counted.
    """

    name: str
    version: str
    dataset: DatasetSpec
    text: Callable[[Row], str]
    original: Callable[[Row], str]
    metrics: tuple[Use, ...]
    cluster: str = ""
    kind: str = field(default="likelihood", init=False)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request.

        :raises ValueError: a text that is empty, or examples, which nothing can be shown by.
        """
        if shots:
            raise ValueError(f"{self.name} has no questions, and so no examples: --shots 0")
        read, original = self.text(row), self.original(row)
        if not read or not original:
            raise ValueError("the text is empty")
        return Sample((Rolling(read),), original)


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
    cluster: str = ""
    kind: str = field(default="generation", init=False)

    def sample(self, row: Row, shots: Sequence[Row]) -> Sample:
        """One request.

        :raises ValueError: a right answer that is no text or empty.
        """
        examples = ((_checked_question(self.prompt(shot)), self._checked_target(shot)) for shot in shots)
        turns = _prompts(self, examples)(_checked_question(self.prompt(row)))
        request = Generate(turns.text, self.max_tokens, self.stop, turns)
        return Sample((request,), self._checked_target(row), asked=turns.question)

    def _checked_target(self, row: Row) -> str:
        target = self.target(row)
        if not isinstance(target, str) or not target:
            raise ValueError(f"the right answer must be a text that is not empty, not {target!r}")
        return target


# ---- what tasks have in common ---------------------------------------------------------------------


def _prompts(task: Any, examples: Iterable[tuple[str, str]]) -> Callable[[str], Turns]:
    """Makes a prompt of a question: before it stand the task's description, and answered examples."""
    return partial(_prompt, str(task.description), tuple(examples), task.delimiter, task.separator)


def _prompt(
    description: str, examples: tuple[tuple[str, str], ...], delimiter: str, separator: str, question: str
) -> Turns:
    return Turns(description, examples, question, delimiter, separator)


def _choice(turns: Turns, choice: str) -> Score:
    return Score(turns.text, turns.delimiter + choice, turns, turns.delimiter)


def _checked_question(question: object) -> str:
    if not isinstance(question, str):
        raise ValueError(f"the question must be a text, not {short(question)}")
    return question


def _checked_texts(what: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise ValueError(f"the {what}s must be a list of texts, not the one text {short(given)}")
    found = tuple(given)
    if not found:
        raise ValueError(f"there are no {what}s")
    for place, each in enumerate(found):
        if not isinstance(each, str) or not each:
            raise ValueError(f"{what} {place} must be a text that is not empty, not {each!r}")
    return found


def _checked_index(gold: object, choices: int) -> int:
    if not isinstance(gold, int) or isinstance(gold, bool):
        raise ValueError(f"the right choice must be given as a whole number, not {short(gold)}")
    if not 0 <= gold < choices:
        raise ValueError(f"the right choice is given as {gold}, but there are {choices}, from 0 on")
    return gold


def _repeats(what: str, given: Sequence[object]) -> str:
    """Which two are the same, if any."""
    first = {each: place for place, each in reversed(list(enumerate(given)))}
    twice = ((first[each], place) for place, each in enumerate(given) if first[each] != place)
    return next((f"{what} {one} and {what} {other} are the same" for one, other in twice), "")
