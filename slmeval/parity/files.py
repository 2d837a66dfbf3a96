"""What the models' files show: whether they are one model, and hold the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

from slmeval.errors import ModelError
from slmeval.models import FoundModel
from slmeval.parity import weights
from slmeval.parity.noise import Precision, precision_of
from slmeval.parity.shapes import shape_differences
from slmeval.parity.view import NOTHING, Findings, View
from slmeval.tokenizing import read_json


@dataclass(frozen=True)
class Files:
    """What was seen of both models.

    ``shapes``: what makes two models of them, in sentences. ``same_weights`` is ``None`` where that cannot be
    told; ``rounded`` is the coarser of two types in which the same weights are stored.
    """

    shapes: tuple[str, ...] = ()
    same_weights: bool | None = None
    rounded: Precision | None = None
    findings: Findings = NOTHING


def look_into(view: View) -> Files:
    """What the files show; weights are read only where an answer differs."""
    first, other = view.first.job.model, view.other.job.model
    if _same_files(first, other):
        same = "model and weights: both sides opened the same files"
        return Files(same_weights=True, findings=Findings(ruled_out=(same,)))
    infos = [side.report.info if side.report else None for side in view.sides]
    shapes = shape_differences(first, other, *infos)
    if not view.differs or not (_has_plain_weights(first) and _has_plain_weights(other)):
        return Files(shapes)
    try:
        return _compared(view, shapes)
    except (OSError, ModelError) as error:
        return Files(shapes, findings=Findings(untold=(f"the weights cannot be compared: {error}",)))


def _has_plain_weights(model: FoundModel) -> bool:
    """Whether its tensors are the weights themselves, by their usual names; quantized ones are another's."""
    if model.form != "folder":
        return False
    config = read_json(model.place / "config.json")
    return not any(config.get(name) for name in ("quantization", "quantization_config"))


def _same_files(first: FoundModel, other: FoundModel) -> bool:
    """Of a server the address alone is known."""
    return first.sha256 == other.sha256 and "server" not in (first.form, other.form)


def _compared(view: View, shapes: tuple[str, ...]) -> Files:
    first, other = view.first.job.model.place, view.other.job.model.place
    if weights.same_bytes(first, other, view.file_hash):
        return Files(
            shapes, True, findings=Findings(ruled_out=("weights: the files are the same to the byte",))
        )
    found = weights.compare(first, other)
    if found is None:
        return Files(shapes)
    if found.reshaped and shapes:
        return Files(shapes, False)  # two models: their tensors need not be told one by one
    if found.differing:
        told = f"{found.differing:,} of {found.tensors:,} tensors hold other numbers, first {found.first}"
        return Files(shapes, False, findings=view.cause("weights", "shown", told, len(view.pairs)))
    same = f"weights: all {found.tensors:,} tensors hold the same numbers"
    if not found.rounded:
        return Files(shapes, True, findings=Findings(ruled_out=(same,)))
    told = (
        f"the weights are stored as {found.rounded[0]} and as {found.rounded[1]}: the same but for rounding"
    )
    types = [named for text in found.rounded if (named := precision_of(text))]
    return Files(
        shapes,
        True,
        max(types, key=lambda each: each.ceiling(0).share, default=None),
        view.cause("dtype", "shown", told, view.touched)
        + Findings(ruled_out=(f"{same}, but for the rounding to another type",)),
    )
