"""A random-weight Llama to measure speed with, in SmolLM-135M's shape unless told otherwise.

    python benchmarks/speed_model.py FOLDER [--layers 30] [--vocabulary 49152] [--context 8192] ...

What a token costs depends on a model's shape alone, not on what it has learnt. The tokenizer is that of
``../shared/tokenizers``; a model of fewer tokens than that can be opened, but not be asked through text.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).parents[1]
TOKENIZER = ROOT.parent / "shared" / "tokenizers" / "smollm2-135m-instruct"

#: standard deviation of the embeddings, as in SmolLM's config.json (initializer_range)
SPREAD = 0.0417

sys.path.insert(0, str(ROOT / "tests"))
from random_models import TINY_LLAMA, write_model  # noqa: E402  tests are no package


def shape(
    *, width: int, feed: int, layers: int, heads: int, kv_heads: int, vocabulary: int, context: int
) -> dict[str, object]:
    """config.json of a Llama with tied embeddings and the tokenizer's marks."""
    given = json.loads((TOKENIZER / "config.json").read_text(encoding="utf-8"))
    return TINY_LLAMA | {
        "hidden_size": width,
        "intermediate_size": feed,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width // heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "tie_word_embeddings": True,
        "bos_token_id": given["bos_token_id"],
        "eos_token_id": given["eos_token_id"],
    }


def make(folder: Path, **sizes: int) -> Path:
    """Write the model, unless it lies there already in this very shape.

    :raises SystemExit: the tokenizer is not here, or another model lies in the folder.
    """
    if not TOKENIZER.is_dir():
        raise SystemExit(f"the tokenizer is not here: {TOKENIZER}")
    wanted = shape(**(DEFAULTS | sizes))
    config = folder / "config.json"
    if config.is_file() and json.loads(config.read_text(encoding="utf-8")) != wanted:
        raise SystemExit(f"another model lies in {folder}: name another folder")
    # the tokenizer's marks are written last
    if (folder / "tokenizer_config.json").is_file():
        return folder
    write_model(folder, wanted, tokenizer=TOKENIZER / "tokenizer.json")
    _calm(folder / "model.safetensors")
    (folder / "tokenizer_config.json").write_text(json.dumps(_marks()), encoding="utf-8")
    return folder


def _calm(weights: Path) -> None:
    """Let logits spread as a trained model's do: exp() is slow where it meets subnormal numbers."""
    tensors = load_file(weights)
    tensors["model.embed_tokens.weight"] *= np.float32(SPREAD)
    save_file(tensors, weights, metadata={"format": "pt"})


def _marks() -> dict[str, object]:
    given = json.loads((TOKENIZER / "config.json").read_text(encoding="utf-8"))
    added = json.loads((TOKENIZER / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    texts = {token["id"]: token["content"] for token in added}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": texts[given["bos_token_id"]],
        "eos_token": texts[given["eos_token_id"]],
        "clean_up_tokenization_spaces": False,
    }


#: SmolLM-135M's
DEFAULTS = {
    "width": 576,
    "feed": 1536,
    "layers": 30,
    "heads": 9,
    "kv_heads": 3,
    "vocabulary": 49152,
    "context": 8192,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    asked = vars(parser.parse_args(arguments))
    print(make(asked.pop("folder"), **asked))


if __name__ == "__main__":
    main()
