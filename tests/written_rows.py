"""Rows in the schemas of data sets of which no rows are at hand: invented, with all sorts of spelling."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

#: each has something that a prompt could get wrong: spaces at its ends, quotes, marks, other scripts
_THINGS = (
    "a cat", "Snow ", " the sea", '"Ada"', "it's", "über-ice", "naïve", "rain.", "two  gaps", "x_y",
    "ice\ncream", "100%", "{{braces}}", "日本", "A. one", "tea; milk", "no?", "(so)", "emoji 🙂", "end:",
)  # fmt: skip


def _at(number: int, step: int) -> str:
    # steps without a common factor with the count never give the same twice in one row
    return _THINGS[(number + step) % len(_THINGS)]


def _openbookqa(number: int) -> Row:
    texts = [_at(number, step) for step in (3, 7, 11, 13)]
    key = "ABCD"[number % 4] if number % 5 else f" {'ABCD'[number % 4]}"
    stem = f"What {_at(number, 0)} turns to is"
    return {
        "id": str(number),
        "question_stem": stem,
        "choices": {"text": texts, "label": [*"ABCD"]},
        "answerKey": key,
    }


def _social_iqa(number: int) -> Row:
    answers = {f"answer{letter}": _at(number, step) for letter, step in zip("ABC", (3, 7, 11), strict=True)}
    context, question = f"Kim saw {_at(number, 0)}.", f"What does {_at(number, 1)} want next?"
    return {"context": context, "question": question, **answers, "label": str(number % 3 + 1)}


def _copa(number: int) -> Row:
    premise = f"{' ' * (number % 2)}Once there was {_at(number, 0)}.{' ' * (number % 3)}"
    choices = {"choice1": f"It met {_at(number, 3)}.", "choice2": f"Éva lost {_at(number, 7)}."}
    return {
        "premise": premise,
        **choices,
        "question": ("cause", "effect")[number % 2],
        "idx": number,
        "label": number % 2,
    }


def _sciq(number: int) -> Row:
    wrong = {
        f"distractor{place}": _at(number, step) for place, step in zip((1, 2, 3), (3, 7, 11), strict=True)
    }
    support = ("", "\n  It is known.", f"About {_at(number, 5)}. ")[number % 3]
    question = f"What is like {_at(number, 0)}?"
    return {"question": question, **wrong, "correct_answer": _at(number, 13), "support": support}


def _asdiv(number: int) -> Row:
    answer = (f"{number} (apples)", f"{number}.5 (cm (about))", "3:2", f"1,0{number:02}")[number % 4]
    body = f"{' ' * (number % 2)}Kim has {_at(number, 0)} and {number} more."
    return {"body": body, "question": f"How many of {_at(number, 3)}?", "answer": answer}


#: answers as they stand in a box, in all sorts of LaTeX
_BOXED = (
    *(r"\frac{3}{4}", r"\dfrac12", "[2,5)", "1,234", r"12\text{ cm}^2", r"\sqrt3", r"-\frac{\pi}{6}"),
    *(r"x^2+2x+1", r"\text{even}", r"\left(0,1\right)", "0.5", r"\$45", r"50\%", r"90^\circ", "x=7", "1,2,3"),
    *(r"\begin{pmatrix}1\\2\end{pmatrix}", r"2^{10}", r"\boxed{4}", r"10{,}000"),
)


def _math(number: int) -> Row:
    answer = _BOXED[number % len(_BOXED)]
    return {
        "problem": f"{_at(number, 0)}: what is $x$ when $x + {number} = {2 * number}$?",
        "level": f"Level {number % 5 + 1}",
        "type": "Algebra",
        "solution": f"First, $\\boxed{{{number}}}$.{' ' * (number % 2)}\nSo it is $\\boxed{{{answer}}}$.",
    }


#: the ends of the names of minerva_math's tasks
MINERVA = (
    *("_algebra", "_counting_and_prob", "_geometry", "_intermediate_algebra", "_num_theory", "_prealgebra"),
    *("_precalc", "500"),
)
#: by data set the evaluated split, and how a row is written
_WRITTEN: dict[str, tuple[str, Callable[[int], Row]]] = {
    "openbookqa": ("test", _openbookqa),
    "social_iqa": ("validation", _social_iqa),
    "copa": ("validation", _copa),
    "sciq": ("test", _sciq),
    "asdiv": ("validation", _asdiv),
    **{f"minerva_math{end}": ("test", _math) for end in MINERVA},
}
DATASETS = frozenset(_WRITTEN)


def write_rows(folder: Path) -> Path:
    """Ten rows of each data set to be asked, and the other ten to be shown."""
    for name, (split, row) in _WRITTEN.items():
        (folder / name).mkdir(parents=True)
        _write(folder / name / f"{split}.jsonl", (row(number) for number in range(10)))
        _write(folder / name / "train.jsonl", (row(number) for number in range(10, 20)))
    return folder


def _write(path: Path, rows: Iterator[Row]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
