"""A GGUF file on llama.cpp: opened, or refused with the reason."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmeval.errors import ModelError
from slmeval.gguf_file import GGUFHeader, read_gguf
from slmeval.types import ModelRef
from slmeval_llamacpp.native import library, log
from slmeval_llamacpp.settings import BLOCK, Settings, is_quantized
from slmeval_llamacpp.widen import widened


@dataclass(frozen=True)
class Loaded:
    """An opened model: llama.cpp's pointers to it and to its vocabulary, and the header of its file.

    ``context`` and ``vocabulary`` are counts of tokens; ``rewinds``: tokens can be taken back; ``said``: what
    llama.cpp logged.
    """

    pointer: Any
    vocab: Any
    path: Path
    header: GGUFHeader
    context: int
    vocabulary: int
    rewinds: bool
    device: str
    said: tuple[str, ...]

    def close(self) -> None:
        """Give back the weights."""
        library().llama_model_free(self.pointer)


def load(ref: ModelRef, settings: Settings) -> Loaded:
    """Load the weights.

    :raises ModelError: there is no such file, it is damaged, or llama.cpp cannot open it.
    """
    path = Path(ref.location)
    if not path.is_file():
        raise ModelError(f"{ref} is not a file here: llama.cpp opens a GGUF file")
    # a damaged file can end llama.cpp's process, so it is looked through before
    header = read_gguf(path)
    _check_cache(path, header, settings)
    with widened(path, header) if settings.widened else nullcontext(path) as file:
        pointer = _pointer(path, file, settings)
    try:
        return _checked(pointer, path, header, settings)
    except ModelError:
        library().llama_model_free(pointer)
        raise


def _check_cache(path: Path, header: GGUFHeader, settings: Settings) -> None:
    """A quantized cache that the heads do not fill ends the process where flash attention is off."""
    heads, width = (header.of_architecture(key) for key in ("attention.head_count", "embedding_length"))
    guess = width // heads if isinstance(heads, int) and isinstance(width, int) and heads else BLOCK
    for kv_type, key in ((settings.kv_type_k, "key_length"), (settings.kv_type_v, "value_length")):
        size = header.of_architecture(f"attention.{key}") or guess
        if is_quantized(kv_type) and isinstance(size, int) and size % BLOCK:
            raise ModelError(
                f"{path} has heads of {size} numbers, which blocks of {BLOCK} do not fill: "
                f"a cache of type {kv_type} cannot hold them; take -o kv_type=f16"
            )


def _pointer(named: Path, file: Path, settings: Settings) -> Any:
    llama = library()
    params = llama.llama_model_default_params()
    params.n_gpu_layers = settings.gpu_layers
    params.use_extra_bufts = settings.repack
    if settings.widened:
        # the file goes away
        params.load_mode = llama.LLAMA_LOAD_MODE_NONE
    log().clear()
    pointer = llama.llama_model_load_from_file(os.fsencode(file), params)
    if not pointer:
        raise ModelError(f"llama.cpp cannot open {named}: {log().reason()}")
    return pointer


def _checked(pointer: Any, path: Path, header: GGUFHeader, settings: Settings) -> Loaded:
    llama = library()
    if llama.llama_model_has_encoder(pointer) or llama.llama_model_is_diffusion(pointer):
        raise ModelError(
            f"{path} ({header.architecture}) does not write from left to right: it has no scores"
        )
    trained = llama.llama_model_n_ctx_train(pointer)
    if trained < 1:
        raise ModelError(f"{path} does not say how many tokens its context has")
    vocab = llama.llama_model_get_vocab(pointer)
    return Loaded(
        pointer=pointer,
        vocab=vocab,
        path=path,
        header=header,
        context=trained,
        vocabulary=llama.llama_vocab_n_tokens(vocab),
        rewinds=not (llama.llama_model_is_recurrent(pointer) or llama.llama_model_is_hybrid(pointer)),
        device=_device() if settings.gpu_layers else "cpu",
        said=tuple(log().lines()),
    )


def _device() -> str:
    """The devices that llama.cpp said it took."""
    found = [
        match[1] for line in log().lines() if (match := re.search(r"using device (\S+ \([^)]*\))", line))
    ]
    return ", ".join(dict.fromkeys(found)) or "cpu"
