"""The weights before training: random, but for two heads that already read the context.

A head of the first layer looks at the token before; a head of the second layer looks
for places where *that* token was the present one, and copies what followed. Training
finds this pair by itself, but only after far more text than two cores read in half an
hour; set beforehand, it leaves training to use and refine it.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

CONSTANT = 0.2  # a part that all embeddings share: what a head can read position by
SHARP = 8.0  # how strongly the first head prefers the token before
MATCH, COPY = 3.0, 20.0  # how strongly the second head prefers a match, and copies
NEAR, FAR = 10, 18  # pairs of dimensions that turn fast (0 to 9) and slowly (18 to 31)


def basis(rows: int, columns: int) -> torch.Tensor:
    """`rows` random directions at right angles, shape (rows, columns)."""
    found: torch.Tensor = torch.linalg.qr(torch.randn(columns, rows)).Q.T
    return found


def turning(config: LlamaConfig) -> torch.Tensor:
    """Radians that each pair of dimensions turns per position, shape (head_dim / 2,)."""
    half = config.head_dim // 2
    angles: torch.Tensor = config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    return angles


def look_back(query: torch.Tensor, key: torch.Tensor, scale: float, config: LlamaConfig) -> None:
    """Make a head attend to the token before. Both matrices: (head_dim, hidden)."""
    half, angle = config.head_dim // 2, turning(config)[:NEAR]
    query.zero_()
    key.zero_()
    query[:NEAR, 0] = key_part = SHARP / scale
    key[:NEAR, 0] = key_part * angle.cos()
    key[half : half + NEAR, 0] = key_part * angle.sin()


def slow_rows(config: LlamaConfig) -> list[int]:
    """The dimensions of a head that barely turn within a context."""
    half = config.head_dim // 2
    return [*range(FAR, half), *range(half + FAR, config.head_dim)]


@torch.no_grad()
def begin(config: LlamaConfig) -> LlamaForCausalLM:
    """A new model; depends on the seed that torch was given."""
    model, size = LlamaForCausalLM(config), config.head_dim
    for layer in model.model.layers:  # every other part starts silent
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    first, second = (model.model.layers[at].self_attn for at in (0, 1))
    embedding = model.model.embed_tokens.weight
    embedding[:, 0] = CONSTANT
    norm = embedding.norm(dim=1).mean().item()
    scale = CONSTANT / norm * config.hidden_size**0.5
    look_back(first.q_proj.weight[:size], first.k_proj.weight[:size], scale, config)
    # What the token before was, written where embeddings hold little else.
    names = basis(2 * size, config.hidden_size - 1)
    read, written = names[:size], names[size:]
    first.v_proj.weight[:size, 1:] = read
    first.o_proj.weight[1:, :size] = written.T * norm / config.hidden_size**0.5
    rows = slow_rows(config)
    second.q_proj.weight[:size].zero_()
    second.k_proj.weight[:size].zero_()
    second.q_proj.weight[rows, 1:] = MATCH * read[: len(rows)]
    second.k_proj.weight[rows, 1:] = MATCH * written[: len(rows)]
    copied = basis(size, config.hidden_size - 1)
    second.v_proj.weight[:size, 1:] = copied
    second.o_proj.weight[1:, :size] = COPY * copied.T * norm / config.hidden_size**0.5
    return model
