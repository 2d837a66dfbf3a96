"""One conversion by mlx-lm: ``python -m slmeval_mlx.convert MODEL FORM FOLDER [REVISION]``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlx_lm import convert

from slmeval.errors import ModelError, SlmevalError
from slmeval.types import ModelRef
from slmeval_mlx.config import check_activation, in_mlx_words, read_config
from slmeval_mlx.conversion import REFUSED
from slmeval_mlx.forms import FORMS, Form
from slmeval_mlx.loading import UNREADABLE, find_folder, reason
from slmeval_mlx.tensors import read_tensors

#: what mlx-lm writes anew, and must stay as it was: ids, and what a text is made of, depend on it
KEPT = ("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "*.jinja", "generation_config.json")
#: what mlx-lm or a model's config says of weights that are no plain numbers
QUANTIZED = ("quantization", "quantization_config")


def write(source: Path, form: Form, place: Path) -> None:
    """The model in ``source`` as ``form`` into ``place``, which is not there yet.

    :raises ModelError: mlx-lm cannot do that.
    """
    config, tensors = read_config(source), read_tensors(source)
    check_activation(config)
    quantized = any(config.get(name) for name in QUANTIZED)
    if quantized and form.bits:
        raise ModelError("it is quantized already: convert the model from which it was made")
    with TemporaryDirectory() as copy:
        _stage(source, Path(copy), {**config, **in_mlx_words(config, tensors)})
        _convert(Path(copy), form, place, dequantize=quantized)
    for pattern in KEPT:
        for file in source.glob(pattern):
            shutil.copyfile(file, place / file.name)
    if form.bits and not any(name.endswith(".scales") for name in read_tensors(place)):
        raise ModelError(
            f"no matrix has rows that are a multiple of {form.group} long, so that none was quantized: "
            "take a form with smaller groups"
        )


def _stage(source: Path, copy: Path, config: dict[str, Any]) -> None:
    """Links to the model's files, beside a config in mlx-lm's words: its converter takes no other."""
    for file in source.iterdir():
        if file.is_file() and file.name != "config.json":
            (copy / file.name).symlink_to(file.resolve())
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _convert(source: Path, form: Form, place: Path, *, dequantize: bool) -> None:
    try:
        convert(
            str(source),
            str(place),
            quantize=form.bits is not None,
            q_bits=form.bits,
            q_group_size=form.group,
            q_mode=form.mode,
            dtype=form.dtype,
            dequantize=dequantize,
        )
    except UNREADABLE as error:
        raise ModelError(reason(error)) from error


def main(model: str, form: str, folder: str, revision: str | None = None) -> int:
    """Convert; the reason for a refusal is the last line on stderr."""
    try:
        write(find_folder(ModelRef(model, revision)), FORMS[form], Path(folder))
    except SlmevalError as error:
        print(f"{REFUSED}{error}", file=sys.stderr)  # noqa: T201  this is how it answers
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
