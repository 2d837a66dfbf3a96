"""Memory that runs out, told from other trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slmeval.errors import JobFailed

#: how MLX's allocators say that there is no more
OUT_OF_MEMORY = ("unable to allocate", "attempting to allocate", "insufficient memory", "out of memory")


@contextmanager
def memory_guard(what: str) -> Iterator[None]:
    """:raises JobFailed: there was not enough memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(
            words in str(error).lower() for words in OUT_OF_MEMORY
        ):
            raise
        raise JobFailed(
            f"memory ran out with {what}: take a smaller -o batch_tokens or -o prefill_step, "
            "-o kv_bits=8, or a smaller or quantized model"
        ) from error
