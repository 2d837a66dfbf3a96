"""Choices that stand in an object with their labels, as the Allen Institute's data sets have them.

``"choices": {"text": ["a cork", "an iron nail"], "label": ["A", "B"]}, "answerKey": "B"``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmeval.tasks import text, texts
from slmeval.types import Row


def choices(row: Row) -> Sequence[str]:
    """The texts of the choices."""
    return texts(_held(row), "text")


def gold(row: Row) -> int:
    """The place of the choice with the label that is the answer.

    :raises ValueError: there is no such label, or the labels do not tell the choices apart.
    """
    labels, key = texts(_held(row), "label"), text(row, "answerKey").lstrip()
    if len(labels) != len(choices(row)):
        raise ValueError(f"there are {len(labels)} labels for {len(choices(row))} choices")
    if len(set(labels)) != len(labels):
        raise ValueError(f"a label is there twice: {', '.join(labels)}")
    if key not in labels:
        raise ValueError(f"answerKey {key!r} is none of the labels {', '.join(labels)}")
    return labels.index(key)


def _held(row: Row) -> Mapping[str, Any]:
    held = row["choices"]
    if not isinstance(held, dict):
        raise ValueError("choices must be an object with text and label")
    return held
