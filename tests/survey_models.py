"""Public models of arXiv 2409.15790 as their ``config.json`` on the hub gives them, and what follows.

Fields that say nothing of sizes are left out. ``FIGURES`` are what the survey's configurations come to, as it
was worked out by hand for each model before this code was written.
"""

from __future__ import annotations

from typing import Any, NamedTuple


def opt(layers: int, hidden: int, heads: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {
        "model_type": "opt", **sizes, "ffn_dim": 4 * hidden, "vocab_size": 50272,
        "word_embed_proj_dim": hidden, "max_position_embeddings": 2048, "activation_function": "relu",
        "do_layer_norm_before": True, "_remove_final_layer_norm": False, "torch_dtype": "float16", **more,
    }  # fmt: skip


def llama(layers: int, hidden: int, heads: int, kv: int, ffn: int, vocab: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, "intermediate_size": ffn,
        "vocab_size": vocab, "hidden_act": "silu", "max_position_embeddings": 2048,
        "torch_dtype": "bfloat16", **more,
    }  # fmt: skip


def smollm(layers: int, hidden: int, heads: int, kv: int, ffn: int) -> dict[str, Any]:
    return llama(layers, hidden, heads, kv, ffn, 49152, tie_word_embeddings=True)


def pythia(layers: int, hidden: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "gpt_neox", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "intermediate_size": 4 * hidden, "vocab_size": 50304,
        "hidden_act": "gelu", "max_position_embeddings": 2048, "tie_word_embeddings": False,
        "torch_dtype": "float16", "use_parallel_residual": True,
    }  # fmt: skip


def qwen(layers: int, hidden: int, heads: int, kv: int, ffn: int, tied: bool) -> dict[str, Any]:
    plan = llama(layers, hidden, heads, kv, ffn, 151936, max_position_embeddings=32768)
    windows = {"use_sliding_window": False, "sliding_window": 32768, "max_window_layers": layers - 3}
    return {**plan, "model_type": "qwen2", "tie_word_embeddings": tied, **windows}


def bloom(layers: int, hidden: int) -> dict[str, Any]:
    return {
        "model_type": "bloom", "n_embed": hidden, "n_layer": layers, "num_attention_heads": 16,
        "vocab_size": 250880, "seq_length": 2048, "torch_dtype": "float16",
    }  # fmt: skip


def phi(layers: int, hidden: int) -> dict[str, Any]:
    return {
        "model_type": "phi", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 32,
        "num_key_value_heads": None, "intermediate_size": 4 * hidden, "vocab_size": 51200,
        "hidden_act": "gelu_new", "max_position_embeddings": 2048, "qk_layernorm": False,
        "tie_word_embeddings": False, "torch_dtype": "float16",
    }  # fmt: skip


GEMMA = {
    "model_type": "gemma", "hidden_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 8,
    "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 16384, "vocab_size": 256000,
    "hidden_act": "gelu", "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
}  # fmt: skip
STABLELM = {
    "model_type": "stablelm", "hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 32, "intermediate_size": 6912, "vocab_size": 50304, "hidden_act": "silu",
    "max_position_embeddings": 4096, "use_qkv_bias": False, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}  # fmt: skip
PHI_3 = {
    **llama(32, 3072, 32, 32, 8192, 32064, max_position_embeddings=131072),
    "model_type": "phi3", "sliding_window": 262144, "tie_word_embeddings": False,
}  # fmt: skip
#: the same with 4,096 positions looks back at 2,047 tokens
PHI_3_4K = {**PHI_3, "max_position_embeddings": 4096, "sliding_window": 2047}


class Figures(NamedTuple):
    """A row of the table; ``four_bits`` are MiB of weights (and what else llama.cpp held of them) in 4 bits.

    ``None`` where no such figure is known: 4.85 bits a parameter are taken.
    """

    parameters: int
    mib: int
    embedding: float
    kv_bytes: int
    kv_mib: int
    share: int
    share_four: int
    thousands: int
    thousands_four: int
    four_bits: float | None = None


MODELS: dict[str, tuple[dict[str, Any], Figures]] = {
    "OPT-125M": (
        opt(12, 768, 12),
        Figures(125_239_296, 239, 30.8, 36_864, 1125, 82, 94, 27, 8),
    ),
    "SmolLM-135M": (
        smollm(30, 576, 9, 3, 1536),
        Figures(134_515_008, 257, 21.0, 23_040, 703, 73, 84, 47, 24, 98.9 + 34.1),
    ),
    "Pythia-160M": (
        pythia(12, 768, 12),
        Figures(162_322_944, 310, 47.6, 36_864, 1125, 78, 91, 35, 12, 103.0 + 5.7),
    ),
    "SmolLM-360M": (
        smollm(32, 960, 15, 5, 2560),
        Figures(361_821_120, 690, 13.0, 40_960, 1250, 64, 80, 71, 32, 256.3 + 53.9),
    ),
    "Qwen1.5-0.5B": (
        qwen(24, 1024, 16, 16, 2816, True),
        Figures(463_987_712, 885, 33.5, 98_304, 3000, 77, 89, 38, 17, 382.6 + 6.6),
    ),
    "Qwen2-0.5B": (
        qwen(24, 896, 14, 2, 4864, True),
        Figures(494_032_768, 942, 27.6, 12_288, 375, 28, 42, 322, 177, 373.7 + 144.3),
    ),
    "Bloom-560M": (
        bloom(24, 1024),
        Figures(559_214_592, 1067, 45.9, 98_304, 3000, 74, 85, 46, 23, 523.4 + 7.0),
    ),
    "Bloom-1B1": (
        bloom(24, 1536),
        Figures(1_065_314_304, 2032, 36.2, 147_456, 4500, 69, 83, 58, 26, 922.6 + 8.0),
    ),
    "TinyLlama-1.1B": (
        llama(22, 2048, 32, 4, 5632, 32000, tie_word_embeddings=False),
        Figures(1_100_048_384, 2098, 11.9, 22_528, 688, 25, 52, 391, 118),
    ),
    "Llama-3.2-1B": (
        llama(16, 2048, 32, 8, 8192, 128256, tie_word_embeddings=True, head_dim=64),
        Figures(1_235_814_400, 2357, 21.3, 32_768, 1000, 30, 58, 302, 91),
    ),
    "Pythia-1.4B": (
        pythia(24, 2048, 16),
        Figures(1_414_647_808, 2698, 14.6, 196_608, 6000, 69, 87, 58, 19, 871.8 + 8.2),
    ),
    "Phi-1.5": (
        phi(24, 2048),
        Figures(1_418_270_720, 2705, 14.8, 196_608, 6000, 69, 87, 58, 18, 850.4 + 8.2),
    ),
    "Qwen2-1.5B": (
        qwen(28, 1536, 12, 2, 8960, True),
        Figures(1_543_714_304, 2944, 15.1, 28_672, 875, 23, 44, 431, 165, 934.7 + 190.2),
    ),
    "SmolLM-1.7B": (
        smollm(24, 2048, 32, 32, 8192),
        Figures(1_711_376_384, 3264, 5.9, 196_608, 6000, 65, 85, 70, 23, 1005.0 + 86.9),
    ),
    "Qwen1.5-1.8B": (
        qwen(24, 2048, 16, 16, 5504, False),
        Figures(1_836_828_672, 3503, 33.9, 196_608, 6000, 63, 84, 75, 25, 1130.0 + 34.3),
    ),
    "Gemma-2B": (
        GEMMA,
        Figures(2_506_172_416, 4780, 20.9, 18_432, 562, 11, 22, 1088, 448, 1510.0 + 458.5),
    ),
    "Phi-2": (
        phi(32, 2560),
        Figures(2_779_683_840, 5302, 9.4, 327_680, 10000, 65, 86, 68, 21, 1620.0 + 44.6),
    ),
    "Pythia-2.8B": (
        pythia(32, 2560, 32),
        Figures(2_775_208_960, 5293, 9.3, 327_680, 10000, 65, 85, 68, 22, 1660.0 + 51.2),
    ),
    "StableLM-zephyr-3B": (
        STABLELM,
        Figures(2_795_443_200, 5332, 9.2, 327_680, 10000, 65, 86, 68, 21, 1590.0 + 46.9),
    ),
    "Qwen2.5-3B": (
        qwen(36, 2048, 16, 2, 11008, True),
        Figures(3_085_938_688, 5886, 10.1, 36_864, 1125, 16, 39, 670, 203),
    ),
    "Phi-3-mini": (
        PHI_3,
        Figures(3_821_079_552, 7288, 5.2, 393_216, 12000, 62, 84, 78, 24),
    ),
}  # fmt: skip


# ---- other families --------------------------------------------------------------------------------------

#: MiB of llama.cpp's compute buffer at 2,048 tokens, as the survey's data for its figure 7 has them
COMPUTE_BUFFERS = {
    "SmolLM-135M": 97.1, "Pythia-160M": 99.8, "SmolLM-360M": 97.9, "Qwen1.5-0.5B": 298.7, "Qwen2-0.5B": 298.5,
    "Bloom-560M": 492.0, "Bloom-1B1": 496.0, "Pythia-1.4B": 102.2, "Phi-1.5": 148.0, "Qwen2-1.5B": 299.7,
    "SmolLM-1.7B": 148.0, "Qwen1.5-1.8B": 300.7, "Gemma-2B": 504.2, "Phi-2": 152.0, "Pythia-2.8B": 162.0,
    "StableLM-zephyr-3B": 152.0,
}  # fmt: skip


def gpt2(layers: int, hidden: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "gpt2", "n_layer": layers, "n_embd": hidden, "n_head": heads, "vocab_size": 50257,
        "n_positions": 1024, "n_ctx": 1024, "activation_function": "gelu_new", **more,
    }  # fmt: skip


OPENELM: dict[str, Any] = {
    "model_type": "openelm", "model_dim": 1280, "head_dim": 64, "num_transformer_layers": 16,
    "vocab_size": 32000, "ffn_dim_divisor": 256, "ffn_with_glu": True, "normalize_qk_projections": True,
    "share_input_output_layers": True, "max_context_length": 2048, "activation_fn_name": "swish",
    "num_query_heads": [12] * 5 + [16] * 7 + [20] * 4, "num_kv_heads": [3] * 5 + [4] * 7 + [5] * 4,
    "ffn_multipliers": [
        0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13, 2.37, 2.6, 2.83, 3.07, 3.3, 3.53, 3.77, 4.0,
    ],
}  # fmt: skip
MIXTRAL = {
    **llama(32, 4096, 32, 8, 14336, 32000), "model_type": "mixtral", "sliding_window": None,
    "num_local_experts": 8, "num_experts_per_tok": 2,
}  # fmt: skip
DEEPSEEK = {
    **llama(27, 2048, 16, 16, 10944, 102400), "model_type": "deepseek_v2", "q_lora_rank": None,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1,
}  # fmt: skip
MINICPM3 = {
    **llama(62, 2560, 40, 40, 6400, 73448), "model_type": "minicpm3", "q_lora_rank": 768,
    "kv_lora_rank": 256, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32,
}  # fmt: skip
RECURRENT = {
    **llama(26, 2560, 10, 1, 15360, 256000), "model_type": "recurrent_gemma", "head_dim": 256,
    "lru_width": 2560, "attention_window_size": 2048, "conv1d_width": 4,
    "block_types": ["recurrent", "recurrent", "attention"],
}  # fmt: skip
GEMMA_2 = {
    **llama(26, 2304, 8, 4, 9216, 256000), "model_type": "gemma2", "head_dim": 256, "sliding_window": 4096,
}  # fmt: skip
GEMMA_3 = {
    **llama(26, 1152, 4, 1, 6912, 262144), "model_type": "gemma3_text", "head_dim": 256,
    "sliding_window": 512, "sliding_window_pattern": 6,
}  # fmt: skip
QWEN_MOE = {
    **qwen(24, 2048, 16, 16, 5632, False), "model_type": "qwen2_moe", "num_experts": 60,
    "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
}  # fmt: skip

#: parameters of published checkpoints, as the hub counts those that are unique, and MiB of their keys and
#: values at 2,048 tokens in 16 bits
PUBLISHED: dict[str, tuple[dict[str, Any], int, float]] = {
    "gpt2": (gpt2(12, 768, 12), 124_439_808, 72),
    "gpt2-xl": (gpt2(48, 1600, 25), 1_557_611_200, 600),
    "Cerebras-GPT-111M": (gpt2(10, 768, 12, n_inner=3072, n_positions=2048), 111_050_496, 60),
    "opt-350m": (
        opt(24, 1024, 16, word_embed_proj_dim=512, do_layer_norm_before=False), 331_196_416, 192,
    ),
    "OLMo-1B": (
        {**llama(16, 2048, 16, 16, 8192, 50304, tie_word_embeddings=True), "model_type": "olmo"},
        1_176_764_416, 256,
    ),
    "OLMo-2-1B": ({**llama(16, 2048, 16, 16, 8192, 100352), "model_type": "olmo2"}, 1_484_916_736, 256),
    "Qwen-1.8B": (
        {
            "model_type": "qwen", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
            "kv_channels": 128, "intermediate_size": 11008, "vocab_size": 151936,
        },
        1_836_828_672, 384,
    ),
    "Qwen3-0.6B": (
        {
            **llama(28, 1024, 16, 8, 3072, 151936, tie_word_embeddings=True, head_dim=128),
            "model_type": "qwen3",
        },
        596_049_920, 224,
    ),
    "gemma-2-2b": (GEMMA_2, 2_614_341_888, 208),
    "gemma-3-1b": (GEMMA_3, 999_885_952, 19),
    "SmolLM3-3B": ({**llama(36, 2048, 16, 4, 11008, 128256), "model_type": "smollm3"}, 3_075_098_624, 144),
    "Mistral-7B": (
        {**llama(32, 4096, 32, 8, 14336, 32000, sliding_window=4096), "model_type": "mistral"},
        7_241_732_096, 256,
    ),
    "Mixtral-8x7B": (MIXTRAL, 46_702_792_704, 256),
    "DeepSeek-V2-Lite": (DEEPSEEK, 15_706_484_224, 60.75),
    "MiniCPM-2B": (
        {**llama(40, 2304, 36, 36, 5760, 122753), "model_type": "minicpm"}, 2_724_880_896, 720,
    ),
    "StableLM-2-1.6B": (
        {
            **llama(24, 2048, 32, 32, 5632, 100352, tie_word_embeddings=False),
            "model_type": "stablelm", "use_qkv_bias": True,
        },
        1_644_515_328, 384,
    ),
    "Llama-3.2-3B": (
        llama(28, 3072, 24, 8, 8192, 128256, tie_word_embeddings=True), 3_212_749_824, 224,
    ),
    "RecurrentGemma-2B": (RECURRENT, 2_682_862_080, 16),
    "Qwen1.5-MoE-A2.7B": (QWEN_MOE, 14_315_784_192, 384),
    "OpenELM-270M": (OPENELM, 271_527_168, 31.5),
}  # fmt: skip
