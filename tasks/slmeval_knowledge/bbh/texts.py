"""What stands before BBH's questions: a description and three worked examples for each subtask.

Others wrote these texts, so they are not in slmeval. They are read from ``bbh/cot_prompts.jsonl`` or
``bbh/texts.jsonl`` below ``--data`` where one is there, and else from lm-evaluation-harness. One row of the
first file has the prompt of one subtask, as the authors published it (a description, three questions with
worked answers)::

    {"task": "word_sorting", "prompt": "Put words in order.\\n\\nQ: ...\\nA: Let's think step by step.\\n...
     So the answer is bee oven.\\n\\nQ: ..."}

lm-evaluation-harness's texts follow from these byte for byte; its examples without the steps have what comes
after "So the answer is". A row of the other file, which ``slmeval data`` writes, has those of one family::

    {"task": "word_sorting", "family": "fewshot", "description": "Put words in order.\n\n",
     "examples": [{"input": "...", "target": "bee oven"}]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmeval import published
from slmeval.datasets import DataSource, Rows, made_rows
from slmeval.errors import DataError
from slmeval.types import DatasetSpec, Row

_PROMPTS = "cot_prompts"
_TEXTS = "texts"
_FIELDS = ("task", "family", "description", "examples")
_EXAMPLE = re.compile(r"(.*)\nA: Let's think step by step\.[ \n](.*)", re.DOTALL)
_ANSWER = re.compile(r".*\bso the answer is (.*)\.", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Texts:
    """The description, with what separates it, and the examples with ``input`` and ``target``."""

    description: str
    examples: Rows


def find_texts(source: DataSource, subtask: str, family: str) -> Texts:
    """The texts of a subtask in one of the families of lm-evaluation-harness ("cot_fewshot", say).

    :raises slmeval.errors.DataError: they cannot be had, or are not what they should be, and what to do.
    """
    spec = DatasetSpec("bbh", _PROMPTS, ("task", "prompt"), where=("task", subtask))
    if source.holds(spec, _PROMPTS):
        return _of_prompt(source.load(spec, _PROMPTS), steps=family.startswith("cot"))
    kept = DatasetSpec("bbh", _TEXTS, _FIELDS, licence="MIT")
    if source.holds(kept, _TEXTS):
        return _of_texts(source.load(kept, _TEXTS), subtask, family)
    file = f"bbh/{family}/{subtask}.yaml"
    definition = published.definition(file, f"the {subtask} prompts of bbh/{_PROMPTS}")
    found = _of_definition(definition, f"lm-evaluation-harness {published.release()} {file}")
    row = dict(zip(_FIELDS, (subtask, family, found.description, [*found.examples.rows]), strict=True))
    made = made_rows([row], f"lm-evaluation-harness {published.release()} bbh", file)
    source.offer(kept, _TEXTS, made, keys=("task", "family"))
    return found


def _of_texts(kept: Rows, subtask: str, family: str) -> Texts:
    at = next(
        (at for at, row in enumerate(kept.rows) if (row["task"], row["family"]) == (subtask, family)), None
    )
    if at is None:
        raise DataError(f"{kept.files[0].name} has no texts of {subtask} in family {family}")
    return _of_definition(
        {
            "description": kept.rows[at]["description"],
            "fewshot_config": {"samples": kept.rows[at]["examples"]},
        },
        kept.place(at),
    )


def _of_prompt(prompts: Rows, steps: bool) -> Texts:
    place = prompts.place(0)
    prompt = prompts.rows[0]["prompt"]
    if not isinstance(prompt, str):
        raise DataError(f"{place}: the prompt is no text")
    description, *shown = prompt.split("\n\nQ: ")
    examples = [_example(place, each, steps) for each in shown]
    return Texts(f"{description}\n\n", made_rows(examples, prompts.source, place))


def _example(place: str, shown: str, steps: bool) -> Row:
    if not (parts := _EXAMPLE.fullmatch(shown)):
        raise DataError(f'{place}: an example has no line that begins with "A: Let\'s think step by step."')
    question, worked = parts.groups()
    if steps:
        return {"input": question, "target": worked}
    if not (answer := _ANSWER.fullmatch(worked)):
        raise DataError(f'{place}: an example does not end in "So the answer is ... ."')
    return {"input": question, "target": answer[1]}


def _of_definition(definition: Mapping[str, Any], origin: str) -> Texts:
    description = definition.get("description")
    shown = (definition.get("fewshot_config") or {}).get("samples") or ()
    if not isinstance(description, str) or not _are_rows(shown):
        raise DataError(
            f"{origin} does not have the texts that lm-evaluation-harness {published.RELEASE} has there"
        )
    return Texts(description, made_rows(shown, origin, origin))


def _are_rows(shown: object) -> bool:
    return isinstance(shown, Sequence) and all(isinstance(row, Mapping) for row in shown)
