"""What a model thinks before it answers: where a thought ends, and the thought apart from the answer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from slmeval.types import Thought

Decode = Callable[[Sequence[int]], str]


class Thinking:
    """Follows a text that may begin with a thought; ``answer_at`` is the token from which on it is answer."""

    def __init__(self, thought: Thought, decode: Decode) -> None:
        self._thought = thought
        self._decode = decode
        self._is_sure = thought.begun
        self._is_over = False
        # a mark of b bytes lies in at most b tokens
        self._window = len(thought.closes.encode()) + 8
        self.answer_at = 0

    def is_over(self, ids: Sequence[int]) -> bool:
        """Whether the latest of ``ids`` stands after a thought, or there is none; asked after each token."""
        if not self._is_over:
            self._look(ids)
        return self._is_over

    def _look(self, ids: Sequence[int]) -> None:
        if ids[-1] in self._thought.close_ids or self._thought.closes in self._decode(ids[-self._window :]):
            self._is_over, self.answer_at = True, len(ids)
        elif not self._is_sure:
            opened = ids[0] in self._thought.open_ids
            self._is_sure = opened or self._decode(ids).lstrip().startswith(self._thought.opens)
            self._is_over = not self._is_sure and not _may_open(self._decode(ids), self._thought)


def _may_open(text: str, thought: Thought) -> bool:
    """Whether ``text`` is so short that a mark that opens a thought may still come of it."""
    return thought.opens.startswith(text.lstrip())


def split_text(text: str, thought: Thought) -> tuple[str, str]:
    """The thought in ``text`` without its marks ("" if there is none), and the answer behind it.

    A thought that never ends leaves no answer. The answer begins after the white space behind the last
    closing mark (lm_eval/models/utils.py, ``postprocess_generated_text``).
    """
    inside, mark, rest = text.rpartition(thought.closes)
    if mark:
        return _bare(inside, thought), rest.lstrip()
    is_open = thought.begun or text.lstrip().startswith(thought.opens)
    return (_bare(text, thought), "") if is_open else ("", text)


def split_ids(ids: Sequence[int], thought: Thought, decode: Decode) -> tuple[str, str, int]:
    """As :func:`split_text` for token ids, and how many of them the thought and its marks take."""
    closing = [place for place, token in enumerate(ids) if token in thought.close_ids]
    if closing:
        tokens = closing[-1] + 1
        return _bare(decode(ids[: tokens - 1]), thought), decode(ids[tokens:]).lstrip(), tokens
    whole = decode(ids)
    if thought.closes not in whole and ids and ids[0] in thought.open_ids:
        return whole.strip(), "", len(ids)
    inside, text = split_text(whole, thought)
    marks = whole.count(thought.closes)
    if not marks:
        return inside, text, len(ids) if inside else 0
    # the fewest tokens that hold all closing marks
    tokens = bisect_left(range(len(ids)), marks, key=lambda count: decode(ids[:count]).count(thought.closes))
    return inside, text, tokens


def _bare(text: str, thought: Thought) -> str:
    return text.strip().removeprefix(thought.opens).strip()
