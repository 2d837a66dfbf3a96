"""llama.cpp's library: loaded once, and what it says kept."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from ctypes import c_void_p
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import llama_cpp.llama_cpp as _library

#: levels of llama.cpp's log (``ggml_log_level``); the last one continues the line before
_DEBUG, _WARNING, _ERROR, _CONTINUED = 1, 3, 4, 5
#: opening a model says some 200 lines
_LINES_KEPT = 1000
#: what stands before the reason in a line that has it
_TELLING = r"(?:error loading model(?: \w+)?|failed to initialize the context)"


class Log:
    """The latest lines that llama.cpp logged; nothing of it reaches stderr."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=_LINES_KEPT)
        # llama.cpp holds a bare pointer to it
        self.callback = _library.llama_log_callback(self._take)

    def _take(self, level: int, text: bytes, _: Any) -> None:
        said = text.decode(errors="replace")
        if level == _CONTINUED and self._lines:
            level, before = self._lines.pop()
            said = before + said
        if level != _DEBUG:
            self._lines.append((level, said))

    def clear(self) -> None:
        """Forget what was said."""
        self._lines.clear()

    def lines(self, level: int = 0) -> Iterator[str]:
        """What was said, as important as ``level`` or more."""
        return (text.strip() for found, text in self._lines if found >= level)

    def reason(self) -> str:
        """The error that explains the others, without the names of llama.cpp's functions."""
        said = [*self.lines(_ERROR)] or [*self.lines(_WARNING)]
        telling = [line for line in said if re.search(rf"{_TELLING}: \S", line)]
        # that an opening failed says nothing that was not known
        telling = telling or [line for line in said if not re.search("failed to load", line)] or said
        return re.sub(rf"^((\w+|{_TELLING}): )+", "", telling[0]) if telling else "it does not say why"


@lru_cache(maxsize=1)
def log() -> Log:
    """The log of this process."""
    return Log()


@lru_cache(maxsize=1)
def library() -> Any:
    """llama.cpp, ready for use; its functions as ``include/llama.h`` names them."""
    # else a debugger speaks last where an assertion fails, if there is one on the machine
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    _library.llama_log_set(log().callback, c_void_p(0))
    _library.llama_backend_init()
    return _library


def engine_version() -> str:
    """The versions of llama-cpp-python and of the llama.cpp in it."""
    return f"{version('llama-cpp-python')} (llama.cpp {library().llama_version().decode()})"


def build_features() -> str:
    """What this build does its arithmetic with, as llama.cpp says: "CPU : AVX2 FMA", say."""
    said = library().llama_print_system_info().decode()
    return " ".join(part.strip().removesuffix(" = 1") for part in said.split("|") if part.strip())
