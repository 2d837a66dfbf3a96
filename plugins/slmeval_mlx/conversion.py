"""The converter's parent side: it starts mlx-lm in a process of its own, and hears how it ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from slmeval.errors import ModelError
from slmeval.types import ModelRef
from slmeval_mlx.forms import FORMS

#: before the reason, on the last line of what the process says
REFUSED = "slmeval_mlx.convert: "


def converted(model: ModelRef, form: str, folder: str) -> ModelRef:
    """``model`` as ``form``, in a folder of that name in ``folder``.

    :raises ModelError: mlx-lm cannot convert it, and why.
    """
    if form not in FORMS:
        raise ModelError(f"mlx-lm has no form {form!r}: take one of {', '.join(FORMS)}")
    home = Path(folder).resolve()
    source = Path(model.location).resolve() if Path(model.location).exists() else model.location
    command = [sys.executable, "-m", "slmeval_mlx.convert", str(source), form, str(home / form)]
    if model.revision:
        command.append(model.revision)
    # in the empty folder: Python would import what lies in the current one
    ended = subprocess.run(command, cwd=home, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        raise ModelError(f"{model} cannot be converted to {form}: {_why(ended)}")
    return ModelRef(str(Path(folder) / form))


def _why(ended: subprocess.CompletedProcess[str]) -> str:
    last = (ended.stderr.strip().splitlines() or [""])[-1]
    if last.startswith(REFUSED):
        return last.removeprefix(REFUSED)
    if ended.returncode < 0:
        return f"the converter was ended by signal {-ended.returncode}, perhaps for want of memory"
    return f"the converter ended with {ended.returncode}: {last or 'no message'}"
