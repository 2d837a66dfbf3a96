"""What is refused before a model is opened: weights and cache are counted in the types that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from random_models import TINY_LLAMA, write_model
from safetensors.numpy import load_file, save_file
from scripted_session import settings_of

from slmeval.errors import ModelError
from slmeval.models import FoundModel
from slmeval.pairing import demo_model
from slmeval.planner import plan
from slmeval.registry import load
from slmeval.room import check_room
from slmeval.shape_reading import shape_of
from slmeval.types import ModelRef, RunOptions
from slmeval_llamacpp import LlamaCppBackend
from slmeval_runtime.memory import Memory

#: of 64 tokens in two layers, keys and values of two heads of 12
NUMBERS = 64 * 2 * 2 * 2 * 12
MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of float32 weights."""
    return write_model(tmp_path / "model", TINY_LLAMA)


def fits(folder: Path, dtype: str | None, free: int) -> bool:
    """Whether 64 tokens at 16 bits a number fit beside the weights."""
    found = FoundModel(ModelRef(str(folder)), folder, "hash", 64)
    try:
        check_room(Memory(), settings_of(Memory(), {"context": "64"}), found, 16.0, dtype, free)
    except ModelError as error:
        return "more memory than is free" not in str(error)
    return True


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(None, 4), ("auto", 4), ("float32", 4), ("bfloat16", 2), ("float16", 2), ("float64", 8), ("mxfp4", 4)],
)
def test_weights_are_counted_in_the_type_that_is_asked_for(
    folder: Path, dtype: str | None, size: int
) -> None:
    weights = sum(each.size for each in load_file(folder / "model.safetensors").values())
    need = weights * size + NUMBERS * 2
    assert fits(folder, dtype, need)
    assert not fits(folder, dtype, need - 1)


def test_weights_that_are_no_floats_are_counted_as_they_are_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("up_proj.weight"))
    save_file({**tensors, name: tensors[name].astype(np.int8)}, file)
    need = sum(each.size * 4 for each in tensors.values()) - tensors[name].size * 3 + NUMBERS * 2
    assert fits(folder, "bfloat16", need)
    assert not fits(folder, "bfloat16", need - 1)


@pytest.mark.parametrize(
    ("given", "bits"),
    [
        ({}, 16),
        ({"dtype": "float32"}, 32),
        ({"dtype": "float32", "kv_type": "f16"}, 16),
        ({"kv_type": "f32"}, 32),
        ({"kv_type": "bf16"}, 16),
        ({"kv_type": "q8_0"}, 8.5),
        ({"kv_type": "q5_1"}, 6),
        ({"kv_type": "q4_0"}, 4.5),
        ({"kv_type": "iq4_nl"}, 4.5),
        ({"kv_type": "q8_0", "kv_type_v": "f16"}, 12.25),
        ({"kv_type_v": "q4_0"}, 10.25),
    ],
)
def test_llama_cpps_cache_has_the_bits_of_its_types(given: Mapping[str, str], bits: float) -> None:
    defaults = {option.name: option.default for option in LlamaCppBackend.options}
    assert LlamaCppBackend.cache_bits({**defaults, **given}) == bits


@pytest.mark.parametrize(
    ("engine", "module", "cheap", "dear", "mib"),
    [
        # of 2,048 tokens 2,048 numbers each: 4 MiB in f16
        ("llamacpp", "llama_cpp", {"kv_type": "q4_0"}, {"kv_type": "f16"}, 3),
        ("llamacpp", "llama_cpp", {"kv_type": "f16"}, {"kv_type": "f32"}, 5),
        # 7 MiB of weights in 16 bits
        ("hf", "transformers", {"dtype": "float16"}, {"dtype": "float32"}, 10),
    ],
)
def test_a_run_that_asks_for_other_types_is_held_against_them(
    engine: str,
    module: str,
    cheap: dict[str, str],
    dear: dict[str, str],
    mib: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    model = demo_model("gguf" if engine == "llamacpp" else "folder")
    monkeypatch.setattr("slmeval.places.largest_memory", lambda: shape_of(model).weight_bytes() + mib * MIB)
    parts = load().parts

    def planned(options: dict[str, str]) -> int:
        wanted = RunOptions((engine,), (str(model),), ("memory",), engine_options=options)
        return len(plan(wanted, parts, lambda _: "hash").jobs)

    assert planned({"context": "2048", **cheap}) == 1
    with pytest.raises(ModelError, match="more memory than is free"):
        planned({"context": "2048", **dear})
