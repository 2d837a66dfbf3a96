"""What a model's memory is made of: weights, cache, state, compute and other, each measured or computed.

What an engine tells of its own buffers goes first; what it does not tell is computed from the configuration,
or is the difference between two looks of the operating system.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from slmeval_runtime.amount import TOLD, Amount, source_of, sum_of, told_or
from slmeval_runtime.held import Held, growth
from slmeval_runtime.memory_looks import Looks
from slmeval_runtime.predictions import Prediction, Predictor

#: what the whole is made of, in the order in which it is shown
PARTS = ("weights", "kv_cache", "state", "compute", "other")


@dataclass(frozen=True)
class Amounts:
    """Of the ``looks`` at one context.

    ``apart`` says why what the process holds does not tell of the model, ``untimed`` why no prompt could be
    held in the cache; both are empty where it does, and where one could.
    """

    looks: Looks
    predictor: Predictor
    tokens: int
    batch: int = 1
    apart: str = ""
    untimed: str = ""
    #: the cache that is looked at: that of the prompt, or what it would be
    cache: Held = field(init=False)

    def __post_init__(self) -> None:
        empty = Held(self.tokens, self.batch, None, self.looks.opened, {})
        object.__setattr__(self, "cache", self.looks.held or empty)

    # ---- the parts -------------------------------------------------------------------------------------

    @cached_property
    def weights(self) -> Amount:
        """As the engine tells, or by the configuration."""
        return told_or(self.looks.told.get("weights"), self.predictor.weights())

    @cached_property
    def kv_cache(self) -> Amount:
        """Of all tokens that it has room for."""
        told = self.cache.told.get("kv cache")
        found = told_or(told, self.predictor.cache(self.cache, self.bits))
        if told is None:
            return found
        return Amount(told, note=f"{TOLD}, room for {self.cache.room:.0f} tokens")

    @cached_property
    def state(self) -> Amount:
        """What recurrent layers keep; none, in most models."""
        return told_or(self.cache.told.get("state"), self.predictor.state(self.batch))

    @cached_property
    def compute(self) -> Amount:
        """What is needed besides while a prompt is run: buffers, and the logits."""
        told = [self.cache.told[part] for part in ("compute", "logits") if part in self.cache.told]
        if told:
            return Amount(sum(told), note=TOLD)
        if self.looks.held is None:
            return Amount(None, "unavailable", self.untimed)
        return self._of_the_engines_peak() or self._of_the_process()

    @cached_property
    def whole(self) -> Amount:
        """What was held at most while the prompt was run."""
        if not self.apart and self.cache.top is not None:
            return Amount(self.cache.top, note="of the process, while the prompt was run")
        named = {part: getattr(self, part) for part in PARTS[:-1]}
        for part, amount in named.items():
            if amount.value is None and part != "state":
                return Amount(None, "unavailable", f"{part}: {amount.note}")
        return Amount(sum_of(named.values()), source_of(named.values()), f"of the parts; {self._why()}")

    @cached_property
    def other(self) -> Amount:
        """What the process held besides: the interpreter, libraries, and copies."""
        if self.apart or self.cache.top is None:
            return Amount(None, "unavailable", self._why())
        named = [self.weights, self.kv_cache, self.compute]
        if any(each.value is None for each in named):
            return Amount(None, "unavailable", "for not all parts are known")
        named.append(self.state)
        parts = sum_of(named)
        if parts > self.cache.top:
            why = "the parts come to more than the process held: not all that was reserved was written to"
            return Amount(None, "unavailable", why)
        return Amount(self.cache.top - parts, source_of(named), "what the process held, less all parts")

    # ---- beside the parts ------------------------------------------------------------------------------

    @cached_property
    def bits(self) -> float:
        """Bits that each number in the cache takes."""
        return self.predictor.bits(self.cache, self.looks.less)

    @cached_property
    def per_token(self) -> Amount:
        """Bytes by which the cache grows with each token that it has room for."""
        held, less = self.looks.held, self.looks.less
        if held is None or (grown := growth(held, less)) is None:
            return Amount(None, "unavailable", self.untimed or "the engine does not tell of its cache")
        if less is None or less.room == held.room:
            return Amount(grown, note="the cache over its room, which did not grow")
        return Amount(grown, note=f"between rooms for {less.room:.0f} and {held.room:.0f} tokens")

    @property
    def predicted_weights(self) -> Prediction:
        """By the configuration."""
        return self.predictor.weights()

    @property
    def predicted_per_token(self) -> Prediction:
        """By the configuration, between the same rooms."""
        return self.predictor.per_token(self.cache, self.looks.less, self.bits)

    # ---- pieces ----------------------------------------------------------------------------------------

    def _of_the_engines_peak(self) -> Amount | None:
        """The most that the engine held, where that was while the prompt was run."""
        before, after = self.looks.told.get("peak"), self.cache.told.get("peak")
        if before is None or after is None or after <= before:
            return None
        return self._less_the_parts(after, "the most that the engine held, less weights and cache")

    def _of_the_process(self) -> Amount:
        """What the process grew by beyond its cache."""
        opened, top = self.looks.opened.held, self.cache.top
        if self.apart or opened is None or top is None:
            return Amount(None, "unavailable", f"the engine does not tell; {self._why()}")
        if self.kv_cache.value is None:
            return Amount(None, "unavailable", f"kv_cache: {self.kv_cache.note}")
        parts = (self.kv_cache, self.state)
        rest = top - opened - sum_of(parts)
        if rest < 0:
            why = "the process grew by less than its cache takes: it used again what had been left behind"
            return Amount(None, "unavailable", why)
        note = "by how much the process grew while the prompt was run, less the cache"
        return Amount(rest, source_of(parts), note)

    def _less_the_parts(self, most: float, note: str) -> Amount | None:
        if self.weights.value is None or self.kv_cache.value is None:
            return None
        parts = (self.weights, self.kv_cache, self.state)
        rest = most - sum_of(parts)
        return Amount(rest, source_of(parts), note) if rest >= 0 else None

    def _why(self) -> str:
        return self.apart or self.untimed or "this system does not tell what a process holds"
