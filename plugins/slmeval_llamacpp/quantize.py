"""One GGUF file to another with llama.cpp's own quantizer, in a process of its own.

``python -m slmeval_llamacpp.quantize SOURCE TARGET FORM``: llama.cpp ends the process at some mistakes, which
must not be the caller's.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

from slmeval.errors import ModelError
from slmeval.gguf_file import FILE_TYPES

#: llama.cpp's numbers of the forms it can write
NUMBERS = {name: number for number, name in FILE_TYPES.items()}
#: numbers at full length, which any source may be turned to
PLAIN = ("F32", "F16", "BF16")
#: levels of llama.cpp's log: what is at or above this says why something failed
_WARNING = 3


def quantize(source: Path, target: Path, form: str) -> None:
    """Write ``source`` as ``form`` to ``target``.

    A quantized source is only ever turned to numbers at full length: its values stay what they are.

    :raises ModelError: llama.cpp cannot, and why.
    """
    places = (str(source.absolute()), str(target.absolute()))
    command = [sys.executable, "-m", "slmeval_llamacpp.quantize", *places, form]
    # -m looks in the current folder first, where a model may bring a numpy.py
    done = subprocess.run(
        command, cwd=target.parent, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode or not target.is_file():
        target.unlink(missing_ok=True)
        raise ModelError(f"llama.cpp cannot write {source} as {form}: {_reason(done)}")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing it said of an error, without the place in its source."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    told = [line for line in lines if "fail" in line or "error" in line.lower() or "require" in line]
    last = (told or lines or ["it said nothing"])[-1]
    return f"{last} (exit status {done.returncode})"


def main(source: str, target: str, form: str) -> int:
    """Do it here: 0 when it is done."""
    import llama_cpp

    os.environ.setdefault("GGML_NO_BACKTRACE", "1")

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def tell(level: int, text: bytes, _: ctypes.c_void_p) -> None:
        if level >= _WARNING:
            sys.stderr.write(text.decode(errors="replace"))

    llama_cpp.llama_log_set(tell, ctypes.c_void_p())
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = NUMBERS[form]
    params.allow_requantize = form in PLAIN
    names = (os.fsencode(source), os.fsencode(target))
    return int(llama_cpp.llama_model_quantize(*names, ctypes.byref(params)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
