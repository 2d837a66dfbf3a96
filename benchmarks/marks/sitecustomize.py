"""Notes in the file ``BENCH_MARKS`` when weights are loaded and when the first forward pass is asked for.

A folder that is first on PYTHONPATH gets to run this in every Python process that is started, whoever starts
it: the same clock for the workers of one tool and the only process of another.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

#: by module: the class, its method, and what is noted before and after each call
PLACES = {
    "transformers.modeling_utils": ("PreTrainedModel", "from_pretrained", "loading", "loaded"),
    "slmeval_hf.engine": ("Engine", "score", "asked", ""),
    "lm_eval.models.huggingface": ("HFLM", "_model_call", "asked", ""),
}


def note(what: str) -> None:
    """One line: what, and the machine's own clock, which all processes share."""
    if what:
        with open(os.environ["BENCH_MARKS"], "a", encoding="utf-8") as file:  # noqa: PTH123  quick to start
            file.write(f"{what} {time.monotonic()}\n")


def noting(method: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    """``method``, with its calls noted."""

    @functools.wraps(method)
    def noted(*given: Any, **named: Any) -> Any:
        note(before)
        try:
            return method(*given, **named)
        finally:
            note(after)

    return noted


def wrap(module: ModuleType) -> None:
    """Note the calls of what PLACES names in ``module``."""
    owner, name, before, after = PLACES[module.__name__]
    kind = getattr(module, owner)
    held = vars(kind)[name]
    if isinstance(held, classmethod):
        setattr(kind, name, classmethod(noting(held.__func__, before, after)))
    else:
        setattr(kind, name, noting(held, before, after))


class Finder(MetaPathFinder):
    """Finds the modules of PLACES as the others do, and wraps them once they are loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As others find it; ``None`` for all other modules."""
        if fullname not in PLACES:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((each for each in found if each is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                wrap(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "BENCH_MARKS" in os.environ:
    sys.meta_path.insert(0, Finder())
