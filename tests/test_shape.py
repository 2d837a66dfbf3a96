"""Shapes from configurations, safetensors and GGUF headers, and the arithmetic of their memory and work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import TINY_LLAMA, write_model
from safetensors.numpy import load_file, save_file
from survey_models import (
    COMPUTE_BUFFERS,
    DEEPSEEK,
    GEMMA_2,
    GEMMA_3,
    MINICPM3,
    MIXTRAL,
    MODELS,
    OPENELM,
    PHI_3_4K,
    PUBLISHED,
    QWEN_MOE,
    RECURRENT,
    gpt2,
    llama,
    opt,
)

from slmeval.errors import ModelError, UsageError
from slmeval.gguf_file import GGUFHeader, Tensor
from slmeval.inspection import attention_kind
from slmeval.number_types import bits_of, is_mixture
from slmeval.shape import FeedForward, Shape
from slmeval.shape_of_config import shape_of_config
from slmeval.shape_of_gguf import shape_of_gguf
from slmeval.shape_reading import shape_of
from slmeval.work import Numbers, decode, decode_ceiling, prefill

DEMO = Path(__file__).parents[1] / "slmeval" / "demo"
MIB = 2**20
SIXTEEN = Numbers(16.0)


def planned(config: dict[str, Any]) -> Shape:
    return shape_of_config(config, "config.json")


def looks(shape: Shape) -> str | None:
    return attention_kind([layer.attention for layer in shape.layers])


# ---- the survey's table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_arithmetic_of_the_surveys_table(name: str) -> None:
    config, figures = MODELS[name]
    shape = planned(config)
    weights, cache = shape.weight_bytes(16), shape.kv_bytes(32_000)
    bits = 8 * MIB * figures.four_bits / shape.parameters if figures.four_bits else 4.85
    four = shape.weight_bytes(bits)
    assert shape.parameters == figures.parameters
    assert shape.kv_bytes(1) == figures.kv_bytes
    assert weights / MIB == pytest.approx(figures.mib, abs=0.5)
    assert 100 * shape.embedding_share == pytest.approx(figures.embedding, abs=0.05)
    assert cache / MIB == pytest.approx(figures.kv_mib, abs=0.51)
    assert 100 * cache / (cache + weights) == pytest.approx(figures.share, abs=0.5)
    assert 100 * cache / (cache + four) == pytest.approx(figures.share_four, abs=0.5)
    assert shape.context_at_share(0.8, 16) == pytest.approx(1000 * figures.thousands, abs=500)
    assert shape.context_at_share(0.8, bits) == pytest.approx(1000 * figures.thousands_four, abs=500)


def test_phi_3_with_its_short_context_keeps_no_more_than_its_window() -> None:
    """The survey's row is of a window longer than any context; the 4k model's is 2,047 tokens."""
    shape = planned(PHI_3_4K)
    assert shape.parameters == MODELS["Phi-3-mini"][1].parameters
    assert shape.kv_bytes(32_000) == shape.kv_bytes(2047) == 2047 * 393_216
    assert shape.context_at_share(0.8, 16) is None


@pytest.mark.parametrize(
    ("name", "millions"), [("Qwen1.5-0.5B", 619.6), ("Bloom-560M", 816.1), ("Bloom-1B1", 1450.7)]
)
def test_llama_cpp_counts_a_tied_head_twice_where_a_file_holds_it_so(name: str, millions: float) -> None:
    shape = planned(MODELS[name][0])
    assert shape.parameters_untied / 1e6 == pytest.approx(millions, abs=0.05)
    assert shape.parameters < shape.parameters_untied


@pytest.mark.parametrize("name", COMPUTE_BUFFERS)
def test_the_compute_buffer_is_near_what_llama_cpp_allocated(name: str) -> None:
    estimate = planned(MODELS[name][0]).compute_bytes(2048)
    assert estimate is not None
    # one of the 16 is off by 9 MiB, and nobody knows why
    slack = 9.5 if name == "Pythia-2.8B" else 3
    assert estimate / MIB == pytest.approx(COMPUTE_BUFFERS[name], abs=slack)


# ---- other families --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_the_parameters_that_are_published(name: str) -> None:
    config, parameters, mib = PUBLISHED[name]
    shape = planned(config)
    assert shape.parameters == parameters
    assert shape.kv_bytes(2048) == mib * MIB


def tiny(kind: str, **more: Any) -> dict[str, Any]:
    return {**llama(6, 64, 4, 2, 96, 320), "model_type": kind, "max_position_embeddings": 64, **more}


LATENT = {
    "num_key_value_heads": 4, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
    "v_head_dim": 12, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
SHARED = {**EXPERTS, "shared_expert_intermediate_size": 48}
#: small models of each family, with the fields that change which weights there are
SMALL = {
    "llama with biases": tiny("llama", attention_bias=True, mlp_bias=True, head_dim=32),
    "mistral": tiny("mistral", sliding_window=16),
    "qwen2": tiny("qwen2", use_sliding_window=True, sliding_window=16, max_window_layers=2),
    "qwen3": tiny("qwen3", attention_bias=True, head_dim=32, tie_word_embeddings=True),
    "qwen3 by itself": tiny("qwen3"),
    "smollm3": tiny("smollm3", pad_token_id=0),
    "granite": tiny("granite"),
    "phi3": tiny("phi3", pad_token_id=0, sliding_window=16),
    "olmo": tiny("olmo", attention_bias=True),
    "olmo2": tiny("olmo2"),
    "gemma": tiny("gemma"),
    "gemma2": tiny("gemma2", attention_bias=True, head_dim=32),
    "gemma3": tiny("gemma3_text", head_dim=32, sliding_window=16),
    "stablelm": tiny("stablelm", qk_layernorm=True, use_qkv_bias=True),
    "stablelm, parallel": tiny("stablelm", use_parallel_residual=True),
    "phi": tiny("phi", qk_layernorm=True),
    "gpt_neox": tiny("gpt_neox", attention_bias=False),
    "galactica": {
        **opt(6, 64, 4), "enable_bias": False, "layer_norm_elementwise_affine": False, "vocab_size": 320,
    },
    "opt, narrow": opt(6, 64, 4, word_embed_proj_dim=32, do_layer_norm_before=False),
    "gpt2": gpt2(6, 64, 4),
    "mixtral": tiny("mixtral", num_local_experts=4, num_experts_per_tok=2),
    "qwen2_moe": tiny(
        "qwen2_moe", **SHARED, decoder_sparse_step=1, mlp_only_layers=[1]
    ),
    "qwen3_moe": tiny("qwen3_moe", **EXPERTS, head_dim=16, decoder_sparse_step=2, mlp_only_layers=[]),
    "deepseek_v2": tiny("deepseek_v2", **LATENT, q_lora_rank=None, n_shared_experts=2),
    "deepseek_v3": tiny("deepseek_v3", **LATENT, q_lora_rank=24, n_shared_experts=1, attention_bias=True),
    "minicpm3": tiny(
        "minicpm3", num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=8,
        qk_rope_head_dim=4, tie_word_embeddings=True,
    ),
    "recurrent_gemma": tiny(
        "recurrent_gemma", num_key_value_heads=1, lru_width=64, attention_window_size=32, conv1d_width=4
    ),
}  # fmt: skip
ALL = {**{name: config for name, (config, _) in MODELS.items()}, **SMALL}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("ignore")
def test_transformers_makes_as_many_parameters(name: str) -> None:
    """Each model is built by transformers, without memory for its weights."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**ALL[name])
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert planned(ALL[name]).parameters == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", ["mistral", "qwen2", "gemma2", "gemma3", "phi3", "smollm3", "qwen3"])
@pytest.mark.filterwarnings("ignore")
def test_transformers_has_windows_in_the_same_layers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**SMALL[name])
    kinds = getattr(config, "layer_types", None)
    if kinds is None:  # all layers alike
        kinds = ["sliding_attention" if config.sliding_window else "full_attention"] * 6
    ours = [f"{layer.attention.kind}_attention" for layer in planned(SMALL[name]).layers]
    assert ours == list(kinds)
    told = planned({**SMALL[name], "layer_types": list(kinds)})
    assert [f"{layer.attention.kind}_attention" for layer in told.layers] == list(kinds)


ASKED = {"use_sliding_window": True, "sliding_window": 16}
#: where families have windows if they are asked to
WINDOWS = {
    "qwen2, all": tiny("qwen2", **ASKED, max_window_layers=0),
    "qwen3": tiny("qwen3", **ASKED, max_window_layers=4),
    "qwen2_moe": tiny("qwen2_moe", **SHARED, **ASKED, max_window_layers=4),
    "qwen2_moe, none": tiny("qwen2_moe", **SHARED, **ASKED, max_window_layers=0),
    "qwen3_moe": tiny("qwen3_moe", **EXPERTS, **ASKED, max_window_layers=4),
    "smollm3": tiny("smollm3", **ASKED),
    "smollm3, every other": tiny("smollm3", **ASKED, no_rope_layer_interval=2),
    "smollm3, told": tiny("smollm3", **ASKED, no_rope_layers=[0, 1, 1, 0, 1, 1, 1]),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.filterwarnings("ignore")
def test_windows_that_are_asked_for_are_in_the_same_layers(name: str) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**WINDOWS[name], pad_token_id=0)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    theirs = [getattr(layer.self_attn, "sliding_window", None) for layer in model.model.layers]
    assert [layer.attention.window for layer in planned(WINDOWS[name]).layers] == theirs


@pytest.mark.parametrize(
    "name", ["llama with biases", "gemma3", "phi", "gpt2", "mixtral", "stablelm", "deepseek_v2", "minicpm3"]
)
@pytest.mark.filterwarnings("ignore")
def test_what_transformers_keeps_of_a_sequence_is_what_is_computed(name: str) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**SMALL[name]))
    with torch.no_grad():
        kept = model(torch.arange(1, 11)[None], use_cache=True).past_key_values
    held = sum(part.numel() for layer in kept.layers for part in (layer.keys, layer.values))
    assert planned(SMALL[name]).kv_bytes(10, 32) == 4 * held


@pytest.mark.parametrize("name", ["mistral", "gemma3"])
@pytest.mark.filterwarnings("ignore")
def test_transformers_keeps_a_token_less_of_a_window_that_is_full(name: str) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**SMALL[name]))
    with torch.no_grad():
        kept = model(torch.arange(1, 21)[None], use_cache=True).past_key_values
    theirs = [layer.keys.shape[-2] for layer in kept.layers]
    ours = [layer.attention.reach(20) for layer in planned(SMALL[name]).layers]
    assert theirs == [15 if tokens == 16 else tokens for tokens in ours]
    assert 15 in theirs


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.filterwarnings("ignore")
def test_files_that_transformers_writes_hold_what_is_planned(name: str, tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**SMALL[name]))
    model.to(torch.float32).save_pretrained(tmp_path)
    plan, found = planned(SMALL[name]), shape_of(tmp_path)
    assert found.counted
    assert found.notes == ()
    assert found.layers == plan.layers
    assert found.parameters == plan.parameters
    assert found.embedding_share == plan.embedding_share
    for work in (prefill, decode):
        assert work(found, 50, SIXTEEN) == work(plan, 50, SIXTEEN)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (MODELS["Phi-2"][0], "MHA"),
        (MODELS["Gemma-2B"][0], "MQA"),
        (MODELS["SmolLM-135M"][0], "GQA"),
        (MINICPM3, "MLA"),
        (RECURRENT, "recurrent and MQA"),
    ],
)
def test_attention_has_the_name_that_papers_give_it(config: dict[str, Any], kind: str) -> None:
    assert looks(planned(config)) == kind


def test_blooms_own_name_of_its_width_wins() -> None:
    config = MODELS["Bloom-560M"][0]
    assert planned({**config, "hidden_size": 64}).hidden == 1024
    assert planned({**GOOD, "n_embed": 64}).hidden == 576


def test_a_nested_configuration_is_its_text_models() -> None:
    text = {key: value for key, value in GEMMA_3.items() if key not in ("vocab_size", "num_attention_heads")}
    shape = planned({"model_type": "gemma3", "text_config": text, "torch_dtype": "bfloat16"})
    assert shape.vocabulary == 262208
    assert any("vocab_size is not given: 262208" in note for note in shape.notes)
    assert any("num_attention_heads is not given: 8" in note for note in shape.notes)
    assert "text model alone" in shape.notes[0]


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        (
            ["language_model.model.embed_tokens.weight"],
            ["model.vision_tower.encoder.layers.0.mlp.fc1.weight", "multi_modal_projector.weight"],
        ),
        (
            ["model.text_model.embed_tokens.weight", "lm_head.weight"],
            ["model.vision_model.embeddings.patch.weight", "model.connector.modality_projection.proj.weight"],
        ),
        (["model.language_model.norm.weight"], ["model.query_tokens", "qformer.layernorm.weight"]),
        (["model.embed_tokens.weight", "lm_head.weight"], ["visual.merger.weight", "model.connector.weight"]),
    ],
)
def test_of_a_model_that_sees_the_text_model_alone_is_counted(
    tmp_path: Path, text: list[str], beside: list[str]
) -> None:
    config = {"model_type": "gemma3", "text_config": {**SMALL["gemma3"], "tie_word_embeddings": False}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    sizes = {name: [320 if name in text else 50, 64] for name in (*text, *beside)}
    entries = {name: {"dtype": "F16", "shape": size, "data_offsets": [0, 0]} for name, size in sizes.items()}
    header = json.dumps(entries).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    found = shape_of(tmp_path)
    assert found.parameters == found.parameters_stored == len(text) * 320 * 64
    assert found.weight_bytes() == found.weight_bytes(16) == 2 * found.parameters


#: fields that transformers fills in itself, where they are not there
FILLED = {
    "mistral": ("num_key_value_heads", "sliding_window"),
    "mixtral": ("num_key_value_heads",),
    "qwen2": ("num_key_value_heads", "sliding_window", "max_window_layers"),
    "qwen2_moe": ("num_key_value_heads",),
    "qwen3": ("num_key_value_heads", "head_dim"),
    "qwen3_moe": ("num_key_value_heads",),
    "smollm3": ("num_key_value_heads",),
    "gemma": ("num_key_value_heads",),
    "gemma2": ("num_key_value_heads", "head_dim", "sliding_window"),
    "stablelm": ("num_key_value_heads",),
    "gpt_neox": ("intermediate_size",),
}


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in FILLED for field in FILLED[name]])
@pytest.mark.filterwarnings("ignore")
def test_a_field_that_is_not_given_is_what_transformers_takes(name: str, field: str) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    wide = {"num_attention_heads": 32, "num_hidden_layers": 30}
    config = {key: value for key, value in {**SMALL[name], **wide}.items() if key != field}
    theirs = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(theirs)
    ours = planned(config)
    assert ours.parameters == sum(weight.numel() for weight in model.parameters())
    windows = {layer.attention.window for layer in ours.layers} - {None}
    assert windows <= {getattr(theirs, "sliding_window", None)}
    kinds = getattr(theirs, "layer_types", None)
    if kinds:
        assert [f"{layer.attention.kind}_attention" for layer in ours.layers] == list(kinds)
    assert any(note.startswith(f"{field} is not given") for note in ours.notes)


#: more of them, and where they are not as small models have them
TAKEN = {
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen3_moe": {"decoder_sparse_step": 1},
    "gemma3": {"sliding_window_pattern": 6},
    "recurrent_gemma": {"attention_window_size": 2048, "conv1d_width": 4},
    "deepseek_v2": {"n_shared_experts": 2, "v_head_dim": 128, "first_k_dense_replace": 0},
    "deepseek_v3": {"n_routed_experts": 256, "first_k_dense_replace": 3, "q_lora_rank": 1536},
    "minicpm3": {"q_lora_rank": 768},
}


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in TAKEN for field in TAKEN[name]])
@pytest.mark.filterwarnings("ignore")
def test_whatever_is_taken_where_nothing_is_given_is_noted_once(name: str, field: str) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = {key: value for key, value in SMALL[name].items() if key != field}
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    ours = planned(config)
    assert ours.parameters == sum(weight.numel() for weight in model.parameters())
    kind, value = config["model_type"], TAKEN[name][field]
    assert ours.notes.count(f"{field} is not given: {value} is the default of {kind}") == 1


def test_openelm_has_its_own_default() -> None:
    shape = planned({key: value for key, value in OPENELM.items() if key != "ffn_dim_divisor"})
    assert shape.notes == ("ffn_dim_divisor is not given: 256 is the default of openelm",)
    assert shape.layers == planned(OPENELM).layers


def test_a_note_is_told_once_however_many_layers_it_is_of() -> None:
    config = {key: value for key, value in SMALL["gpt_neox"].items() if key != "intermediate_size"}
    assert planned(config).notes == ("intermediate_size is not given: 24576 is the default of gpt_neox",)


def test_null_is_no_field_that_is_not_given() -> None:
    shape = planned({**SMALL["mistral"], "sliding_window": None, "num_key_value_heads": None})
    assert {layer.attention.window for layer in shape.layers} == {None}
    assert {layer.attention.kv_heads for layer in shape.layers} == {4}
    assert shape.notes == ()


def test_of_an_unknown_architecture_nothing_is_guessed() -> None:
    shape = planned({**TINY_LLAMA, "model_type": "something_new"})
    assert (shape.layers, shape.weights, shape.parameters_stored) == ((), (), None)
    assert (shape.hidden, shape.vocabulary, shape.context) == (32, 96, 64)
    assert "'something_new' is not known here" in shape.notes[0]
    for told in (shape.kv_bytes, shape.state_bytes):
        with pytest.raises(ModelError, match="something_new"):
            told(*([1] if told == shape.kv_bytes else []))  # type: ignore[operator]
    with pytest.raises(ModelError, match="cannot be told"):
        _ = shape.parameters
    assert shape.compute_bytes(100) is None


# ---- memory ----------------------------------------------------------------------------------------------


def test_keys_and_values_may_be_of_different_types() -> None:
    shape = planned(MODELS["Qwen2-0.5B"][0])
    half = shape.kv_bytes(1, 16) / 2
    assert shape.kv_bytes(1, 8, 16) == half / 2 + half
    assert shape.kv_bytes(7, 8.5) == pytest.approx(7 * 2 * half * 8.5 / 16)


def test_a_latent_layer_keeps_one_row_for_all_heads() -> None:
    assert planned(MINICPM3).kv_bytes(1) == 62 * (256 + 32) * 2
    assert planned(DEEPSEEK).kv_bytes(10, 8) == 10 * 27 * (512 + 64)


def test_windows_cap_what_is_kept_in_their_layers_alone() -> None:
    shape = planned(GEMMA_2)
    layer = 2 * 4 * 256 * 2
    assert shape.kv_bytes(4096) == 26 * 4096 * layer
    assert shape.kv_bytes(10_000) == 13 * (4096 + 10_000) * layer
    three = planned(GEMMA_3)
    assert three.kv_bytes(8192) == 2 * 256 * 2 * (22 * 512 + 4 * 8192)


def test_recurrent_layers_keep_a_state_and_no_keys() -> None:
    shape = planned(RECURRENT)
    assert shape.kv_bytes(1) == 8 * 2 * 256 * 2
    assert shape.kv_bytes(1 << 30) == shape.kv_bytes(2048)
    # what it carries on, and three inputs of the convolution
    assert shape.state_bytes() == 18 * 4 * 2560 * 4
    assert shape.context_at_share(0.8, 16) is None


@pytest.mark.parametrize("config", [MODELS["SmolLM-135M"][0], GEMMA_2, OPENELM])
def test_the_context_of_a_share_is_the_first_that_has_it(config: dict[str, Any]) -> None:
    shape = planned(config)
    context = shape.context_at_share(0.8, 16)
    assert context is not None

    def share(tokens: int) -> float:
        return shape.kv_bytes(tokens) / (shape.kv_bytes(tokens) + shape.weight_bytes(16))

    assert share(context - 1) < 0.8 <= share(context)


# ---- work ------------------------------------------------------------------------------------------------


def by_hand(depth: int) -> tuple[int, int]:
    """Operations and bytes of a token of the demo model in 16 bits, after ``depth`` tokens."""
    matrices = 4 * (256 * 256 + 2 * 128 * 256 + 256 * 256 + 3 * 256 * 768) + 2048 * 256
    vectors = 4 * 2 * 256 + 256
    attention = 4 * 2 * 4 * (64 + 64) * (depth + 1)
    cache = 4 * 2 * 2 * 64 * 2 * (depth + 1)
    return 2 * matrices + attention, 2 * (matrices + vectors) + cache


@pytest.mark.parametrize("depth", [0, 1, 2000])
@pytest.mark.parametrize("form", ["model", "model.gguf"])
def test_the_work_of_a_token_is_what_it_is_by_hand(depth: int, form: str) -> None:
    work = decode(shape_of(DEMO / form), depth, SIXTEEN)
    assert (work.operations, work.bytes) == by_hand(depth)
    assert decode_ceiling(shape_of(DEMO / form), depth, SIXTEEN, 10) == 1e10 / by_hand(depth)[1]


def test_the_work_of_a_prompt_is_that_of_its_tokens_with_one_head() -> None:
    shape, head = shape_of(DEMO / "model"), 2 * 2048 * 256
    whole = prefill(shape, 100, SIXTEEN)
    assert whole.operations == sum(by_hand(depth)[0] for depth in range(100)) - 99 * head
    # weights once, and the keys and values of all tokens
    assert whole.bytes == by_hand(0)[1] + 99 * 4 * 2 * 2 * 64 * 2
    assert whole.per(100).operations == whole.operations / 100


def test_the_work_of_a_prompt_is_kaplans_for_multi_head_attention() -> None:
    """2N + 2 · layers · context · width for a token (arXiv 2001.08361), with the head for the last alone."""
    shape, tokens = planned(MODELS["Pythia-160M"][0]), 2000
    matrices = 12 * 12 * 768**2
    kaplan = 2 * matrices + 2 * 12 * (tokens + 1) * 768
    head = 2 * 50304 * 768 / tokens
    assert prefill(shape, tokens, SIXTEEN).per(tokens).operations == pytest.approx(kaplan + head)


def test_a_row_of_an_embedding_is_read_and_not_the_whole() -> None:
    shape = planned(MODELS["Pythia-160M"][0])
    unread = (50304 - 1) * 768 * 2
    assert decode(shape, 0, SIXTEEN).weight_bytes == shape.weight_bytes(16) - unread
    assert prefill(shape, 50304, SIXTEEN).weight_bytes == shape.weight_bytes(16)


def test_experts_that_are_not_used_are_neither_read_nor_multiplied() -> None:
    shape = planned(MIXTRAL)
    expert = 3 * 4096 * 14336
    idle = 32 * 6 * expert
    row = (32000 - 1) * 4096
    work = decode(shape, 0, SIXTEEN)
    assert work.weight_bytes == pytest.approx(2 * (shape.parameters - idle - row))
    # all but norms and the embedding, and attention of one token to itself
    products = shape.parameters - idle - 32000 * 4096 - (2 * 32 + 1) * 4096
    assert work.operations == pytest.approx(2 * products + 32 * 2 * 32 * 256)
    assert prefill(shape, 4, SIXTEEN).weight_bytes == pytest.approx(2 * (shape.parameters - row + 3 * 4096))
    assert decode(planned(QWEN_MOE), 0, SIXTEEN).operations < 0.25 * 2 * 14_315_784_192


def test_a_latent_layer_looks_at_what_it_keeps() -> None:
    shape = planned(MINICPM3)
    one, two = (decode(shape, depth, SIXTEEN) for depth in (100, 101))
    assert two.operations - one.operations == 62 * 2 * 40 * (256 + 32 + 256)
    assert two.bytes - one.bytes == shape.kv_bytes(1)
    short, long = (prefill(shape, tokens, SIXTEEN).operations for tokens in (1, 2))
    pair = 62 * 2 * 40 * (96 + 64)
    products = short - pair - 2 * 73448 * 2560
    assert long == pytest.approx(2 * products + 3 * pair + 2 * 73448 * 2560)


def test_a_window_bounds_the_work() -> None:
    shape = planned(PHI_3_4K)
    assert decode(shape, 5000, SIXTEEN) == decode(shape, 2046, SIXTEEN)
    sizes = [prefill(shape, tokens, SIXTEEN).operations for tokens in (3000, 3001, 3002)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]


def test_a_state_is_read_and_written() -> None:
    shape = planned(RECURRENT)
    assert decode(shape, 0, SIXTEEN).cache_bytes == shape.kv_bytes(1) + 2 * shape.state_bytes()


# ---- tensors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["model", "model.gguf"])
def test_the_demo_model_in_both_forms(form: str) -> None:
    shape = shape_of(DEMO / form)
    assert (shape.parameters, shape.parameters_stored, shape.counted) == (3_672_320, 3_672_320, True)
    assert (shape.tied, shape.vocabulary, shape.context, shape.hidden) == (True, 2048, 2048, 256)
    assert (shape.norm, shape.activation, looks(shape)) == ("RMSNorm", "silu", "GQA")
    assert shape.kv_bytes(2048) == 2048 * 4 * 2 * 2 * 64 * 2
    assert shape.layers == shape_of(DEMO / "model").layers
    assert shape.notes == ()
    # norms are in float32 in GGUF
    norms = 2 * 9 * 256 if form == "model.gguf" else 0
    assert shape.weight_bytes() == 2 * 3_672_320 + norms


def test_a_tied_head_that_is_stored_and_masks_are_not_unique(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", TINY_LLAMA | {"tie_word_embeddings": True})
    weights = load_file(model / "model.safetensors")
    before = shape_of(model)
    more = {"lm_head.weight": weights["model.embed_tokens.weight"]}
    masks = {"model.layers.0.attn.bias": np.ones((1, 1, 8, 8), np.float32)}
    save_file({**weights, **more, **masks}, model / "model.safetensors")
    shape = shape_of(model)
    assert shape.parameters == before.parameters == before.parameters_stored
    assert shape.parameters_stored == before.parameters + 96 * 32 + 64
    assert shape.weight_bytes() == 4 * shape.parameters_stored
    assert shape.notes == ()


def test_files_that_hold_something_else_than_the_configuration_says_are_noted(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", TINY_LLAMA)
    (model / "config.json").write_text(json.dumps({**TINY_LLAMA, "num_hidden_layers": 3}))
    (note,) = shape_of(model).notes
    assert "the files hold" in note


def test_without_weights_what_is_stored_is_not_known(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", TINY_LLAMA)
    counted = shape_of(model)
    (model / "model.safetensors").unlink()
    shape = shape_of(model)
    assert (shape.counted, shape.parameters_stored) == (False, None)
    assert shape.parameters == counted.parameters
    with pytest.raises(ModelError, match="name one"):
        shape.weight_bytes()


def test_weights_in_several_files_are_found_by_their_index(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", TINY_LLAMA)
    whole = shape_of(model)
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    for number, part in enumerate((names[:5], names[5:])):
        save_file({name: weights[name] for name in part}, model / f"part-{number}.safetensors")
    places = {name: f"part-{int(name in names[5:])}.safetensors" for name in names}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert sorted(shape_of(model).weights, key=str) == sorted(whole.weights, key=str)
    (model / "part-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"part-1\.safetensors cannot be read"):
        shape_of(model)


def mlx_packed(model: Path, bits: int, group: int) -> Path:
    """A model's matrices as MLX packs them: words, a scale and a bias for each group."""
    weights = load_file(model / "model.safetensors")
    packed: dict[str, Any] = {}
    for name, value in weights.items():
        if value.ndim < 2:
            packed[name] = value
            continue
        rows, columns = value.shape
        packed[name] = np.zeros((rows, columns * bits // 32), np.uint32)
        for part in ("scales", "biases"):
            packed[name.replace(".weight", f".{part}")] = np.zeros((rows, columns // group), np.float16)
    save_file(packed, model / "model.safetensors")
    config = json.loads((model / "config.json").read_text())
    told = {"group_size": group, "bits": bits}
    (model / "config.json").write_text(
        json.dumps({**config, "quantization": told, "quantization_config": told})
    )
    return model


def test_weights_that_mlx_packed_are_counted_by_what_they_mean(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
    model = write_model(tmp_path / "model", TINY_LLAMA | sizes)
    whole = shape_of(model)
    shape = shape_of(mlx_packed(model, 4, 32))
    assert shape.parameters == whole.parameters == shape.parameters_stored
    matrices = sum(weight.size for weight in whole.weights if len(weight.shape) > 1)
    # four bits, and two numbers of 16 for each 32 weights
    assert shape.weight_bytes() == matrices * 5 / 8 + 4 * (whole.parameters - matrices)
    assert decode(shape, 0, Numbers()).weight_bytes < shape.weight_bytes()


def test_of_weights_packed_in_another_way_the_number_is_computed(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", TINY_LLAMA)
    config = {**TINY_LLAMA, "quantization_config": {"quant_method": "gptq"}}
    (model / "config.json").write_text(json.dumps(config))
    shape = shape_of(model)
    assert (shape.counted, shape.parameters_stored) == (False, None)
    assert shape.parameters == planned(TINY_LLAMA).parameters
    assert "packed (gptq)" in shape.notes[0]
    assert shape.weight_bytes() == 4 * shape.parameters


def test_what_a_packed_model_holds_whole_keeps_its_bits(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", TINY_LLAMA)
    packed: dict[str, Any] = {}
    for name, value in load_file(model / "model.safetensors").items():
        if ".layers." in name and value.ndim == 2:
            rows, columns = value.shape
            packed[name.replace(".weight", ".qweight")] = np.zeros((columns // 8, rows), np.int32)
            packed[name.replace(".weight", ".scales")] = np.zeros((1, rows), np.float16)
        else:
            packed[name] = value.astype(np.float16)
    save_file(packed, model / "model.safetensors")
    config = {**TINY_LLAMA, "quantization_config": {"quant_method": "gptq"}}
    (model / "config.json").write_text(json.dumps(config))
    shape = shape_of(model)
    bits = {weight.role: weight.bits for weight in shape.weights}
    ends = 2 * 96 * 32
    rest = 8 * (sum(value.nbytes for value in packed.values()) - 2 * ends) / (shape.parameters - ends)
    assert bits == {"embedding": 16, "head": 16, "matrix": rest, "vector": rest}
    assert 4 < rest < 6
    # a row of the embedding is read, and the head
    assert decode(shape, 0, Numbers()).weight_bytes == pytest.approx(shape.weight_bytes() - 2 * 95 * 32)


def test_a_packed_models_tied_head_that_is_stored_is_not_of_the_rest(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", TINY_LLAMA | {"tie_word_embeddings": True})
    weights = load_file(model / "model.safetensors")
    save_file({**weights, "lm_head.weight": np.zeros((96, 32), np.float32)}, model / "model.safetensors")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq"}}))
    assert {weight.bits for weight in shape_of(model).weights} == {32}


# ---- GGUF ------------------------------------------------------------------------------------------------


def header(kind: str, shapes: dict[str, tuple[int, ...]], **told: Any) -> GGUFHeader:
    """A header with these keys of the architecture and tensors of float16, in GGUF's order of dimensions."""
    tensors = tuple(
        Tensor(name, shape, "F16", Path("nowhere"), 0, 2 * int(np.prod(shape)))
        for name, shape in shapes.items()
    )
    keys = {key.replace("__", "."): value for key, value in told.items()}
    metadata = {f"{kind}.{key}": value for key, value in keys.items()}
    return GGUFHeader({"general.architecture": kind, **metadata}, tensors)


SIZES = {"block_count": 6, "embedding_length": 64, "feed_forward_length": 96, "attention__head_count": 4}
EMBEDDING = {"token_embd.weight": (64, 100)}


def of_header(kind: str, shapes: dict[str, tuple[int, ...]] = EMBEDDING, **told: Any) -> Shape:
    return shape_of_gguf(header(kind, shapes, **{**SIZES, **told}), Path("x.gguf"))


def test_a_gguf_header_gives_heads_for_each_layer() -> None:
    shape = of_header(
        "openelm",
        attention__head_count=(4, 4, 4, 8, 8, 8),
        attention__head_count_kv=(1, 1, 1, 2, 2, 2),
        attention__key_length=16,
        attention__value_length=8,
        feed_forward_length=(1, 2, 3, 4, 5, 6),
    )
    assert shape.kv_bytes(1, 8) == 9 * (16 + 8)
    assert [layer.ffn.size for layer in shape.layers if layer.ffn] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "told", "slides"),
    [
        ("gemma2", {}, [True, False] * 3),
        ("gemma3", {}, [True] * 5 + [False]),
        ("gemma3", {"attention__sliding_window_pattern": 3}, [True, True, False] * 2),
        ("gemma3", {"attention__sliding_window_pattern": (True, False) * 3}, [True, False] * 3),
        ("gemma3", {"attention__sliding_window_pattern": 0}, [True] * 6),
        ("olmo2", {}, [True, True, True, False, True, True]),
        # llama.cpp has no windows of these
        ("phi3", {}, [False] * 6),
        ("llama", {}, [False] * 6),
    ],
)
def test_windows_of_gguf_files(kind: str, told: dict[str, Any], slides: list[bool]) -> None:
    shape = of_header(kind, attention__sliding_window=16, **told)
    assert [layer.attention.window == 16 for layer in shape.layers] == slides


def test_windows_that_gguf_headers_do_not_name() -> None:
    taken, none = of_header("gemma2"), of_header("olmo2")
    assert [layer.attention.window for layer in taken.layers] == [4096, None] * 3
    assert taken.notes == ("a sliding window is not given: 4096 is llama.cpp's default for gemma2",)
    assert [layer.attention.window for layer in none.layers] == [None] * 6


def test_latent_attention_of_gguf_files() -> None:
    latent = {"attention__kv_lora_rank": 32, "rope__dimension_count": 8}
    old = of_header("deepseek2", **latent, attention__key_length=24, attention__value_length=16)
    new = of_header(
        "deepseek2", **latent, attention__key_length=40, attention__value_length=32,
        attention__key_length_mla=24, attention__value_length_mla=16, attention__head_count_kv=1,
    )  # fmt: skip
    assert new.kv_bytes(1, 8) == 6 * (32 + 8)
    # llama.cpp computes with what is kept as it is only where the header has the sizes for it
    assert old.kv_bytes(1, 8) == old.kv_bytes(1, 8, 16) - 6 * 4 * 16 == 6 * 4 * (24 + 16)
    assert looks(old) == looks(new) == "MLA"
    assert decode(old, 9, SIXTEEN).operations - decode(old, 8, SIXTEEN).operations == 6 * 2 * 4 * (24 + 16)
    assert decode(new, 9, SIXTEEN).operations - decode(new, 8, SIXTEEN).operations == 6 * 2 * 4 * (32 + 40)


def test_llama_cpp_keeps_minicpm3_opened() -> None:
    told = {"attention__kv_lora_rank": 16, "rope__dimension_count": 4, "attention__key_length": 12}
    shape = of_header("minicpm3", **told)
    # values are as wide as the hidden width has heads for
    assert shape.kv_bytes(1, 8) == 6 * 4 * (12 + 64 // 4)


def test_qwens_first_gguf_files_give_the_width_of_gate_and_up_together() -> None:
    block = {"blk.0.ffn_up.weight": (64, 48), "blk.0.ffn_gate.weight": (64, 48)}
    first, later = (of_header(kind, {**EMBEDDING, **block}).layers[0].ffn for kind in ("qwen", "qwen2"))
    assert first == FeedForward(48, gated=True)
    assert later == FeedForward(96, gated=True)


def test_experts_of_gguf_files() -> None:
    block = {
        "blk.0.ffn_up_exps.weight": (64, 24, 4),
        "blk.0.ffn_gate_exps.weight": (64, 24, 4),
        "blk.0.ffn_up_shexp.weight": (64, 48),
    }
    experts = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 24}
    shape = of_header("qwen2moe", {**EMBEDDING, **block}, **experts)
    ffn = shape.layers[0].ffn
    assert ffn is not None
    assert (ffn.size, ffn.gated, ffn.experts, ffn.used, ffn.shared) == (24, True, 4, 2, 48)
    assert {weight.role for weight in shape.weights} == {"embedding", "expert", "matrix"}


def test_of_an_unknown_architecture_in_gguf_the_tensors_are_counted() -> None:
    shape = of_header("mamba", ssm__state_size=16)
    assert (shape.parameters, shape.layers) == (6400, ())
    with pytest.raises(ModelError, match="'mamba'"):
        shape.kv_bytes(1)


def test_a_head_in_gguf_is_the_embedding_where_it_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(bytes(range(200)) * 2 + bytes(range(1, 201)))
    head = Tensor("output.weight", (10, 10), "F16", file, 200, 200)
    embedding = Tensor("token_embd.weight", (10, 10), "F16", file, 0, 200)

    def tied(*tensors: Tensor, kind: str = "llama") -> tuple[bool | None, int]:
        found = shape_of_gguf(GGUFHeader(header(kind, {}, **SIZES).metadata, tensors), Path("x.gguf"))
        return found.tied, found.parameters

    assert tied(embedding) == (True, 100)
    assert tied(embedding, head) == (True, 100)
    assert tied(embedding, replace(head, offset=400)) == (False, 200)
    # not the same bytes, and yet it may be the same
    assert tied(embedding, replace(head, kind="Q6_K")) == (None, 200)
    assert tied(embedding, replace(head, kind="Q6_K"), kind="bloom") == (True, 100)


# ---- what is damaged -------------------------------------------------------------------------------------


def of_shape(sizes: str) -> bytes:
    """A safetensors file's header with one tensor of such a shape."""
    header = f'{{"a": {{"dtype": "F16", "shape": [{sizes}], "data_offsets": [0, 0]}}}}'.encode()
    return len(header).to_bytes(8, "little") + header


GOOD = MODELS["SmolLM-135M"][0]
BARE = {"num_hidden_layers": None}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"num_hidden_layers": -3}, "gives -3 as num_hidden_layers"),
        ({"num_hidden_layers": 0}, "gives 0 as num_hidden_layers"),
        ({"num_hidden_layers": 10**12}, "as num_hidden_layers, which must be a whole number from 1 to 10000"),
        ({"num_hidden_layers": True}, "gives True as num_hidden_layers"),
        ({"hidden_size": "576"}, "gives '576' as hidden_size"),
        ({"hidden_size": 1e400}, "gives inf as hidden_size"),
        ({"hidden_size": None}, "does not give hidden_size"),
        ({"vocab_size": 10**400}, "as vocab_size, which must be"),
        ({"num_attention_heads": [9]}, r"gives \[9\] as num_attention_heads"),
        ({"num_attention_heads": 1000}, "does not give head_dim"),
        ({"num_key_value_heads": {}}, r"gives \{\} as num_key_value_heads"),
        ({"intermediate_size": 1.5}, "gives 1.5 as intermediate_size"),
        ({"tie_word_embeddings": "yes"}, "gives 'yes' as tie_word_embeddings"),
        ({"model_type": 7}, "gives 7 as model_type"),
        ({"model_type": "mistral", "sliding_window": -1}, "gives -1 as sliding_window"),
        ({"model_type": "mistral", "sliding_window": 8, "layer_types": ["x"]}, "1 layer_types for 30 layers"),
        ({"model_type": "mistral", "sliding_window": 8, "layer_types": 5}, "must be a list of words"),
        ({"model_type": "minicpm3"}, "does not give qk_rope_head_dim"),
        ({**BARE, **OPENELM, "num_kv_heads": [3]}, "1 num_kv_heads for 16 layers"),
        ({**BARE, **OPENELM, "ffn_multipliers": ["a"] * 16}, "a list of numbers above 0"),
        ({**BARE, **OPENELM, "ffn_multipliers": None}, "a list of numbers"),
        ({**BARE, **OPENELM, "num_query_heads": None}, "does not give num_query_heads"),
        ({"model_type": "qwen2_moe"}, "does not give shared_expert_intermediate_size"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": 3}, "gives 3 as mlp_only_layers"),
        (
            {"model_type": "smollm3", "use_sliding_window": True, "sliding_window": 8, "no_rope_layers": [1]},
            "gives 1 no_rope_layers for 30 layers",
        ),
        ({"dtype": 16}, "gives 16 as dtype"),
        ({"num_key_value_heads": 18}, "9 heads cannot share 18 of keys and values evenly"),
        ({"num_key_value_heads": 2}, "9 heads cannot share 2 of"),
        ({**BARE, **OPENELM, "num_kv_heads": [7] * 16}, "12 heads cannot share 7 of"),
        ({**BARE, **RECURRENT, "num_key_value_heads": 3}, "10 heads cannot share 3 of"),
    ],
)
def test_nonsense_in_a_configuration_is_told_in_one_sentence(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told) as refusal:
        planned({**GOOD, **change})
    assert len(str(refusal.value).splitlines()) == 1
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"block_count": 0}, "gives 0 as llama.block_count"),
        ({"block_count": "six"}, "gives six as llama.block_count"),
        ({"attention__head_count": (4, 4)}, "gives 2 attention.head_count for 6 layers"),
        ({"attention__head_count_kv": -1}, "gives -1 as llama.attention.head_count_kv"),
        ({"context_length": 2.5}, "gives 2.5 as llama.context_length"),
        ({"attention__head_count_kv": 8}, "4 heads cannot share 8 of keys and values evenly"),
    ],
)
def test_nonsense_in_a_gguf_header_is_told_in_one_sentence(told: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        of_header("llama", **told)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "holds no object"),
        (b"{", "is damaged"),
        (b"\xff\xfe{", "is damaged"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_damaged_configuration_is_told_in_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=reason):
        shape_of(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        (50).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (13).to_bytes(8, "little") + b'{"a": {"b":1}',
        (2**40).to_bytes(8, "little"),
        of_shape("1" + 400 * "0"),
        of_shape(f"{2**40}, {2**40}"),
        of_shape("1" + 4000 * "0" + ", 1" + 4000 * "0"),
        of_shape(", ".join(17 * ["1"])),
        of_shape(", ".join(1_000_000 * [str(2**62)])),
    ],
)
def test_damaged_safetensors_are_told_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GOOD))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        shape_of(tmp_path)


def test_an_embedding_of_a_single_number_has_one_row(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**GOOD, "tie_word_embeddings": False}))
    header = b'{"embed_tokens.weight": {"dtype": "F16", "shape": [], "data_offsets": [0, 2]}}'
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    work = decode(shape_of(tmp_path), 0, SIXTEEN)
    assert work.weight_bytes == 2


def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GOOD))
    index = tmp_path / "model.safetensors.index.json"
    for weight_map, told in (
        ({"a": "../x"}, "outside"),
        ({"a": 1}, "does not map"),
        ([], "does not map"),
        ({"a": "\ud800"}, "does not map"),
        ({"a": "x\0y"}, "no name of a file"),
        ({"a": "."}, "no regular file"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(ModelError, match=told):
            shape_of(tmp_path)


# ---- types of numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("float16", 16), ("BF16", 16), ("float32", 32), ("q8_0", 8.5), ("Q4_0", 4.5), ("q6_k", 6.5625),
        ("q5_k", 5.68), ("q4_k_m", 4.85), ("q4_k", 4.85), ("q2_k", 3.35), ("iq1_s", 2), ("mxfp4", 4.25),
        ("4.85", 4.85), ("8", 8),
    ],
)  # fmt: skip
def test_types_have_their_bits(name: str, bits: float) -> None:
    assert bits_of(name, mixtures=True) == bits


def test_keys_and_values_are_of_one_type() -> None:
    names = ("q5_k", "q4_k", "q2_k", "iq4_nl", "q4_0")
    assert [bits_of(name) for name in names] == [5.5, 4.5, 2.625, 4.5, 4.5]


@pytest.mark.parametrize("name", ["q2_k", "Q4_K", "q6_k", "q4_0", "IQ4_XS", "iq3_m", "mxfp4", "tq1_0"])
def test_bits_of_a_type_that_llama_cpp_mixes_are_an_estimate(name: str) -> None:
    assert is_mixture(name)


@pytest.mark.parametrize("name", ["q8_0", "Q8_0", "f16", "bfloat16", "float32", "int8", "4.85", "8"])
def test_bits_of_a_whole_type_are_exact(name: str) -> None:
    assert not is_mixture(name)


@pytest.mark.parametrize("name", ["q9", "0", "-4", "nan", "inf", "65", "", "4_0", "5_1"])
def test_what_is_no_type_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        bits_of(name, mixtures=True)


def test_keys_and_values_are_of_no_mixture() -> None:
    with pytest.raises(UsageError, match="q4_k_m"):
        bits_of("q4_k_m")
