"""A context of llama.cpp: the cache of keys and values, and tokens run through the model."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import addressof
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slmeval.available import available_memory
from slmeval.errors import JobFailed, ModelError
from slmeval_llamacpp.loading import Loaded
from slmeval_llamacpp.memory import cache_bytes
from slmeval_llamacpp.native import library, log
from slmeval_llamacpp.packing import Pack
from slmeval_llamacpp.settings import Settings

#: numbers in the logits of one decode: 128 MiB
_LOGITS_AT_ONCE = 1 << 25
#: what comes of llama_decode, and what it means
_FAILURES = {1: "the cache is full", -1: "the batch is not valid", 2: "it was interrupted"}

FloatRows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Room:
    """What a context is made for: ``cells`` tokens, all sequences together.

    ``batch`` tokens are taken at once, and up to ``pass_tokens`` of them run in one pass; ``flash_attention``
    is llama.cpp's number, -1 to let it choose. ``apart``: each sequence has cells of its own, and what leaves
    a sliding window is let go; else a token can belong to several sequences, and all can be rewound.
    """

    cells: int
    sequences: int
    batch: int
    pass_tokens: int
    flash_attention: int
    apart: bool = False


class Context:
    """Room for tokens.

    :raises JobFailed: there is not enough memory.
    :raises ModelError: llama.cpp refuses these options for this model.
    """

    def __init__(self, loaded: Loaded, settings: Settings, room: Room) -> None:
        self._vocabulary = loaded.vocabulary
        self._outputs = room.sequences
        if not room.apart:
            self._outputs = max(room.sequences, _LOGITS_AT_ONCE // loaded.vocabulary)
        _check_memory(loaded, settings, room)
        log().clear()
        self._pointer = library().llama_init_from_model(
            loaded.pointer, _params(settings, room, self._outputs)
        )
        if not self._pointer:
            raise _no_context(loaded, settings, room)
        self.said = tuple(log().lines())
        self._memory = library().llama_get_memory(self._pointer)
        self.batch = library().llama_n_batch(self._pointer)
        #: the most rows of logits that a batch had: llama.cpp has reserved memory for so many
        self.rows = room.sequences
        self._arrays = Arrays(self.batch)
        self._seen, self._view = (0, 0), np.empty((0, 0), np.float32)

    @property
    def has_memory(self) -> bool:
        """Whether there is a cache at all: a model that writes has one."""
        return bool(self._memory)

    @property
    def cells(self) -> int:
        """Tokens that it has room for, all sequences together: llama.cpp rounds them up."""
        return int(library().llama_n_ctx(self._pointer))

    def close(self) -> None:
        """Give back the memory."""
        library().llama_free(self._pointer)

    # ---- the cache -----------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget all tokens."""
        library().llama_memory_clear(self._memory, False)

    def remove(self, sequence: int, start: int = 0) -> bool:
        """Forget a sequence's tokens from ``start`` on; False where this model cannot."""
        return bool(library().llama_memory_seq_rm(self._memory, sequence, start, -1))

    def keep_only(self, sequence: int) -> None:
        """Forget all other sequences."""
        library().llama_memory_seq_keep(self._memory, sequence)

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Let the tokens of ``source`` from ``start`` to ``end`` belong to ``target`` too."""
        if start < end:
            library().llama_memory_seq_cp(self._memory, source, target, start, end)

    def is_whole(self, sequence: int) -> bool:
        """Whether nothing of a sequence was let go, as models with a sliding window may."""
        return bool(library().llama_memory_seq_pos_min(self._memory, sequence) <= 0)

    # ---- tokens --------------------------------------------------------------------------------------

    def run(self, pack: Pack, shift: int = 0) -> Iterator[tuple[npt.NDArray[np.int64], FloatRows]]:
        """Run the tokens of ``pack``, as many at once as a batch holds.

        Gives the indices of wanted tokens with their logits, float32[n, vocabulary], which hold until the
        next are asked for. ``shift`` is added to each sequence.

        :raises JobFailed: llama.cpp cannot, and why.
        """
        columns = [np.asarray(c, np.int32) for c in (pack.tokens, pack.positions, pack.first, pack.counts)]
        wanted = np.asarray(pack.wanted, bool)
        for start, end in _pieces(wanted, self.batch, self._outputs):
            self._arrays.fill([column[start:end] for column in columns], wanted[start:end], shift)
            places = np.flatnonzero(wanted[start:end])
            self.decode(self._arrays)
            if len(places):
                yield places + start, self.logits(len(places))

    def decode(self, arrays: Arrays) -> None:
        """Run the tokens in ``arrays``; they may not be done with when this returns.

        :raises JobFailed: llama.cpp cannot, and why.
        """
        log().clear()
        code = library().llama_decode(self._pointer, arrays.batch)
        if code:
            why = _FAILURES.get(code) or log().reason()
            raise JobFailed(
                f"llama.cpp stopped ({code}): {why}; a smaller -o batch_tokens= takes less memory"
            )

    def synchronize(self) -> None:
        """Wait until all that was run is done, its logits included."""
        library().llama_synchronize(self._pointer)

    def logits(self, rows: int) -> FloatRows:
        """Those of the latest wanted tokens, float32[rows, vocabulary]; they hold until more are run."""
        pointer = library().llama_get_logits(self._pointer)
        # the array costs more than all else here, and llama.cpp rarely moves its numbers
        seen = (addressof(pointer.contents), rows)
        if seen != self._seen:
            self._seen, self._view = seen, np.ctypeslib.as_array(pointer, (rows, self._vocabulary))
            self.rows = max(self.rows, rows)
        return self._view


class Arrays:
    """A ``llama_batch`` whose arrays are numpy's: filled without a step of Python for each token."""

    def __init__(self, size: int) -> None:
        llama = library()
        self._columns = [np.zeros(size, np.int32) for _ in range(3)]
        #: int32[size], as all columns are; they may be changed between two batches of one kind
        self.tokens, self.positions, counts = self._columns
        self._wanted = np.zeros(size, np.int8)
        # a token's sequences are neighbours: it points into this row of numbers
        self._numbers = np.arange(llama.llama_max_parallel_sequences(), dtype=np.int32)
        self._sequences = np.zeros(size, np.uintp)
        self.batch = llama.llama_batch()
        for name, array in (
            ("token", self.tokens),
            ("pos", self.positions),
            ("n_seq_id", counts),
            ("seq_id", self._sequences),
            ("logits", self._wanted),
        ):
            kind = dict(llama.llama_batch._fields_)[name]
            setattr(self.batch, name, array.ctypes.data_as(kind))

    def fill(self, columns: list[npt.NDArray[np.int32]], wanted: npt.NDArray[np.bool_], shift: int) -> None:
        tokens, positions, first, counts = columns
        size = len(tokens)
        for mine, given in zip(self._columns, (tokens, positions, counts), strict=True):
            mine[:size] = given
        self._wanted[:size] = wanted
        step = self._numbers.itemsize
        self._sequences[:size] = self._numbers.ctypes.data + step * (first + shift).astype(np.uintp)
        self.batch.n_tokens = size


def _pieces(wanted: npt.NDArray[np.bool_], tokens: int, outputs: int) -> Iterator[tuple[int, int]]:
    """Cuts: no piece holds more than so many tokens, nor wants more than so many logits."""
    before = np.concatenate(([0], np.cumsum(wanted)))
    start = 0
    while start < len(wanted):
        full = int(np.searchsorted(before, before[start] + outputs, side="right")) - 1
        end = min(start + tokens, full, len(wanted))
        yield start, end
        start = end


def _params(settings: Settings, room: Room, outputs: int) -> Any:
    llama = library()
    params = llama.llama_context_default_params()
    params.n_ctx = room.cells
    params.n_batch, params.n_ubatch = room.batch, room.pass_tokens
    params.n_seq_max = room.sequences
    params.n_outputs_max = outputs
    params.n_threads = params.n_threads_batch = settings.threads
    params.flash_attn_type = room.flash_attention
    params.type_k, params.type_v = settings.kv_types
    # a token can belong to several sequences
    params.kv_unified = not room.apart
    # a sliding window that forgets could not be rewound
    params.swa_full = not room.apart
    return params


def _check_memory(loaded: Loaded, settings: Settings, room: Room) -> None:
    """llama.cpp writes to all of a cache at once, and a system that promised too much ends the process."""
    need, left = cache_bytes(loaded.header, settings, room.cells), available_memory()
    if not settings.gpu_layers and left is not None and need > left:
        raise _too_much(settings, room, f"{need / 1e9:.1f} GB, and {left / 1e9:.1f} are left")


def _too_much(settings: Settings, room: Room, why: str) -> JobFailed:
    types = " and ".join(dict.fromkeys((settings.kv_type_k, settings.kv_type_v)))
    less = "fewer or shorter sequences" if room.apart else "fewer shots"
    return JobFailed(
        f"not enough memory for a cache of {room.cells} tokens in {types} ({why}): "
        f"another -o kv_type= takes less, as do {less}, and fewer -o gpu_layers= of a GPU"
    )


def _no_context(loaded: Loaded, settings: Settings, room: Room) -> JobFailed | ModelError:
    why = log().reason()
    if "alloc" in why or "memory" in why:
        return _too_much(settings, room, why)
    return ModelError(f"llama.cpp cannot run {loaded.path} with these options: {why}")
