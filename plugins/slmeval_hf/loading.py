"""Opening a checkpoint, and refusing one that transformers would open with a mere warning."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import cached_file, logging

from slmeval.errors import ModelError
from slmeval.types import ModelRef, OptionValue

#: what a checkpoint can make transformers raise: its files say what is computed
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    ImportError,
    RuntimeError,
    EOFError,
    SafetensorError,
    UnpicklingError,
    StrictDataclassError,
)


@dataclass(frozen=True)
class Checkpoint:
    """An opened model, the folder where its files lie, and what must be said about it."""

    model: PreTrainedModel
    folder: Path
    notes: tuple[str, ...]


def open_checkpoint(ref: ModelRef, options: Mapping[str, OptionValue], device: torch.device) -> Checkpoint:
    """The weights of ``ref`` on ``device``, ready to be asked.

    :raises ModelError: they are missing, damaged, incomplete, or not of a causal language model.
    """
    _check_place(ref)
    if device.type == "mps" and options["dtype"] == "float64":
        raise ModelError("float64 does not exist on mps: take -o dtype=float32 or -o device=cpu")
    with quiet():
        model, info = _explained(ref, lambda: _load(ref, options))
        _check_complete(ref, info)
        model = _explained(ref, lambda: model.to(device))
        folder = _explained(ref, lambda: _folder(ref))
    return Checkpoint(model.eval(), folder, _unused(info["unexpected_keys"]))


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no reports from transformers: what matters in these is checked or noted here."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _check_place(ref: ModelRef) -> None:
    place = Path(ref.location).expanduser()
    if place.is_file():
        raise ModelError(f"{ref.location} is a file, and the hf backend opens folders and hub ids")
    if place.is_dir() and ref.revision:
        raise ModelError(f"{ref.location} is a folder, and has no revision {ref.revision!r}")
    if not place.is_dir() and not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", ref.location):
        raise ModelError(f"there is no folder {ref.location}")


def _load(ref: ModelRef, options: Mapping[str, OptionValue]) -> tuple[PreTrainedModel, dict[str, Any]]:
    attention = options["attention"]
    loaded: tuple[PreTrainedModel, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(
        _name(ref),
        revision=ref.revision or "main",
        dtype=options["dtype"],
        attn_implementation=None if attention == "auto" else attention,
        trust_remote_code=options["trust_remote_code"],
        # else the names of the tensors are only in a report that goes to stderr
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return loaded


def _name(ref: ModelRef) -> str:
    place = Path(ref.location).expanduser()
    return str(place) if place.is_dir() else ref.location


def _folder(ref: ModelRef) -> Path:
    config = cached_file(_name(ref), "config.json", revision=ref.revision or "main")
    return Path(str(config)).parent


def _explained(ref: ModelRef, step: Callable[[], Any]) -> Any:
    try:
        return step()
    except UNREADABLE as error:
        raise ModelError(f"{ref} cannot be opened: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Why transformers could not open something, in a few words."""
    text = str(error).strip()
    if "trust_remote_code" in text:
        return "it brings Python code of its own; if you trust that code, allow it: -o trust_remote_code=true"
    if "connect to" in text and "cached" in text:
        return "it is neither a folder here nor a model in the hub's cache, and the hub cannot be reached"
    # the first sentence; what follows is advice for programmers
    first = re.split(r"\.\s|\.$|\n", text)[0].strip().removesuffix(":")
    return first or type(error).__name__


def _check_complete(ref: ModelRef, info: Mapping[str, Any]) -> None:
    # transformers fills both with random numbers, and warns
    if info["missing_keys"]:
        raise ModelError(f"{ref} has no weights for {_some(info['missing_keys'])}")
    if info["mismatched_keys"]:
        wrong = [_mismatch(entry) for entry in info["mismatched_keys"]]
        raise ModelError(f"{ref} has weights of a shape that its config.json denies: {_some(wrong)}")


def _mismatch(entry: str | tuple[str, Any, Any]) -> str:
    # transformers 4 gives the name alone
    if isinstance(entry, str):
        return entry
    name, stored, wanted = entry
    return f"{name} ({list(stored)} stored, {list(wanted)} wanted)"


def _unused(names: Collection[str]) -> tuple[str, ...]:
    return (f"the checkpoint holds tensors that the model does not use: {_some(names)}",) if names else ()


def _some(names: Collection[str], shown: int = 3) -> str:
    rest = len(names) - shown
    return ", ".join(sorted(names)[:shown]) + (f" and {rest} more" if rest > 0 else "")
