"""A workload timed as mlx-lm runs a model: in its caches, and with the device one pass ahead of the host.

``mlx_lm.generate.generate_step`` runs the last token of a prompt in a pass of its own, and puts the pass
after a token under way before it looks at that token. So it is done here, for several sequences in step;
only when the prompts are through is the device waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models.cache import trim_prompt_cache

from slmeval.types import Timing, TokenIds, Workload
from slmeval_mlx.readings import room_of
from slmeval_mlx.trunk import Passes

#: new tokens after which freed buffers are given back, the first one among them, as generate_step does it
GIVEN_BACK = 256


class Runs:
    """One workload, run as often as it is asked for; ``cache`` is as the last run left it.

    While ``bare()`` lasts, the model is as mlx-lm has made it.
    """

    def __init__(
        self, passes: Passes, workload: Workload, bare: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._passes, self._workload, self._bare = passes, workload, bare
        self.cache: list[Any] = []
        #: the prompts, [rows, tokens], and the tokens that are forced, each step's [rows, 1]
        self._ids: Any = mx.array(list(workload.prompts))
        self._forced = [_column(tokens) for tokens in zip(*workload.forced, strict=True)]
        #: columns that the cache has where only the leading tokens are in it
        self._room = 0

    def timings(self) -> Iterator[Timing]:
        """Without end."""
        mx.eval(self._ids, self._forced)
        while True:
            with self._bare():
                self._set_back()
                mx.clear_cache()
                mx.synchronize()
                timing = self._run()
            yield timing

    def close(self) -> None:
        """Give back the cache."""
        self.cache = []
        mx.clear_cache()

    def _set_back(self) -> None:
        """Leave the leading tokens in the cache, in arrays as large as if nothing had come behind them."""
        depth = self._workload.depth
        if depth and self.cache and self._passes.plain:
            trim_prompt_cache(self.cache, self.cache[0].offset - depth)
            for layer in self.cache:
                _shrink(layer, depth, self._room)
        else:
            self.cache = self._passes.new_cache()
            self._fill(self._ids[:, :depth])
            self._room = room_of(self.cache)[0]

    def _run(self) -> Timing:
        began = perf_counter()
        self._fill(self._ids[:, self._workload.depth : -1])
        logits = self._passes.logits(self.cache, self._ids[:, -1:])
        mx.eval(logits)
        mx.synchronize()
        prefill = perf_counter() - began
        return Timing(prefill, tuple(moment - began for moment in self._moments(logits)))

    def _fill(self, ids: Any) -> None:
        """Put ``ids`` into the cache; no logits are computed."""
        for at in range(0, ids.shape[1], self._passes.step):
            self._passes.logits(self.cache, ids[:, at : at + self._passes.step])
            mx.eval([layer.state for layer in self.cache])
            mx.clear_cache()

    def _moments(self, logits: Any) -> Iterator[float]:
        """When each new token is there, by the clock."""
        if not self._workload.new_tokens:
            return
        coming, wait = (self._given(logits), mx.eval) if self._forced else (self._chosen(logits), _on_host)
        for number, result in enumerate(_one_ahead(coming)):
            wait(result)
            yield perf_counter()
            if number % GIVEN_BACK == 0:
                mx.clear_cache()

    def _chosen(self, logits: Any) -> Iterator[Any]:
        """Each step's likeliest tokens, [rows], under way."""
        tokens = _likeliest(logits)
        yield tokens
        for _ in range(1, self._workload.new_tokens):
            tokens = _likeliest(self._passes.logits(self.cache, tokens[:, None]))
            yield tokens

    def _given(self, logits: Any) -> Iterator[Any]:
        """Each step's logits, from which the forced tokens would have been chosen, under way."""
        yield logits
        # the last one is never an input
        for tokens in self._forced[:-1]:
            logits = self._passes.logits(self.cache, tokens)
            mx.async_eval(logits)  # type: ignore[no-untyped-call]
            yield logits


def _column(tokens: TokenIds) -> Any:
    return mx.array([[token] for token in tokens])


def _likeliest(logits: Any) -> Any:
    """The likeliest token of each row, under way: by log-probabilities, as generate_step takes it."""
    last = logits[:, -1, :]
    logprobs: Any = last - mx.logsumexp(last, axis=-1, keepdims=True)
    tokens: Any = mx.argmax(logprobs, axis=-1)
    # generate_step computes them for whoever may look at them, and pays for it
    mx.async_eval(tokens, logprobs)  # type: ignore[no-untyped-call]
    return tokens


def _on_host(tokens: Any) -> None:
    tokens.tolist()


def _one_ahead(results: Iterator[Any]) -> Iterator[Any]:
    """Each of ``results`` when the next one is under way; the first one at once, for a user waits for it."""
    yield next(results)
    waiting = next(results, None)
    while waiting is not None:
        following = next(results, None)
        yield waiting
        waiting = following


def _shrink(layer: Any, length: int, room: int) -> None:
    """Let a cache of ``length`` tokens have ``room`` columns, whatever it had grown to."""

    def again(array: Any) -> Any:
        fresh: Any = mx.zeros((*array.shape[:2], room, array.shape[-1]), array.dtype)
        fresh[..., :length, :] = array[..., :length, :]
        return fresh

    if room_of([layer])[0] > room:
        layer.keys, layer.values = tree_map(again, layer.keys), tree_map(again, layer.values)
        # one layer after the other, so that no second cache is held beside the first
        mx.eval(layer.keys, layer.values)
