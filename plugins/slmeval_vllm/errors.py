"""Why vLLM could not do something, in a few words."""

from __future__ import annotations

import re

from vllm.exceptions import VLLMError

#: what a checkpoint, an option or a lack of memory makes vLLM raise while it opens a model
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    ImportError,
    RuntimeError,
    NotImplementedError,
    MemoryError,
    EOFError,
    VLLMError,
)
#: what stops an engine that was running
STOPPED = (RuntimeError, MemoryError, VLLMError)
NO_NUMBERS = (
    "the model's logits are not numbers: its weights are damaged, or its numbers overflow "
    "(another --dtype may help)"
)


def reason(error: BaseException) -> str:
    """The first sentence of what ``error`` says."""
    text = str(error).strip()
    if "trust_remote_code" in text:
        return "it brings Python code of its own; if you trust that code, allow it: -o trust_remote_code=true"
    # pydantic says first how many errors there were, and in which class of vLLM's
    text = text.partition("Value error, ")[2] or text
    first = re.split(r"\.\s|\.$|\n| \[type=", text)[0].strip().removesuffix(":")
    return first or type(error).__name__


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether another machine, or less to hold, would do."""
    said = str(error).lower()
    told = ("out of memory", "free memory", "available memory", "cache memory")
    return isinstance(error, MemoryError) or any(words in said for words in told)
