"""The weights of a Llama-family model, by the names that transformers gives them in the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmeval_reference.config import Config
from slmeval_reference.weights import Checkpoint, FloatArray


@dataclass(frozen=True)
class Linear:
    """``x @ weight.T + bias``: weight float64[out, in], as stored, and bias float64[out]."""

    weight: FloatArray
    bias: FloatArray | None = None

    def __call__(self, inputs: FloatArray) -> FloatArray:
        outputs: FloatArray = inputs @ self.weight.T
        return outputs if self.bias is None else outputs + self.bias


@dataclass(frozen=True)
class Norm:
    """Root-mean-square normalization (B. Zhang and R. Sennrich, 2019)."""

    weight: FloatArray
    epsilon: float

    def __call__(self, inputs: FloatArray) -> FloatArray:
        mean_square = np.mean(inputs * inputs, axis=-1, keepdims=True)
        outputs: FloatArray = inputs / np.sqrt(mean_square + self.epsilon) * self.weight
        return outputs


@dataclass(frozen=True)
class Layer:
    """The weights of one layer: attention, then the gated feed-forward block."""

    attention_norm: Norm
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    feed_norm: Norm
    gate: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True)
class Weights:
    """All weights of a model; ``embedding`` is float64[vocabulary, hidden].

    ``unique`` counts the model's own weights (a tied head once), ``stored`` all that lie in the files.
    """

    embedding: FloatArray
    layers: tuple[Layer, ...]
    norm: Norm
    head: Linear
    unique: int
    stored: int


def load_weights(folder: Path, config: Config) -> Weights:
    """Read the weights of a model of the shape ``config`` from the safetensors files in ``folder``.

    :raises slmeval.errors.ModelError: a file is missing or damaged, or does not hold just these weights.
    """
    loader = _Loader(Checkpoint(folder), config)
    embedding = loader.checkpoint.read("model.embed_tokens.weight", config.vocabulary, config.hidden)
    layers = tuple(loader.layer(f"model.layers.{index}") for index in range(config.layers))
    norm, head = loader.norm("model.norm"), loader.head(embedding)
    # old files carry the table of rotary frequencies, which follows from config.json
    loader.checkpoint.refuse_leftovers("rotary_emb.inv_freq")
    return Weights(embedding, layers, norm, head, loader.checkpoint.unique, loader.checkpoint.stored)


@dataclass(frozen=True)
class _Loader:
    checkpoint: Checkpoint
    config: Config

    def layer(self, name: str) -> Layer:
        shape, attention, feed = self.config, f"{name}.self_attn", f"{name}.mlp"
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        return Layer(
            attention_norm=self.norm(f"{name}.input_layernorm"),
            query=self.linear(f"{attention}.q_proj", queries, shape.hidden, shape.qkv_bias),
            key=self.linear(f"{attention}.k_proj", keys, shape.hidden, shape.qkv_bias),
            value=self.linear(f"{attention}.v_proj", keys, shape.hidden, shape.qkv_bias),
            output=self.linear(f"{attention}.o_proj", shape.hidden, queries, shape.output_bias),
            feed_norm=self.norm(f"{name}.post_attention_layernorm"),
            gate=self.linear(f"{feed}.gate_proj", shape.feed, shape.hidden, shape.feed_bias),
            up=self.linear(f"{feed}.up_proj", shape.feed, shape.hidden, shape.feed_bias),
            down=self.linear(f"{feed}.down_proj", shape.hidden, shape.feed, shape.feed_bias),
        )

    def linear(self, name: str, outputs: int, inputs: int, bias: bool) -> Linear:
        weight = self.checkpoint.read(f"{name}.weight", outputs, inputs)
        return Linear(weight, self.checkpoint.read(f"{name}.bias", outputs) if bias else None)

    def norm(self, name: str) -> Norm:
        return Norm(self.checkpoint.read(f"{name}.weight", self.config.hidden), self.config.epsilon)

    def head(self, embedding: FloatArray) -> Linear:
        if not self.config.tied:
            return self.linear("lm_head", self.config.vocabulary, self.config.hidden, bias=False)
        self.checkpoint.confirm_copy("lm_head.weight", embedding)
        return Linear(embedding)
