"""A trial at opening: does this model's cache give what a pass over the whole sequence gives?

Nothing in an architecture's name says whether its cache can be copied, shifted and gone on from with
several tokens; code that comes with a model may do anything. So one tiny case is computed both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import torch
from transformers import PreTrainedModel

from slmeval.types import Likelihood, ScoreGroup, TokenIds
from slmeval_hf.attention import NAME
from slmeval_hf.batching import Budget, PassBudget
from slmeval_hf.forest_passes import ForestPasses
from slmeval_hf.forest_scoring import score_behind
from slmeval_hf.passes import Passes
from slmeval_hf.scoring import score_cached, score_whole

#: cache layers that are keys and values of attention, and nothing else; a "dummy" uses another's
ATTENTION = {"DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"}
#: how configs name what layers attend to
FULL, SLIDING = "full_attention", "sliding_attention"
#: differences in a log-probability that rounding alone explains; some models compute in float32 inside
TOLERANCES = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.4}
#: code that came with a model may know another kind of cache only, and say so in any of these ways
FAILURES = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


def fault_of_state(passes: Passes) -> str | None:
    """Why nothing that this model computes can be gone on from twice, or ``None``."""
    # Llama 4's: no trial is long enough to see it
    if getattr(passes.model.config.get_text_config(), "attn_temperature_tuning", None):
        return "it scales queries by their column, not by their position"
    try:
        kind = _kind_of_cache(passes)
    except FAILURES as error:
        return f"with the cache it fails: {type(error).__name__}"
    return None if kind is None else f"{kind} cannot be copied from one sequence to another"


def fault_of_cache(passes: Passes, vocabulary: int) -> str | None:
    """Why sequences must be run whole with this model, or ``None``: its cache can be used."""
    try:
        differences = _differences(passes, vocabulary)
    except FAILURES as error:
        return f"with the cache it fails: {type(error).__name__}"
    if not all(map(isfinite, differences)):
        return "with the cache it gives log-probabilities that are no numbers"
    if max(differences) <= _tolerance(passes.model):
        return None
    return f"with the cache log-probabilities differ by {max(differences):.2g}"


def fault_of_forest(model: PreTrainedModel, passes: Passes, vocabulary: int) -> str | None:
    """Why this model cannot run a forest of tokens, or ``None``: it can, and is set to it."""
    before = model.config._attn_implementation
    plain = [score_whole(passes, [group], Budget(1, vocabulary))[0] for group in _groups(vocabulary)]
    try:
        fault = _set_to_forest(model, passes) or _fault_in_forest(model, plain, vocabulary)
    except FAILURES as error:
        fault = f"{type(error).__name__}: {error}"
    if fault is not None:
        model.set_attn_implementation(before)
    return fault


def _set_to_forest(model: PreTrainedModel, passes: Passes) -> str | None:
    if missing := {"position_ids", "logits_to_keep"} - passes.accepted:
        return f"it takes no {min(missing)}"
    model.set_attn_implementation(NAME)
    if any(getattr(part, "_attn_implementation", NAME) != NAME for part in [model.config.get_text_config()]):
        return "its attention cannot be set"
    return None


def _fault_in_forest(
    model: PreTrainedModel, plain: list[tuple[Likelihood, ...]], vocabulary: int
) -> str | None:
    passes, groups = ForestPasses(model), _groups(vocabulary)
    # a trunk, a pass that ends in the middle of a context, and one that goes on there
    found = list(score_behind(passes, groups, groups[0].context[:2], PassBudget(6)))
    differences = [abs(one - other) for one, other in zip(_flat(found), _flat(plain), strict=True)]
    # no numbers at all compare as false
    if not all(difference <= _tolerance(model) for difference in differences):
        return f"log-probabilities differ by {max(differences):.2g}"
    return _fault_of_windows(model, passes.windows)


def _fault_of_windows(model: PreTrainedModel, windows: Mapping[int, int | None]) -> str | None:
    """No trial is long enough to fill a window: does each layer tell its own?"""
    config = model.config.get_text_config()
    size = getattr(config, "sliding_window", None)
    used = size and getattr(config, "use_sliding_window", True)
    kinds = getattr(config, "layer_types", None) or [SLIDING if used else FULL] * len(windows)
    for layer, kind in enumerate(kinds):
        wanted = {FULL: None, SLIDING: size}.get(kind, kind)
        if windows.get(layer) != wanted:
            return f"layer {layer} is {kind}"
    return None


@torch.inference_mode()
def _kind_of_cache(passes: Passes) -> str | None:
    """What is not a cache of attention's keys and values in what the model itself makes, or ``None``."""
    ids = torch.tensor([[0, 1]], device=passes.model.device)
    cache = getattr(passes.model(input_ids=ids, use_cache=True), passes.cache_name, None)
    layers = getattr(cache, "layers", None)
    if not layers:
        return "its state"
    return next((name for layer in layers if (name := type(layer).__name__) not in ATTENTION), None)


def _differences(passes: Passes, vocabulary: int) -> list[float]:
    """Between the cached and the plain way, in each log-probability."""
    groups = _groups(vocabulary)
    _, prefix = passes.prefill([groups[0].context[:3]])
    cached = score_cached(passes, groups, prefix, Budget(1024, vocabulary))
    # one row at a time: no padding, nothing that could be wrong
    plain = score_whole(passes, groups, Budget(1, vocabulary))
    return [abs(one - other) for one, other in zip(_flat(cached), _flat(plain), strict=True)]


def _groups(vocabulary: int) -> list[ScoreGroup]:
    """Two contexts that begin with the same three tokens."""
    start = _tokens(3, 1, vocabulary)
    return [
        ScoreGroup(start + _tokens(5, 2, vocabulary), (_tokens(4, 3, vocabulary), _tokens(2, 4, vocabulary))),
        ScoreGroup(start + _tokens(1, 5, vocabulary), (_tokens(3, 6, vocabulary),)),
    ]


def _tolerance(model: PreTrainedModel) -> float:
    return TOLERANCES.get(model.dtype, 0.4)


def _tokens(count: int, seed: int, vocabulary: int) -> TokenIds:
    return tuple((7919 * seed + 104729 * place) % vocabulary for place in range(count))


def _flat(answers: list[tuple[Likelihood, ...]]) -> list[float]:
    return [logprob for replies in answers for reply in replies for logprob in reply.token_logprobs]
