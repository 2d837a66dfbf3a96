"""A model's forward pass over the tokens of a forest, piece by piece."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from slmeval.types import TokenIds
from slmeval_hf.attention import Attention, ForestAttention, Held, attending
from slmeval_hf.forest import Forest, Numbers, grow
from slmeval_hf.trunk import Trunk

NOTHING = np.empty(0, np.int64)


class ForestPasses:
    """Runs a model that is set to :data:`slmeval_hf.attention.NAME`."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.trunk = Trunk(self._step)
        #: by layer, how far its tokens look back
        self.windows: dict[int, int | None] = {}

    def run(self, ids: Numbers, positions: Numbers, wanted: Numbers, attention: Attention) -> Tensor:
        """Logits after the tokens at the places ``wanted``, [wanted, vocabulary]."""
        with torch.inference_mode(), attending(attention):
            logits: Tensor = self.model(
                input_ids=self._tensor(ids)[None],
                position_ids=self._tensor(positions)[None],
                use_cache=False,
                return_dict=True,
                # the head is most of the work in a small model, so it sees only what is asked for
                logits_to_keep=self._tensor(wanted),
            ).logits
        return logits[0]

    def _tensor(self, numbers: Numbers) -> Tensor:
        return torch.from_numpy(numbers).to(self.model.device)

    def _step(self, ids: TokenIds, held: Held, start: int) -> Held:
        forest = grow([ids], start)
        attention = ForestAttention(forest, 0, len(forest), held, start, {}, NOTHING)
        self.run(forest.ids, forest.positions, NOTHING, attention)
        return attention.held

    def walk(self, forest: Forest, trunk: Held, depth: int) -> Walk:
        """A walk over ``forest``, behind ``trunk``, which has ``depth`` tokens."""
        return Walk(self, forest, trunk, depth)


class Walk:
    """A forest, run from its first token to its last."""

    def __init__(self, passes: ForestPasses, forest: Forest, trunk: Held, depth: int) -> None:
        self._passes, self._forest, self._trunk, self._depth = passes, forest, trunk, depth
        #: keys and values of the tokens ``known``: those of the latest step, and of those before them
        self.held: Held = {}
        self.known = NOTHING
        #: where the next step begins
        self.at = 0

    def step(self, tokens: int, asked: Numbers) -> tuple[Numbers, Tensor]:
        """Run the next ``tokens``: those of the places ``asked`` that are among them, and the logits there.

        ``asked`` goes up; logits are [places, vocabulary]. A step that fails for want of memory can be
        tried again, with fewer tokens.
        """
        end = min(self.at + tokens, len(self._forest))
        wanted = asked[np.searchsorted(asked, self.at) : np.searchsorted(asked, end)]
        attention = ForestAttention(
            self._forest, self.at, end, self._trunk, self._depth, self.held, self.known
        )
        part = slice(self.at, end)
        logits = self._passes.run(
            self._forest.ids[part], self._forest.positions[part], wanted - self.at, attention
        )
        self._passes.windows |= attention.windows
        self.held, self.known, self.at = attention.held, attention.known, end
        return wanted, logits
