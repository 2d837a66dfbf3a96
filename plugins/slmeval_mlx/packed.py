"""Many sequences in one pass of one row: each token has its own place, and sees its own sequence alone.

mlx-lm's architectures ask their cache three things: where new tokens stand (``offset``, for the rotary
embedding), which tokens they see (``make_mask``), and what was computed before (``update_and_fetch``). A
cache that answers the first two token by token makes a row of a whole tree: nothing is padded, nothing is
run twice, and no copy is made of what all sequences begin with. Whether an architecture can be run so is
found by a trial at opening.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx import nn
from mlx.utils import tree_map

from slmeval_mlx.trunk import Passes, Trunk, settle

#: logits held at once, over tokens and vocabulary: 256 MiB of float32
LOGITS = 1 << 26
#: tokens of a pass: each attends to all of them, so that more cost more; fewer leave a GPU idle
AT_ONCE = {"cpu": 128, "gpu": 512}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Places:
    """Where the tokens of a pass stand, [tokens], and what they see, [tokens, all in the cache]."""

    positions: Any
    mask: Any


class PackedLayer:
    """A layer's cache, told where new tokens stand. ``offset`` is no number here: see :func:`teach`."""

    def __init__(self, inner: Any, places: Places) -> None:
        self._inner = inner
        self.offset = places

    def update_and_fetch(self, keys: Any, values: Any) -> Any:
        """All keys and values, the new ones with them."""
        return self._inner.update_and_fetch(keys, values)

    def make_mask(self, _: int, return_array: bool = False, window_size: int | None = None) -> Any:  # noqa: ARG002
        """:raises ValueError: the architecture wants a sliding window."""
        if window_size is not None:
            raise ValueError("a sliding window cannot be packed")
        return self.offset.mask


class QuantizedPackedLayer(PackedLayer):
    """The same, with what mlx-lm's attention asks of quantized keys and values."""

    def __init__(self, inner: Any, places: Places) -> None:
        super().__init__(inner, places)
        self.bits, self.group_size = inner.bits, inner.group_size


class Choice:
    """Of which tokens of a pass the logits are wanted: [tokens], or ``None`` for all.

    It knows the modules that were taught, so that the model can be made again what mlx-lm has made it.
    """

    wanted: Any = None

    def __init__(self) -> None:
        #: each module with the class that it had, and the one that it got
        self._taught: list[tuple[Any, Any, Any]] = []

    def teach(self, module: Any, kind: Any) -> None:
        """Let ``module`` be of another class."""
        self._taught.append((module, type(module), kind))
        module.__class__ = kind

    def forget(self) -> None:
        """Let all be of the classes that they had."""
        for module, plain, _ in reversed(self._taught):
            module.__class__ = plain

    @contextmanager
    def forgotten(self) -> Iterator[None]:
        """The same, for a while: what was taught costs a little in each call."""
        self.forget()
        try:
            yield
        finally:
            for module, _, kind in self._taught:
                module.__class__ = kind


def teach(model: Any) -> Choice:
    """Make a model understand :class:`Places`, and run its head on chosen tokens only.

    Its modules stay what they are, in classes that know more. A model that mlx-lm reaches by other ways is
    not changed by it; its logits are then those of all tokens.
    """
    choice = Choice()
    for _, module in model.named_modules():
        if any(word in type(module).__name__.lower() for word in ("rope", "rotary")):
            choice.teach(module, _placing(type(module)))
    whole = getattr(model, "language_model", model)
    if isinstance(body := getattr(whole, "model", None), nn.Module):
        choice.teach(body, _choosing(type(body), choice))
    return choice


def _placing(kind: Any) -> Any:
    class Placing(kind):  # type: ignore[misc]  # a class of mlx-lm's, known when it is there
        def __call__(self, x: Any, offset: Any = 0) -> Any:
            if not isinstance(offset, Places):
                return super().__call__(x, offset=offset)
            # an embedding takes one place for each row: [1, heads, tokens, size] by tokens
            return super().__call__(x.swapaxes(0, 2), offset=offset.positions).swapaxes(0, 2)

    return Placing


def _choosing(kind: Any, choice: Choice) -> Any:
    class Choosing(kind):  # type: ignore[misc]  # as above
        def __call__(self, *args: Any, **named: Any) -> Any:
            hidden = super().__call__(*args, **named)
            return hidden if choice.wanted is None else hidden[:, choice.wanted]

    return Choosing


class Packed:
    """The columns of a cache behind its trunk: the tokens of many sequences, in any order."""

    def __init__(self, trunk: Trunk, choice: Choice) -> None:
        self._trunk, self._choice = trunk, choice
        trunk.cut(trunk.length)
        self.start = trunk.length
        #: how many columns there are behind the trunk
        self.width = 0

    @property
    def passes(self) -> Passes:
        """The model's."""
        return self._trunk.passes

    def run(self, tokens: Sequence[int], depths: Sequence[int], seen: Mask, wanted: Sequence[int]) -> Any:
        """Add ``tokens``, and give the logits after those that are ``wanted``: [wanted, vocabulary].

        ``depths`` are their places, counted from the end of the trunk; ``seen`` is which columns behind the
        trunk each sees: [tokens, columns before + tokens].
        """
        mask = np.concatenate([np.ones((len(tokens), self.start), np.bool_), seen], axis=1)
        places = Places(mx.array(list(depths)) + self.start, mx.array(mask))
        chosen: Any = mx.array(list(wanted), mx.int32)
        self._choice.wanted = chosen if wanted else None
        try:
            logits = self.passes.run(
                [_packed(layer, places) for layer in self._trunk.cache], [tuple(tokens)]
            )[0]
        finally:
            self._choice.wanted = None
        self.width += len(tokens)
        if logits.shape[0] != len(wanted):
            logits = logits[chosen]
        return logits

    def settle(self, *results: Any) -> None:
        """Compute what was run, and ``results`` made of it."""
        settle(self._trunk.cache, *results)

    def keep(self, columns: Sequence[int]) -> None:
        """Leave these columns, in this order, and no others."""
        if list(columns) != list(range(len(columns))):
            self._gather(mx.array(list(columns)) + self.start, len(columns))
        self._trunk.cut(self.start + len(columns))
        self.width = len(columns)

    def _gather(self, columns: Any, count: int) -> None:
        def moved(array: Any) -> Any:
            array[..., self.start : self.start + count, :] = array[..., columns, :]
            return array

        for layer in self._trunk.cache:
            layer.keys, layer.values = tree_map(moved, layer.keys), tree_map(moved, layer.values)


def _packed(layer: Any, places: Places) -> PackedLayer:
    return (QuantizedPackedLayer if hasattr(layer, "bits") else PackedLayer)(layer, places)
