"""Opening a model on vLLM's engine, and closing it so that nothing is left."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from vllm import EngineArgs, LLMEngine
from vllm.distributed import cleanup_dist_env_and_memory

from slmeval.errors import JobFailed, ModelError, SlmevalError
from slmeval.types import ModelRef, OptionValue
from slmeval_vllm.drawing import Drawing, takes_our_rule
from slmeval_vllm.errors import UNREADABLE, is_lack_of_memory, reason
from slmeval_vllm.shape import context_of, dtype_of
from slmeval_vllm.surroundings import block_size_of, device, undisturbed

#: logits that one batch of a prompt may give, over all positions and the whole vocabulary
_LOGITS = 1 << 28
#: sequences, and tokens, that one batch holds at most
SEQUENCES, _BATCH = 256, 4096
#: the engines that this process has open, by their identity
_OPEN: set[int] = set()


@dataclass(frozen=True)
class Opened:
    """A model in memory, and the folder where its files lie.

    ``our_rule``: texts are drawn by the rule of all engines.
    """

    engine: LLMEngine
    config: Any
    folder: Path
    context: int
    vocabulary: int
    block: int
    our_rule: bool

    def close(self) -> None:
        """Give back memory, threads and files."""
        client = self.engine.engine_core
        _OPEN.discard(id(self.engine))
        finalizer = getattr(client, "_finalizer", None)
        if _OPEN and finalizer is not None:
            # the groups of processes are one for all engines of a process, and its own way out ends them
            finalizer.detach()
            client.engine_core.model_executor.shutdown()
            client.engine_core.scheduler.shutdown()
        else:
            client.shutdown()
        self.engine.renderer.shutdown()


def open_model(ref: ModelRef, options: Mapping[str, OptionValue]) -> Opened:
    """The weights of ``ref``, ready to be asked.

    :raises ModelError: they are missing, damaged, or not what vLLM can run.
    :raises JobFailed: there is not enough memory.
    """
    folder = Path(ref.location).expanduser()
    if not (folder / "config.json").is_file():
        raise ModelError(f"{ref.location} is no model folder: there is no config.json in it")
    try:
        with undisturbed(options):
            return _open(folder, options)
    except UNREADABLE as error:
        failure = _failure(ref, error)
    # only here, for the error held on to what had been opened
    gc.unfreeze()
    gc.collect()
    if not _OPEN:
        cleanup_dist_env_and_memory()
    raise failure


def _failure(ref: ModelRef, error: BaseException) -> SlmevalError:
    if is_lack_of_memory(error):
        return JobFailed(f"{ref} does not fit the memory: {reason(error)}")
    return ModelError(f"{ref} cannot be opened by vLLM: {reason(error)}")


def _open(folder: Path, options: Mapping[str, OptionValue]) -> Opened:
    context = context_of(folder)
    arguments = EngineArgs(**_arguments(folder, context, options))
    # only a whole configuration knows the shape of the model
    config = arguments.create_engine_config()
    vocabulary = int(config.model_config.get_vocab_size())
    arguments.max_num_batched_tokens = max(SEQUENCES, min(_BATCH, _LOGITS // vocabulary))
    if not _shares_gpu(options) and config.cache_config.kv_cache_memory_bytes is None:
        arguments.kv_cache_memory_bytes = _cache_bytes(config, context, options)
    our_rule = takes_our_rule(config)
    if our_rule:
        arguments.logits_processors = [Drawing]
    engine = LLMEngine.from_engine_args(arguments)
    _OPEN.add(id(engine))
    found = engine.vllm_config
    return Opened(engine, found, folder, context, vocabulary, int(found.cache_config.block_size), our_rule)


def _shares_gpu(options: Mapping[str, OptionValue]) -> bool:
    """Whether vLLM is to fill a part of a GPU, and not to be told how much."""
    return bool(options["memory_share"]) and device() == "cuda"


def _arguments(folder: Path, context: int, options: Mapping[str, OptionValue]) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if options["attention"] != "auto":
        more["attention_backend"] = str(options["attention"])
    if device() == "cuda":
        # where the size of the cache is given, it is only asked whether so much is free
        more["gpu_memory_utilization"] = float(options["memory_share"] or 0.1)
    return {
        "model": str(folder),
        # token ids go in and come out
        "skip_tokenizer_init": True,
        "trust_remote_code": bool(options["trust_remote_code"]),
        "dtype": dtype_of(folder, str(options["dtype"])),
        "tensor_parallel_size": options["tensor_parallel"],
        # the last token of a continuation is predicted and never read, but counts
        "max_model_len": context + 1,
        "max_num_seqs": SEQUENCES,
        "block_size": block_size_of(options),
        "enforce_eager": bool(options["eager"]),
        # a batch must follow from what is asked, and not from when the one before it ends
        "async_scheduling": False,
        "seed": 0,
        # a checkpoint's own settings for generation (a penalty, say) are not what is measured
        "generation_config": "vllm",
        "max_logprobs": -1,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **more,
    }


def _cache_bytes(config: Any, context: int, options: Mapping[str, OptionValue]) -> int:
    """Memory for the cache: the share asked for, or what the sequences under way need."""
    model, parallel = config.model_config, config.parallel_config
    free = _free_memory()
    if options["memory_share"]:
        return int(free * float(options["memory_share"]))
    if model.is_attention_free or model.is_hybrid:
        # the states of these are vLLM's secret
        return free // 4
    token = (
        2
        * model.get_num_layers(parallel)
        * model.get_num_kv_heads(parallel)
        * model.get_head_size()
        * torch.empty(0, dtype=model.dtype).element_size()
    )
    # the last block of each sequence is seldom full
    slack = 4 * int(config.cache_config.block_size or 16)
    least, wanted = context + slack, 2 * int(options["batch_tokens"] or 1) + slack
    return int(token * max(least, min(wanted, free // 4 // token)))


def _free_memory() -> int:
    if device() == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def collect() -> None:
    """Free what vLLM has let go of, and Python not yet."""
    gc.unfreeze()
    gc.collect()
