"""The four ways in which lm-evaluation-harness asks BBH's questions, and how it finds the answers.

The regular expressions, numbers and names are those of ``lm_eval/tasks/bbh`` in 0.4.13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slmeval.types import DatasetSpec, Use
from slmeval_knowledge.bbh.task import EXAMPLES, SUBTASKS, BbhTask

#: where the answer stands after steps that nobody showed how to write
_SAID = (
    r"((?<=The answer is )(.*)(?=.)|(?<=the answer is )(.*)(?=.)|(?<=The answer: )(.*)(?=.)"
    r"|(?<=The final answer: )(.*)(?=.))"
)
_YES_OR_NO = r"\b(Yes|No|yes|no)\b"
#: subtasks with an answer that a regular expression finds
_REGEXES = {
    "boolean_expressions": r"\b(True|False)\b",
    "causal_judgement": _YES_OR_NO,
    "navigate": _YES_OR_NO,
    "dyck_languages": r"(?<= )([\" \[\(<{}>\)\]]+)|([\" \[\(<{}>\)\]]+)",
    "formal_fallacies": r"\b(valid|invalid)\b",
}
#: subtasks with answers that are said in several ways
_MEANINGS = {
    "sports_understanding": {"no": "no|not plausible", "yes": "yes|plausible"},
    "web_of_lies": {
        "no": "no|does not tell the truth|is not telling the truth",
        "yes": "yes|tells the truth|is telling the truth",
    },
}
_NUMBERS = ("multistep_arithmetic_two", "object_counting")


def flexible(subtask: str, occurrence: int) -> Use:
    """What looks for the answer wherever it may stand; an ``occurrence`` of -1 takes the last one."""
    at, label = {"occurrence": occurrence}, "flexible-extract"
    if subtask in _REGEXES:
        return Use("regex", {"pattern": _REGEXES[subtask], **at}, label)
    if subtask in _MEANINGS:
        return Use("meaning", {"answers": _MEANINGS[subtask], **at}, label)
    if subtask in _NUMBERS:
        return Use("number_or_words", at, label)
    if subtask == "word_sorting":
        return Use("words_of_question", {}, label)
    # all other subtasks have choices behind letters
    return Use("shown_choice", at, label)


def _after_steps_shown(_: str) -> tuple[Use, ...]:
    return (Use("regex", {"pattern": "(?<=the answer is )(.*)(?=.)"}, "get-answer"),)


def _as_written(_: str) -> tuple[Use, ...]:
    return (Use("whole_text", {}, "none"),)


def _after_steps(subtask: str) -> tuple[Use, ...]:
    return flexible(subtask, -1), Use("regex", {"pattern": _SAID}, "strict-match")


def _at_once(subtask: str) -> tuple[Use, ...]:
    return Use("whole_text", {}, "strict-match"), flexible(subtask, 0)


#: without examples nobody shows the model how answers are spelled
_LENIENT = Use("exact_match", {"ignore_case": True, "regexes_to_ignore": (r"\.$", ",", r"\\", "\n", '"')})
_SHOWN_STOPS, _OPEN_STOPS = ("</s>", "Q", "\n\n"), ("</s>", "Q:", "<|im_end|>")


@dataclass(frozen=True)
class Family:
    """One way to ask: ``filters`` gives those of a subtask, ``averaged`` is the one that groups average."""

    name: str
    version: str
    cue: str
    filters: Callable[[str], tuple[Use, ...]]
    averaged: str
    metric: Use = _LENIENT
    stop: tuple[str, ...] = _OPEN_STOPS
    shots: int = 0
    max_tokens: int = 256
    delimiter: str = " "

    def task(self, subtask: str) -> BbhTask:
        """A subtask, asked in this way."""
        return BbhTask(
            name=f"bbh_{self.name}_{subtask}",
            version=self.version,
            subtask=subtask,
            family=self.name,
            dataset=_dataset(subtask, EXAMPLES if self.shots else None),
            cue=self.cue,
            stop=self.stop,
            filters=self.filters(subtask),
            metrics=(self.metric,),
            max_tokens=self.max_tokens,
            shots=self.shots,
            delimiter=self.delimiter,
            lm_eval_zero_shot=not self.shots,
        )


def _dataset(subtask: str, shots: str | None) -> DatasetSpec:
    return DatasetSpec(
        name=f"bbh_{subtask}",
        evaluation="test",
        shots=shots,
        fields=("input", "target"),
        hub="SaylorTwift/bbh",
        config=subtask,
        rows=SUBTASKS[subtask],
        licence="MIT",
        source="BIG-Bench Hard, Suzgun et al. 2022",
    )


_STEPS = " Let's think step by step."
FAMILIES = (
    Family(
        "cot_fewshot",
        "4.0",
        f"{_STEPS}\n",
        _after_steps_shown,
        "get-answer",
        metric=Use("exact_match"),
        stop=_SHOWN_STOPS,
        shots=3,
        max_tokens=1024,
        delimiter="",
    ),
    Family("fewshot", "2.0", "", _as_written, "none", metric=Use("exact_match"), stop=_SHOWN_STOPS, shots=3),
    Family("cot_zeroshot", "3.0", _STEPS, _after_steps, "flexible-extract"),
    Family("zeroshot", "3.0", "", _at_once, "flexible-extract"),
)
