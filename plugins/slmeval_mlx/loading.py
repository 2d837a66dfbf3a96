"""Opening a checkpoint with mlx-lm, and saying in one sentence why it cannot be opened."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_map_with_path
from mlx_lm.utils import load_model

from slmeval.errors import ModelError
from slmeval.types import ModelRef, OptionValue
from slmeval_mlx.config import (
    check_activation,
    check_read,
    context_of,
    has_exact_gelu,
    in_mlx_words,
    lost_window,
    read_config,
    vocabulary_of,
)
from slmeval_mlx.memory import memory_guard
from slmeval_mlx.tensors import Tensors, read_tensors

#: what a checkpoint can make mlx-lm raise: its files say what is computed
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    ImportError,
    RuntimeError,
)
#: what the folder of a model on the hub needs
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


@dataclass(frozen=True)
class Checkpoint:
    """An opened model: its module, what its config says, and its tensors as stored.

    ``context`` and ``vocabulary`` are in tokens; ``window`` is a sliding window that is not computed.
    """

    model: Any
    folder: Path
    config: Mapping[str, Any]
    tensors: Tensors
    context: int
    vocabulary: int
    window: int | None


def open_checkpoint(ref: ModelRef, options: Mapping[str, OptionValue]) -> Checkpoint:
    """The weights of ``ref`` in memory, ready to be asked.

    :raises ModelError: they are missing, damaged, incomplete, or of an architecture that mlx-lm has not.
    :raises JobFailed: there is not enough memory.
    """
    folder = find_folder(ref)
    config, tensors = read_config(folder), read_tensors(folder)
    check_activation(config)
    try:
        model, config = load_model(folder, lazy=True, model_config=in_mlx_words(config, tensors))
        check_read(config, _fields_read(model))
        if has_exact_gelu(config):
            _take_exact_gelu(model)
        if options["dtype"] != "auto":
            _cast(model, getattr(mx, str(options["dtype"])))
        with memory_guard("the weights"):
            mx.eval(model.parameters())
    except UNREADABLE as error:
        raise ModelError(f"{ref} cannot be opened: {reason(error)}") from error
    return Checkpoint(
        model, folder, config, tensors, context_of(config), vocabulary_of(config), lost_window(config)
    )


def find_folder(ref: ModelRef) -> Path:
    """The folder of ``ref``; what is no folder is taken for a hub id.

    :raises ModelError: it is a file, or cannot be had.
    """
    place = Path(ref.location).expanduser()
    if place.is_file():
        raise ModelError(f"{ref.location} is a file, and the mlx backend opens folders and hub ids")
    if place.is_dir() and ref.revision:
        raise ModelError(f"{ref.location} is a folder, and has no revision {ref.revision!r}")
    if place.is_dir():
        return place
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", ref.location):
        raise ModelError(f"there is no folder {ref.location}")
    return _from_hub(ref)


def _from_hub(ref: ModelRef) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(ref.location, revision=ref.revision, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{ref} is neither a folder here nor to be had from the hub: {reason(error)}"
        ) from error


def _fields_read(model: Any) -> Collection[str]:
    """The fields of a config that this architecture reads."""
    arguments = sys.modules[type(model).__module__].ModelArgs
    return inspect.signature(arguments).parameters.keys()


def _take_exact_gelu(model: Any) -> None:
    """Pythia and its kin: mlx-lm's tanh approximation moves a sum of log-probabilities by some 5e-3."""
    from mlx_lm.models import gpt_neox

    class ExactMLP(gpt_neox.MLP):  # type: ignore[misc]  # mlx-lm ships no types
        def __call__(self, x: Any) -> Any:
            return self.dense_4h_to_h(nn.gelu(self.dense_h_to_4h(x)))

    for layer in model.layers:
        layer.mlp.__class__ = ExactMLP


def _cast(model: Any, dtype: Any) -> None:
    """Every floating number as ``dtype``, but for those that the architecture keeps as they are."""
    # as mlx-lm's own converter decides it
    wanted = getattr(model, "cast_predicate", lambda _: True)

    def cast(name: str, value: Any) -> Any:
        return value.astype(dtype) if wanted(name) and mx.issubdtype(value.dtype, mx.floating) else value

    model.update(tree_map_with_path(cast, model.parameters()))


def reason(error: BaseException) -> str:
    """Why mlx-lm could not open something, in a few words."""
    text = str(error).strip()
    if "trust_remote_code" in text:
        return "it brings Python code of its own, which the mlx backend does not run"
    if isinstance(error, TypeError) and "required positional" in text:
        names = ", ".join(re.findall(r"'(\w+)'", text))
        return f"its config.json does not say {names}"
    if isinstance(error, KeyError):
        return f"its config.json does not say {error.args[0]}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # mlx lists missing and superfluous tensors line by line under a heading
    short = " ".join([*lines[:4], f"and {len(lines) - 4} more"] if len(lines) > 5 else lines)
    return short.rstrip(".") or type(error).__name__
