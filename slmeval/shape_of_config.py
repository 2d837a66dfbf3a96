"""From a ``config.json`` to a shape: layers, and the weights that such a model has, computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slmeval.config_fields import Fields
from slmeval.errors import ModelError
from slmeval.families import ALSO, FAMILIES, Family
from slmeval.shape import Attention, FeedForward, Layer, Shape, Weight, check_shared, looking

_HIDDEN = ("hidden_size", "n_embd", "d_model", "model_dim")
# where Bloom has this one, it wins
_HIDDEN_OF_BLOOM = ("n_embed", *_HIDDEN)
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "num_transformer_layers")
_HEADS = ("num_attention_heads", "n_head")
_FFN = ("intermediate_size", "ffn_dim", "n_inner")
_CONTEXT = ("n_positions", "max_position_embeddings", "n_ctx", "seq_length", "max_context_length")
_ACTIVATION = ("hidden_activation", "hidden_act", "activation_function", "activation_fn_name")
#: types of numbers as configurations name them
BITS: Mapping[str, float] = {"float32": 32.0, "float16": 16.0, "bfloat16": 16.0, "float64": 64.0}


def shape_of_config(values: Mapping[str, Any], place: str) -> Shape:
    """What the configuration tells; where its ``model_type`` is not known here, no layers and no weights.

    :raises ModelError: a field that is needed is missing, or is not what it can be.
    """
    whole = Fields(values, place)
    named = whole.text("model_type") or ""
    text = whole.below("text_config")
    fields = text if text is not None else whole
    kind = fields.text("model_type") or named
    kind = ALSO.get(kind, kind)
    notes = (f"of {named!r} the text model alone is counted",) if text is not None else ()
    if kind not in FAMILIES:
        return _unknown(fields, kind, notes)
    return _Plan(fields, kind, _dtype(whole, fields)).shape(notes)


def _dtype(whole: Fields, fields: Fields) -> str | None:
    return fields.text("dtype", "torch_dtype") or whole.text("dtype", "torch_dtype")


def _unknown(fields: Fields, kind: str, notes: tuple[str, ...]) -> Shape:
    told = f"the architecture {kind!r} is not known here" if kind else "it names no model_type"
    dtype = _dtype(fields, fields)
    return Shape(
        architecture=kind,
        layers=(),
        weights=(),
        stored=None,
        hidden=fields.number(*_HIDDEN),
        vocabulary=fields.number("vocab_size"),
        tied=None,
        context=fields.number(*_CONTEXT),
        activation=fields.text(*_ACTIVATION),
        norm=None,
        dtype=dtype,
        dtype_bits=BITS.get(dtype or ""),
        notes=(*notes, f"{told}: its layers and what they keep of a token cannot be told"),
    )


class _Plan:
    """A model as its configuration plans it: its layers, and each of its weights with name and shape."""

    def __init__(self, fields: Fields, kind: str, dtype: str | None) -> None:
        self.fields, self.kind, self.dtype = fields, kind, dtype
        self.family: Family = FAMILIES[kind]
        #: notes, each once however many layers it is of
        self.assumed: dict[str, None] = {}
        self.hidden = fields.needed(*(_HIDDEN_OF_BLOOM if kind == "bloom" else _HIDDEN), most=1 << 20)
        self.count = fields.layers(*_LAYERS)
        self.vocabulary = self._needed("vocab_size")
        self.context = self._number(*_CONTEXT)
        switch = "share_input_output_layers" if kind == "openelm" else "tie_word_embeddings"
        self.tied = fields.flag(switch, self.family.tied)
        self.by_default = frozenset(() if fields.values.get(switch) is not None else ("tied",))
        self.layers = tuple(self._layers())

    def shape(self, notes: tuple[str, ...]) -> Shape:
        bits = BITS.get(self.dtype or "")
        weights = tuple(Weight(name, shape, self.dtype or "", bits) for name, shape in self._weights())
        return Shape(
            architecture=self.kind,
            layers=self.layers,
            weights=weights,
            stored=None,
            hidden=self.hidden,
            vocabulary=self.vocabulary,
            tied=self.tied,
            context=self.context,
            activation=self.family.activation or self.fields.text(*_ACTIVATION),
            norm=self.family.norm,
            dtype=self.dtype,
            dtype_bits=bits,
            notes=(*notes, *self.assumed),
            by_architecture=frozenset(("norm", "gate", *(("activation",) if self.family.activation else ()))),
            by_default=self.by_default,
        )

    # ---- fields ----------------------------------------------------------------------------------------

    def _number(self, *names: str) -> int | None:
        """A field, else what the family's code takes in its place; then a note says so."""
        found = self.fields.number(*names)
        known = [name for name in names if name in self.family.defaults]
        # null is said: there is none, or it follows from the rest
        if not known or any(name in self.fields.values for name in names):
            return found
        value = self.family.defaults[known[0]]
        self.assumed[f"{known[0]} is not given: {value} is the default of {self.kind}"] = None
        return value

    def _count(self, name: str) -> int | None:
        """As :meth:`_number`, of a field that may be 0."""
        return 0 if self.fields.values.get(name) == 0 else self._number(name)

    def _needed(self, *names: str) -> int:
        found = self._number(*names)
        return self.fields.needed(*names) if found is None else found

    def _says(self, switch: bool | str, default: bool = False) -> bool:
        return self.fields.flag(switch, default) if isinstance(switch, str) else switch

    # ---- layers ----------------------------------------------------------------------------------------

    def _layers(self) -> Iterator[Layer]:
        looks = list(self._looks())
        widths = self._openelm_widths() if self.kind == "openelm" else None
        for index, look in enumerate(looks):
            yield Layer(look, self._feed_forward(index, widths))

    def _looks(self) -> Iterator[Attention]:
        if self.kind in ("deepseek_v2", "deepseek_v3", "minicpm3"):
            return iter([self._latent()] * self.count)
        if self.kind == "recurrent_gemma":
            return self._griffin()
        if self.kind == "openelm":
            return self._openelm()
        return self._usual()

    def _usual(self) -> Iterator[Attention]:
        heads = self._needed(*_HEADS)
        kv_heads = (self._number("num_key_value_heads") if self.family.grouped else None) or heads
        size = self._number("head_dim", "kv_channels") or self._head_size(heads)
        check_shared(heads, kv_heads, self.fields.place)
        for window in self._windows():
            yield looking(heads, kv_heads, size, size, window)

    def _head_size(self, heads: int) -> int:
        if self.hidden < heads:
            self.fields.needed("head_dim")
        return self.hidden // heads

    def _windows(self) -> list[int | None]:
        rule = self.family.windows
        unasked = self.family.windows_asked and not self.fields.flag("use_sliding_window", False)
        if rule == "none" or unasked:
            return [None] * self.count
        # some configurations write 0 for none
        window = self._number("sliding_window") if self.fields.values.get("sliding_window") != 0 else None
        if window is None:
            return [None] * self.count
        kinds = self.fields.words("layer_types", self.count)
        slides = [kind == "sliding_attention" for kind in kinds] if kinds else self._sliding(rule)
        return [window if each else None for each in slides]

    def _sliding(self, rule: str) -> list[bool]:
        if rule == "even":
            return [index % 2 == 0 for index in range(self.count)]
        if rule == "sixth":
            turn = self._needed("sliding_window_pattern", "_sliding_window_pattern")
            return [(index + 1) % turn != 0 for index in range(self.count)]
        if rule == "unrotated":
            return self._unrotated()
        if rule == "all":
            return [True] * self.count
        limit = self._count("max_window_layers")
        limit = self.count if limit is None else limit
        if rule == "late":
            return [index >= limit for index in range(self.count)]
        return [index % 2 == 0 and index < limit for index in range(self.count)]

    def _unrotated(self) -> list[bool]:
        """The layers without rotations: SmolLM3's, which alone may have windows."""
        told = self.fields.several("no_rope_layers")
        if not told:
            step = self._needed("no_rope_layer_interval")
            return [(index + 1) % step == 0 for index in range(self.count)]
        if len(told) < self.count:
            raise ModelError(f"{self.fields.place} gives {len(told)} no_rope_layers for {self.count} layers")
        return [not rotated for rotated in told[: self.count]]

    def _latent(self) -> Attention:
        heads = self._needed(*_HEADS)
        rope = self.fields.needed("qk_rope_head_dim")
        values = self._number("v_head_dim") or self._head_size(heads)
        return Attention(
            "latent",
            heads,
            heads,
            self.fields.needed("qk_nope_head_dim") + rope,
            values,
            kv_rank=self.fields.needed("kv_lora_rank"),
            rope_size=rope,
        )

    def _griffin(self) -> Iterator[Attention]:
        heads = self._needed(*_HEADS)
        size = self.fields.number("head_dim") or self._head_size(heads)
        groups = self.fields.number("num_key_value_heads") or heads
        check_shared(heads, groups, self.fields.place)
        window = self._needed("attention_window_size")
        width = self._lru_width()
        # what it carries on, and the inputs that its convolution still needs
        state = width * self._needed("conv1d_width")
        kinds = self.fields.words("block_types") or ["recurrent", "recurrent", "attention"]
        for index in range(self.count):
            if kinds[index % len(kinds)] == "recurrent":
                yield Attention("recurrent", state=state)
            else:
                yield Attention("sliding", heads, groups, size, size, window)

    def _lru_width(self) -> int:
        return self.fields.number("lru_width") or self.hidden

    def _openelm(self) -> Iterator[Attention]:
        size = self.fields.needed("head_dim")
        heads = self.fields.each("num_query_heads", self.count)
        groups = self.fields.each("num_kv_heads", self.count)
        if heads is None or groups is None:
            self.fields.needed("num_query_heads" if heads is None else "num_kv_heads")
        for query, kv in zip(heads or (), groups or (), strict=True):
            check_shared(query, kv, self.fields.place)
            yield Attention("full", query, kv, size, size)

    def _openelm_widths(self) -> list[int]:
        step = self._needed("ffn_dim_divisor")
        return [
            _rounded(factor * self.hidden, step)
            for factor in self.fields.factors("ffn_multipliers", self.count)
        ]

    def _feed_forward(self, index: int, widths: list[int] | None) -> FeedForward:
        if widths is not None:
            return FeedForward(widths[index], self.fields.flag("ffn_with_glu", True))
        experts = self._experts(index)
        if experts is not None:
            return experts
        size = self._number(*_FFN)
        if size is None and self.family.ffn_times is not None:
            size = self.family.ffn_times * self.hidden
        size = self.fields.needed(*_FFN) if size is None else size
        return FeedForward(size // 2 if self.family.ffn_halved else size, self.family.gated)

    def _experts(self, index: int) -> FeedForward | None:
        """The layer's experts, where it has some."""
        if self.kind == "mixtral":
            size, experts = self._needed(*_FFN), self._needed("num_local_experts")
            return FeedForward(size, True, experts, self._needed("num_experts_per_tok"))
        if self.kind.startswith("deepseek"):
            return self._deepseek_experts(index)
        if self.kind.endswith("_moe"):
            return self._qwen_experts(index)
        return None

    def _deepseek_experts(self, index: int) -> FeedForward | None:
        experts = self._count("n_routed_experts")
        if not experts or index < (self._count("first_k_dense_replace") or 0):
            return None
        size, used = self.fields.needed("moe_intermediate_size"), self.fields.needed("num_experts_per_tok")
        return FeedForward(size, True, experts, used, size * (self._count("n_shared_experts") or 0))

    def _qwen_experts(self, index: int) -> FeedForward | None:
        fields = self.fields
        dense = fields.several("mlp_only_layers")
        step = self._needed("decoder_sparse_step")
        if index in dense or (index + 1) % step:
            return None
        shared = fields.needed("shared_expert_intermediate_size") if self.kind == "qwen2_moe" else 0
        return FeedForward(
            fields.needed("moe_intermediate_size"),
            True,
            fields.needed("num_experts", "num_local_experts"),
            fields.needed("num_experts_per_tok"),
            shared,
        )

    # ---- weights ---------------------------------------------------------------------------------------

    def _weights(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        narrow = self.fields.number("word_embed_proj_dim") if self.kind == "opt" else None
        width = narrow or self.hidden
        yield "embed_tokens.weight", (self.vocabulary, width)
        if width != self.hidden:
            yield "project_in.weight", (self.hidden, width)
            yield "project_out.weight", (width, self.hidden)
        if self.family.positions is not None:
            context = self.context or self.fields.needed(*_CONTEXT)
            yield "embed_positions.weight", (context + self.family.positions, self.hidden)
        if self.family.embedding_norm:
            yield from self._norm("embedding_norm", self.hidden)
        for index, layer in enumerate(self.layers):
            yield from ((f"layers.{index}.{name}", shape) for name, shape in self._of_layer(layer))
        if self._has_final_norm():
            yield from self._norm("norm", self.hidden)
        if not self.tied:
            yield "lm_head.weight", (self.vocabulary, width)
        if self.family.head_bias:
            yield "lm_head.bias", (self.vocabulary,)

    def _has_final_norm(self) -> bool:
        if self.kind != "opt":
            return True
        # OPT-350M normalizes after its layers' parts, and has none at the end
        removed = self.fields.flag("_remove_final_layer_norm", False)
        return self.fields.flag("do_layer_norm_before", True) and not removed

    def _norm(self, name: str, size: int, bias: bool | None = None) -> Iterator[tuple[str, tuple[int, ...]]]:
        if self.family.norm == "LayerNorm without weights":
            return
        if self.kind == "opt" and not self.fields.flag("layer_norm_elementwise_affine", True):
            return
        yield f"{name}.weight", (size,)
        if self.family.norm_bias if bias is None else bias:
            yield f"{name}.bias", (size,)

    def _of_layer(self, layer: Layer) -> Iterator[tuple[str, tuple[int, ...]]]:
        for number in range(self._norms()):
            yield from self._norm(f"norm_{number}", self.hidden)
        if layer.attention.kind == "recurrent":
            yield from self._of_recurrence()
        elif layer.attention.kind == "latent":
            yield from self._of_latent(layer.attention)
        else:
            yield from self._of_attention(layer.attention)
        if layer.ffn is not None:
            yield from self._of_ffn(layer.ffn)

    def _norms(self) -> int:
        # one norm before both parts of such a layer; GPT-NeoX has two all the same
        parallel = self.kind == "stablelm" and self.fields.flag("use_parallel_residual", False)
        return 1 if parallel else self.family.norms

    def _linear(self, name: str, to: int, of: int, bias: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (to, of)
        if bias:
            yield f"{name}.bias", (to,)

    def _of_attention(self, look: Attention) -> Iterator[tuple[str, tuple[int, ...]]]:
        bias, width = self._bias(self.family.qkv_bias), look.heads * look.key_size
        yield from self._linear("q_proj", width, self.hidden, bias)
        yield from self._linear("k_proj", look.keys, self.hidden, bias)
        yield from self._linear("v_proj", look.values, self.hidden, bias)
        out_bias = self._bias(self.family.out_bias) or self.kind == "recurrent_gemma"
        yield from self._linear("o_proj", self.hidden, look.heads * look.value_size, out_bias)
        if self.family.qk_norm and self._says(self.family.qk_norm_field or True):
            yield from self._of_qk_norm(look)

    def _bias(self, switch: bool | str) -> bool:
        if self.kind == "opt":
            return self.fields.flag("enable_bias", True)
        # GPT-NeoX can be made without
        return self._says("attention_bias", True) if self.kind == "gpt_neox" else self._says(switch)

    def _of_qk_norm(self, look: Attention) -> Iterator[tuple[str, tuple[int, ...]]]:
        queries = {"head": look.key_size}.get(self.family.qk_norm, look.heads * look.key_size)
        keys = {"head": look.key_size}.get(self.family.qk_norm, look.keys)
        bias = self.family.qk_norm_bias
        yield from self._norm("q_norm", queries, bias)
        yield from self._norm("k_norm", keys, bias)

    def _of_latent(self, look: Attention) -> Iterator[tuple[str, tuple[int, ...]]]:
        bias = self.fields.flag("attention_bias", False)
        queries, rank = look.heads * look.key_size, self._number("q_lora_rank")
        if rank is None:
            yield from self._linear("q_proj", queries, self.hidden, False)
        else:
            yield from self._linear("q_a_proj", rank, self.hidden, bias)
            yield from self._norm("q_a_norm", rank)
            yield from self._linear("q_b_proj", queries, rank, False)
        yield from self._linear("kv_a_proj", look.keys, self.hidden, bias)
        yield from self._norm("kv_a_norm", look.kv_rank)
        opened = look.heads * (look.key_size - look.rope_size + look.value_size)
        yield from self._linear("kv_b_proj", opened, look.kv_rank, False)
        yield from self._linear("o_proj", self.hidden, look.heads * look.value_size, bias)

    def _of_recurrence(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        width, blocks = self._lru_width(), self._needed(*_HEADS)
        yield from self._linear("linear_x", width, self.hidden, True)
        yield from self._linear("linear_y", width, self.hidden, True)
        yield from self._linear("linear_out", self.hidden, width, True)
        yield "conv_1d.weight", (width, 1, self._needed("conv1d_width"))
        yield "conv_1d.bias", (width,)
        yield "rg_lru.recurrent_param", (width,)
        for gate in ("input", "recurrent"):
            yield f"rg_lru.{gate}_gate_weight", (blocks, width // blocks, width // blocks)
            yield f"rg_lru.{gate}_gate_bias", (width // blocks * blocks,)

    def _of_ffn(self, ffn: FeedForward) -> Iterator[tuple[str, tuple[int, ...]]]:
        if not ffn.experts:
            yield from self._of_dense("mlp", ffn.size, ffn.gated)
            return
        yield "mlp.router.weight", (ffn.experts, self.hidden)
        yield "mlp.experts.gate_up_proj", (ffn.experts, 2 * ffn.size, self.hidden)
        yield "mlp.experts.down_proj", (ffn.experts, self.hidden, ffn.size)
        if ffn.shared:
            yield from self._of_dense("mlp.shared_experts", ffn.shared, True)
        if self.kind == "qwen2_moe":
            yield "mlp.shared_expert_gate.weight", (1, self.hidden)

    def _of_dense(self, name: str, size: int, gated: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
        bias = (
            self.fields.flag("enable_bias", True) if self.kind == "opt" else self._says(self.family.ffn_bias)
        )
        if gated:
            yield from self._linear(f"{name}.gate_proj", size, self.hidden, bias)
        yield from self._linear(f"{name}.up_proj", size, self.hidden, bias)
        yield from self._linear(f"{name}.down_proj", self.hidden, size, bias)


def _rounded(value: float, step: int) -> int:
    """OpenELM's: to the nearest multiple, and never more than a tenth below."""
    near = max(step, int(value + step / 2) // step * step)
    return near + step if near < 0.9 * value else near
