"""What ``slmeval inspect`` tells: facts about a model, each with its source, and its costs by context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from slmeval.errors import ModelError
from slmeval.shape import Attention, FeedForward, Layer, Shape
from slmeval.work import Numbers, decode, decode_ceiling, prefill

ValueT = TypeVar("ValueT")
Value = int | float | str | None

#: the share of keys and values, of these and the weights, whose context is told
SHARE = 0.8
UNKNOWN = "unknown"
COMPUTED = "computed"
ESTIMATED = "estimated"
_FROM_TENSORS = "read from tensors"
#: the costs that are estimates as the compute buffer is, and those that the weights have a part in
OF_COMPUTE = ("compute_bytes", "kv_share_with_compute")
OF_WEIGHTS = ("weight_bytes", "kv_share", "prefill_bytes", "decode_bytes", "decode_ceiling")


@dataclass(frozen=True)
class Fact:
    """One thing about a model. ``source`` is where the value is from, "unknown" where there is none.

    ``words`` say it for people, where the value alone does not.
    """

    name: str
    label: str
    value: Value
    source: str
    unit: str = ""
    words: str = ""


@dataclass(frozen=True)
class Asked:
    """What is to be computed for: types of numbers with their names, lengths of context, memory's speed.

    ``numbers.weights`` are ``None`` for weights as they are. ``bandwidth`` is in 10^9 bytes a second.
    ``estimate`` is whether the bits of the weights are those of another model's mixture.
    """

    numbers: Numbers
    weights: str
    cache: str
    contexts: Sequence[int]
    bandwidth: float | None = None
    estimate: bool = False


@dataclass(frozen=True)
class Costs:
    """Of one sequence with a context of so many tokens, in bytes, operations and tokens a second.

    ``prefill_*`` are for each token of a prompt as long as the context, ``decode_*`` for the token after
    it. ``None``: cannot be told. ``compute_bytes`` is an estimate, of llama.cpp without flash attention.
    """

    context: int
    weight_bytes: float | None
    kv_bytes: float | None
    state_bytes: float | None
    compute_bytes: float | None
    kv_share: float | None
    kv_share_with_compute: float | None
    prefill_operations: float | None
    prefill_bytes: float | None
    decode_operations: float | None
    decode_bytes: float | None
    decode_ceiling: float | None


def facts_of(shape: Shape, asked: Asked) -> tuple[Fact, ...]:
    """All that is told of a model, but for what grows with the context."""
    return (*_sizes(shape), *_plan(shape), *_memory(shape, asked))


def costs_of(shape: Shape, context: int, asked: Asked) -> Costs:
    """What a sequence of so many tokens costs."""
    numbers = asked.numbers
    weights = _told(lambda: shape.weight_bytes(numbers.weights))
    cache = _told(lambda: shape.kv_bytes(context, numbers.keys, numbers.values))
    compute = shape.compute_bytes(context)
    before = _told(lambda: prefill(shape, context, numbers))
    after = _told(lambda: decode(shape, context, numbers))
    bandwidth = asked.bandwidth
    return Costs(
        context=context,
        weight_bytes=weights,
        kv_bytes=cache,
        state_bytes=_told(shape.state_bytes),
        compute_bytes=compute,
        kv_share=_share(cache, weights),
        kv_share_with_compute=_share(cache, weights, compute),
        prefill_operations=before.operations / context if before else None,
        prefill_bytes=before.bytes / context if before else None,
        decode_operations=after.operations if after else None,
        decode_bytes=after.bytes if after else None,
        decode_ceiling=decode_ceiling(shape, context, numbers, bandwidth) if bandwidth and after else None,
    )


def _told(compute: Callable[[], ValueT]) -> ValueT | None:
    """What can be computed, or ``None``; the shape's notes say why it cannot."""
    try:
        return compute()
    except ModelError:
        return None


def _read(shape: Shape, name: str = "") -> str:
    """Where a field is from."""
    if name in shape.by_architecture:
        return f"known of {shape.architecture}"
    if name in shape.by_default:
        return f"default of {shape.architecture}"
    return f"read from {shape.told_by}"


def _share(cache: float | None, *others: float | None) -> float | None:
    total = cache
    for other in others:
        if total is None or other is None:
            return None
        total += other
    return cache / total if cache is not None and total else None


def _fact(name: str, label: str, value: Value, source: str, unit: str = "", words: str | None = None) -> Fact:
    """A fact, unknown where there is no value."""
    return Fact(name, label, value, UNKNOWN if value is None else source, unit, words or "")


# ---- parameters ------------------------------------------------------------------------------------------


def _sizes(shape: Shape) -> Iterator[Fact]:
    counted = _FROM_TENSORS if shape.counted else f"{COMPUTED} from {shape.told_by}"
    stored = shape.parameters_stored
    yield _fact("architecture", "architecture", shape.architecture or None, _read(shape))
    yield _fact("parameters", "parameters, unique", _told(lambda: shape.parameters), counted)
    yield _fact("parameters_stored", "parameters, stored", stored, _FROM_TENSORS)
    if shape.tied:
        untied = _told(lambda: shape.parameters_untied)
        yield _fact("parameters_untied", "where a tied head counts twice", untied, COMPUTED)
    share = _told(lambda: shape.embedding_share)
    yield _fact("vocabulary", "vocabulary", shape.vocabulary, _read(shape), "tokens")
    yield _fact("embedding_share", "embedding and head", share, counted, "of parameters", _percent(share))
    tied = None if shape.tied is None else ("yes" if shape.tied else "no")
    yield _fact("tied", "head is the embedding", tied, _read(shape, "tied"))


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}%"


# ---- how it is built -------------------------------------------------------------------------------------


def _plan(shape: Shape) -> Iterator[Fact]:
    by = _read(shape)
    yield _fact("layers", "layers", len(shape.layers) or None, by)
    yield _fact("hidden", "hidden width", shape.hidden, by)
    looks = [layer.attention for layer in shape.layers]
    yield _fact("attention", "attention", attention_kind(looks), by, words=_described(looks))
    yield _fact("sliding_window", "sliding window", _windows(looks), by)
    yield _fact("latent", "latent attention", _latent(looks), by)
    yield from _feed_forward(shape)
    yield _fact("activation", "activation", shape.activation, _read(shape, "activation"))
    yield _fact("norm", "norm", shape.norm, _read(shape, "norm"))
    yield _fact("context", "context", shape.context, by, "tokens")


def attention_kind(looks: Sequence[Attention]) -> str | None:
    """MHA, GQA, MQA or MLA, by queries for each head of keys; several where layers differ so."""
    kinds = Counter(_kind(look) for look in looks)
    return " and ".join(kinds) or None


def _kind(look: Attention) -> str:
    if look.kind in ("latent", "recurrent"):
        return {"latent": "MLA", "recurrent": "recurrent"}[look.kind]
    if look.kv_heads == look.heads:
        return "MHA"
    return "MQA" if look.kv_heads == 1 else "GQA"


def _described(looks: Sequence[Attention]) -> str | None:
    """Each kind with its heads, and in how many layers it is, where there are several."""
    kinds: dict[str, list[Attention]] = {}
    for look in looks:
        kinds.setdefault(_kind(look), []).append(look)
    told = [
        _heads(kind, alike) + (f" in {len(alike)} of {len(looks)} layers" if len(kinds) > 1 else "")
        for kind, alike in kinds.items()
    ]
    return "; ".join(told) or None


def _heads(kind: str, looks: Sequence[Attention]) -> str:
    if kind == "recurrent":
        return f"recurrent (a state of {looks[0].state:,} numbers)"
    heads, groups = _range(look.heads for look in looks), _range(look.kv_heads for look in looks)
    ratio = _range(f"{look.heads / look.kv_heads:g}:1" for look in looks)
    sizes = _range(look.key_size for look in looks)
    if kind == "MLA":
        return f"MLA ({heads} heads of {sizes})"
    return f"{kind} {ratio} ({heads} heads over {groups} of keys and values, of {sizes})"


def _range(values: Iterator[int] | Iterator[str]) -> str:
    """One value, or the first and the last of those there are."""
    found = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _windows(looks: Sequence[Attention]) -> str | None:
    if not looks:
        return None
    slides = [look.window for look in looks if look.window is not None]
    if not slides:
        return "none"
    return f"{_range(iter(slides))} tokens in {len(slides)} of {len(looks)} layers"


def _latent(looks: Sequence[Attention]) -> str | None:
    if not looks:
        return None
    found = {(look.kv_rank, look.rope_size, look.opened) for look in looks if look.kind == "latent"}
    how = {True: ", kept opened for each head", False: ""}
    told = [f"rank {rank} and {rope} rotated{how[opened]}" for rank, rope, opened in sorted(found)]
    return "; ".join(told) or "none"


def _feed_forward(shape: Shape) -> Iterator[Fact]:
    found = [layer.ffn for layer in shape.layers if layer.ffn is not None]
    widths = sorted({ffn.size for ffn in found})
    ratio = widths[-1] / shape.hidden if widths and shape.hidden else None
    words = None
    if ratio is not None and shape.hidden:
        words = (
            f"{_range(iter(widths))}, {_range(f'{width / shape.hidden:.2f}' for width in widths)} x hidden"
        )
    yield _fact("ffn_ratio", "FFN", ratio, _read(shape), "x hidden", words)
    gated = {ffn.gated for ffn in found}
    told = {frozenset((True,)): "gated", frozenset((False,)): "not gated"}.get(frozenset(gated))
    yield _fact("ffn_gated", "FFN's gate", told, _read(shape, "gate"))
    yield from _experts(shape.layers, found, _read(shape))


def _experts(layers: Sequence[Layer], found: Sequence[FeedForward], by: str) -> Iterator[Fact]:
    some = [ffn for ffn in found if ffn.experts]
    if some:
        shared = f", {some[0].shared} wide shared" if some[0].shared else ""
        words = f"{some[0].used} of {some[0].experts}{shared}, in {len(some)} of {len(layers)} layers"
        yield _fact("experts", "experts", some[0].experts, by, words=words)


# ---- memory ----------------------------------------------------------------------------------------------


def _memory(shape: Shape, asked: Asked) -> Iterator[Fact]:
    numbers = asked.numbers
    as_stored = shape.stored is not None
    stored = _told(shape.weight_bytes)
    source = _FROM_TENSORS if as_stored else f"{COMPUTED} from {shape.told_by}"
    named = f" ({shape.dtype})" if shape.dtype else ""
    yield _fact("weight_bytes_stored", f"weights as they are{named}", stored, source, "bytes")
    if numbers.weights is not None:
        weights = _told(lambda: shape.weight_bytes(numbers.weights))
        how = ESTIMATED if asked.estimate else COMPUTED
        yield _fact("weight_bytes", f"weights in {asked.weights}", weights, how, "bytes")
    token = _told(lambda: shape.kv_bytes(1, numbers.keys, numbers.values))
    label = f"keys and values of a token in {asked.cache}"
    yield _fact("kv_bytes_per_token", label, token, COMPUTED, "bytes")
    if state := _told(shape.state_bytes):
        yield _fact("state_bytes", "state of a sequence in float32", state, COMPUTED, "bytes")
    yield _at_share(shape, asked)


def _at_share(shape: Shape, asked: Asked) -> Fact:
    """The context at which keys and values are most of it; "never" where windows keep them from that."""
    numbers = asked.numbers
    label = f"keys and values are {SHARE:.0%} of themselves and weights at"
    try:
        found = shape.context_at_share(SHARE, numbers.weights, numbers.keys, numbers.values)
    except ModelError:
        return _fact("context_at_80_percent", label, None, COMPUTED)
    never = "never, for none of its layers keeps more and more"
    how = ESTIMATED if asked.estimate else COMPUTED
    return Fact("context_at_80_percent", label, found, how, "tokens", never if found is None else "")
