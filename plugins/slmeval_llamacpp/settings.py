"""The options as they will be used, and what else about this machine can change a number."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slmeval.errors import ModelError
from slmeval.number_types import bits_of
from slmeval.types import OptionValue
from slmeval_llamacpp.cache_types import kv_types
from slmeval_llamacpp.native import build_features, engine_version, library

#: ``ggml_type`` by its name
_GGML_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
#: tokens that are run at once: more take longer in trees of questions (docs/performance.md)
BATCH = 256
#: llama.cpp's own default
TIMED_BATCH = 512
#: weights in a block of each quantized type of the cache
BLOCK = 32


@dataclass(frozen=True)
class Settings:
    """Options with "auto" resolved; ``gpu_layers`` is -1 for all of them.

    What begins with ``timed_`` goes for what is timed, the rest for answers (and where there is none, for
    both): timed is llama.cpp as it comes. Flash attention has llama.cpp's numbers there, -1 lets it choose.
    """

    widened: bool
    kv_type_k: str
    kv_type_v: str
    flash_attention: bool
    threads: int
    gpu_layers: int
    batch_tokens: int
    repack: bool
    timed_batch_tokens: int
    timed_flash_attention: int

    @property
    def kv_types(self) -> tuple[int, int]:
        """The ``ggml_type`` of keys and of values."""
        return _GGML_TYPES[self.kv_type_k], _GGML_TYPES[self.kv_type_v]

    @property
    def kv_bits(self) -> tuple[float, float]:
        """The bits of a number in the keys and in the values, the scale of its block included."""
        return bits_of(self.kv_type_k), bits_of(self.kv_type_v)


def is_quantized(kv_type: str) -> bool:
    """Whether a type of the cache holds blocks."""
    return kv_type not in ("f32", "f16", "bf16")


def resolve(options: Mapping[str, OptionValue]) -> Settings:
    """The options as they will be used here.

    :raises ModelError: they cannot go together, or not here.
    """
    widened = options["dtype"] == "float32"
    keys, values = kv_types(options)
    flash = _flash_attention(str(options["flash_attention"]), values)
    # in exact arithmetic there is none
    chosen = options["flash_attention"] == "auto" and not widened
    return Settings(
        widened=widened,
        kv_type_k=keys,
        kv_type_v=values,
        flash_attention=flash,
        threads=int(options["threads"] or 0) or _cores(),
        gpu_layers=_gpu_layers(int(options["gpu_layers"] or 0)),
        batch_tokens=int(options["batch_tokens"] or 0) or BATCH,
        repack=_repack(bool(options["repack"])),
        timed_batch_tokens=int(options["batch_tokens"] or 0) or TIMED_BATCH,
        timed_flash_attention=-1 if chosen else int(flash),
    )


def _flash_attention(asked: str, values: str) -> bool:
    if asked == "off" and is_quantized(values):
        raise ModelError(
            f"cached values of type {values} need flash attention: leave out -o flash_attention=off, "
            "or take -o kv_type_v=f16"
        )
    # without it keys, values and weights are multiplied as they are; with it llama.cpp rounds on the way
    return asked == "on" or is_quantized(values)


def _gpu_layers(asked: int) -> int:
    if library().llama_supports_gpu_offload():
        return max(asked, -1)
    if asked > 0:
        raise ModelError(
            f"-o gpu_layers={asked} cannot be had: this llama-cpp-python sees no GPU; "
            "leave it out, or install a build for your GPU"
        )
    return 0


def _repack(asked: bool) -> bool:
    # with AMX, rearranged quantized weights end the process (llama-cpp-python 0.3.36)
    if asked and "AMX_INT8" in build_features().split():
        raise ModelError("-o repack=true ends llama.cpp on a CPU with AMX, as this one: leave it out")
    return asked


def _cores() -> int:
    """Cores that this process may use; two threads on one core wait for each other."""
    try:
        usable = os.sched_getaffinity(0)
    except AttributeError:
        return os.cpu_count() or 1
    folder = Path("/sys/devices/system/cpu")
    siblings = {_text(folder / f"cpu{cpu}" / "topology" / "thread_siblings", str(cpu)) for cpu in usable}
    return len(siblings)


def _text(path: Path, otherwise: str) -> str:
    try:
        return path.read_text()
    except OSError:
        return otherwise


def surroundings(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Versions, the build, and the options as they will be used.

    Threads stand in it for the CPU's part of the work: llama.cpp cuts some sums by their number.
    """
    settings = resolve(options)
    return {
        "version": engine_version(),
        "build": build_features(),
        "kv_type": settings.kv_type_k,
        "kv_type_v": settings.kv_type_v,
        "flash_attention": "on" if settings.flash_attention else "off",
        "threads": settings.threads if settings.gpu_layers >= 0 else None,
        "gpu_layers": settings.gpu_layers,
        "batch_tokens": settings.batch_tokens,
    }
