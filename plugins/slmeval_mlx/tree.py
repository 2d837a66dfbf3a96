"""All that a call of scoring runs, each distinct token once: a tree, laid out so that parents come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from slmeval.token_tree import common_length
from slmeval.types import ScoreGroup, TokenIds


@dataclass(frozen=True)
class Tree:
    """Tokens behind the trunk. A node is a token's place in ``tokens``; its parent stands before it.

    A later node's ancestors among the nodes before some place are ancestors of the node at that place too:
    the tree is laid out depth first.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    #: how many ancestors each has
    depths: list[int] = field(default_factory=list)
    #: by node: the tokens that are judged by the logits after it
    asked: dict[int, list[int]] = field(default_factory=dict)
    #: by group and continuation: its (node, token) pairs
    answers: list[dict[TokenIds, list[tuple[int, int]]]] = field(default_factory=list)

    def ancestors(self, node: int) -> list[int]:
        """From the first token behind the trunk to the node's parent."""
        found: list[int] = []
        while (node := self.parents[node]) >= 0:
            found.append(node)
        return found[::-1]

    def seen(self, start: int, end: int) -> npt.NDArray[np.bool_]:
        """What the nodes of a pass see of the first one's ancestors and of each other.

        [nodes, ancestors + nodes]
        """
        kept = self.depths[start]
        mask = np.zeros((end - start, kept + end - start), np.bool_)
        for row, node in enumerate(range(start, end)):
            parent = self.parents[node]
            if parent >= start:
                mask[row] = mask[parent - start]
            else:
                mask[row, : self.depths[node]] = True
            mask[row, kept + row] = True
        return mask


def lay_out(groups: Sequence[ScoreGroup], start: int) -> Tree:
    """The tree of ``groups`` behind their first ``start`` tokens, which all contexts share and go beyond."""
    tree, path = Tree(), list[int]()
    before: TokenIds = ()
    for group in groups:
        context = group.context[start:]
        tree.answers.append({})
        # by their ids, so that neighbours share the most
        for tokens in sorted(filter(None, set(group.continuations))):
            fed = context + tokens[:-1]
            del path[common_length(before, fed) :]
            _grow(tree, path, fed)
            before = fed
            places = list(zip(path[len(context) - 1 :], tokens, strict=True))
            tree.answers[-1][tokens] = places
            for node, token in places:
                asked = tree.asked.setdefault(node, [])
                if token not in asked:
                    asked.append(token)
    return tree


def _grow(tree: Tree, path: list[int], fed: TokenIds) -> None:
    for depth in range(len(path), len(fed)):
        tree.parents.append(path[-1] if path else -1)
        tree.depths.append(depth)
        path.append(len(tree.tokens))
        tree.tokens.append(fed[depth])
