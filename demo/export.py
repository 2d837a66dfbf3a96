"""Write the trained model where the package ships it: a transformers folder and a GGUF file."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizer import BYTES, SIZE, SPECIAL
from tokenizers import Tokenizer
from train import CONFIG, OUT
from transformers import GenerationConfig

HOME = Path(__file__).parent.parent / "slmeval" / "demo"
TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "model_max_length": CONFIG.max_position_embeddings,
    "clean_up_tokenization_spaces": False,
}
CARD = """---
license: apache-2.0
---
# The slmeval demo model

A Llama-family model of 3.7M parameters, trained from scratch by `demo/train.py`
(two of its sixteen attention heads begin as copying heads, `demo/start.py`) and
written here by `demo/export.py` (both in the slmeval repository) on text that
`demo/corpus.py` generates about a small invented world. It knows nothing of the real
one. It exists to show and to test slmeval offline. Licence: Apache-2.0.
"""
NAMES = {  # the last parts of a parameter's name, in transformers and in GGUF
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
Weights = dict[str, torch.Tensor]
Array = np.ndarray[Any, np.dtype[Any]]


def halved(weights: Weights) -> Weights:
    """The weights in float16, the output matrix left out: it is the embedding."""
    return {name: value.half().contiguous() for name, value in weights.items() if name != "lm_head.weight"}


def write_folder(weights: Weights, tokenizer: Tokenizer, folder: Path) -> None:
    """What `from_pretrained` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    CONFIG.architectures, CONFIG.dtype = ["LlamaForCausalLM"], torch.float16
    CONFIG.save_pretrained(folder)
    GenerationConfig(bos_token_id=1, eos_token_id=2, do_sample=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=2) + "\n")
    (folder / "README.md").write_text(CARD)


def gguf_name(name: str) -> str:
    """'model.layers.2.mlp.up_proj.weight' -> 'blk.2.ffn_up.weight'."""
    tops = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in tops:
        return tops[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def interleaved(matrix: Array, heads: int) -> Array:
    """Rows of each head from (first half, second half) to pairs, as llama.cpp rotates them.

    Shape (heads * head_dim, hidden) before and after.
    """
    rows, hidden = matrix.shape
    pairs: Array = matrix.reshape(heads, 2, rows // heads // 2, hidden).swapaxes(1, 2)
    return np.reshape(pairs, (rows, hidden))


def gguf_array(name: str, value: torch.Tensor) -> Array:
    """A tensor as GGUF stores it: norms in float32, matrices in float16."""
    array: Array = value.float().numpy() if value.dim() == 1 else value.numpy()
    if "q_proj" in name:
        return interleaved(array, CONFIG.num_attention_heads)
    if "k_proj" in name:
        return interleaved(array, CONFIG.num_key_value_heads)
    return array


def add_shape(writer: gguf.GGUFWriter) -> None:
    """The model's sizes."""
    writer.add_name("slmeval demo")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONFIG.max_position_embeddings)
    writer.add_embedding_length(CONFIG.hidden_size)
    writer.add_block_count(CONFIG.num_hidden_layers)
    writer.add_feed_forward_length(CONFIG.intermediate_size)
    writer.add_head_count(CONFIG.num_attention_heads)
    writer.add_head_count_kv(CONFIG.num_key_value_heads)
    writer.add_rope_dimension_count(CONFIG.head_dim)
    writer.add_rope_freq_base(CONFIG.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(CONFIG.rms_norm_eps)
    writer.add_vocab_size(SIZE)


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    """The pieces with falling scores, so that llama.cpp merges in the same order."""
    kind, vocab = gguf.TokenType, tokenizer.get_vocab()
    types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * len(BYTES)]
    types += [kind.NORMAL] * (SIZE - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(sorted(vocab, key=vocab.__getitem__))
    writer.add_token_scores(
        [0.0 if number < len(SPECIAL) + len(BYTES) else -float(number) for number in range(SIZE)]
    )
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)


def write_gguf(weights: Weights, tokenizer: Tokenizer, path: Path) -> None:
    """The same weights as one GGUF file."""
    writer = gguf.GGUFWriter(path, "llama")
    add_shape(writer)
    add_tokenizer(writer, tokenizer)
    for name, value in weights.items():
        writer.add_tensor(gguf_name(name), gguf_array(name, value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(source: Path = OUT) -> None:
    """Export `weights.pt` and `tokenizer.json` of the folder `source`."""
    weights = halved(torch.load(source / "weights.pt"))
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    write_folder(weights, tokenizer, HOME / "model")
    write_gguf(weights, tokenizer, HOME / "model.gguf")


if __name__ == "__main__":
    import sys

    main(*map(Path, sys.argv[1:]))
