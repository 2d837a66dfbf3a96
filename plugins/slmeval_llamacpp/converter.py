"""GGUF files in every form that llama.cpp's own quantizer writes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from slmeval.api import Converter
from slmeval.errors import ModelError
from slmeval.gguf_file import neighbours_of
from slmeval.types import ModelRef
from slmeval_llamacpp.quantize import PLAIN, quantize

#: the folder of llama.cpp's source, whose script reads what transformers writes
SOURCE = "LLAMA_CPP_SOURCE"
_SCRIPT = "convert_hf_to_gguf.py"


class LlamaCppConverter(Converter):
    """GGUF files, plain and quantized, by llama.cpp."""

    name = "llamacpp"
    extra = "llamacpp"
    # those that need an importance matrix are left out: IQ1 to IQ3, all but a few
    forms = (
        *PLAIN,
        *("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0"),
        *("IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K", "TQ2_0", "TQ1_0"),
    )
    sources = ("gguf", "folder")

    @classmethod
    def missing(cls) -> str | None:
        return "llama-cpp-python not installed" if find_spec("llama_cpp") is None else None

    @classmethod
    def version(cls) -> str:
        parts = [f"llama-cpp-python {version('llama-cpp-python')}"]
        if (script := _script()) is not None:
            parts.append(f"{_SCRIPT} {_hash_of(script)}")
        return ", ".join(parts)

    def convert(self, model: ModelRef, form: str, folder: str) -> ModelRef:
        """As the port says; a model folder is first written as GGUF by llama.cpp's script.

        :raises ModelError: llama.cpp cannot convert this model, or its script is not at hand.
        """
        source, target = Path(model.location), Path(folder) / f"model-{form}.gguf"
        home = source if source.is_dir() else source.parent
        if source.is_dir():
            plain = form if form in PLAIN else "F32"
            source = _written(source, Path(folder) / f"model-{plain}.gguf", plain)
        if source != target:
            quantize(source, target, form)
        if source.parent == target.parent and source != target:
            source.unlink()
        # with these beside it, a GGUF file is asked the same token ids
        for beside in neighbours_of(home / target.name):
            shutil.copyfile(beside, target.with_name(beside.name))
        return ModelRef(str(target))


def _script() -> Path | None:
    script = Path(os.environ.get(SOURCE, "")) / _SCRIPT
    return script if SOURCE in os.environ and script.is_file() else None


def _hash_of(script: Path) -> str:
    """A few digits of a hash over the script and the modules that know the architectures."""
    whole = hashlib.sha256()
    for file in (script, *sorted((script.parent / "conversion").glob("*.py"))):
        whole.update(file.name.encode() + file.read_bytes())
    return whole.hexdigest()[:12]


def _refuse_code(model: Path) -> None:
    """:raises ModelError: the model brings code, which the script would run for some families."""
    for name in ("config.json", "tokenizer_config.json"):
        if (model / name).is_file() and b'"auto_map"' in (model / name).read_bytes():
            raise ModelError(
                f"{model / name} names Python code of the model's own (auto_map), which {_SCRIPT} may run: "
                "if you trust it, run the script yourself, and convert what it writes"
            )


def _written(model: Path, target: Path, form: str) -> Path:
    """The folder ``model`` as a GGUF file of numbers at full length."""
    script = _script()
    if script is None:
        raise ModelError(
            f"{model} is a model folder, and llama.cpp's {_SCRIPT}, which writes it as GGUF, is not at hand: "
            f"name the folder of llama.cpp's source in the environment variable {SOURCE}, or give a GGUF file"
        )
    _refuse_code(model)
    arguments = [str(model.absolute()), "--outfile", str(target), "--outtype", form.lower()]
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not target.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(f"llama.cpp's {_SCRIPT} cannot write {model}: {(lines or ['no reason given'])[-1]}")
    return target
