"""What a model thinks before it answers: where a thought ends, and the thought apart from the answer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from slmeval.types import Thought, TokenIds

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
        closed = _stands_at(len(ids) - len(self._thought.close_ids), ids, self._thought.close_ids)
        if closed or self._thought.closes in self._decode(ids[-self._window :]):
            self._is_over, self.answer_at = True, len(ids)
        elif not self._is_sure:
            opened = _opened(ids, self._thought, self._decode) is not None
            self._is_sure = opened or self._decode(ids).lstrip().startswith(self._thought.opens)
            self._is_over = not self._is_sure and not self._may_open(ids)

    def _may_open(self, ids: Sequence[int]) -> bool:
        """Whether ``ids`` are so few that a mark that opens a thought may still come of them."""
        begun = any(
            _stands_at(len(ids) - count, ids, self._thought.open_ids[:count])
            for count in range(1, len(self._thought.open_ids))
        )
        return begun or self._thought.opens.startswith(self._decode(ids).lstrip())


def _stands_at(place: int, ids: Sequence[int], mark: TokenIds) -> bool:
    return bool(mark) and place >= 0 and tuple(ids[place : place + len(mark)]) == mark


def _opened(ids: Sequence[int], thought: Thought, decode: Decode) -> int | None:
    """Where the text behind special tokens that open a thought begins; only white space is before them."""
    for place in range(len(ids)):
        if _stands_at(place, ids, thought.open_ids):
            return place + len(thought.open_ids)
        if decode(ids[: place + 1]).strip():
            break
    return None


def split_text(text: str, thought: Thought | None) -> tuple[str, str]:
    """The thought in ``text`` without its marks ("" if there is none), and the answer behind it.

    A thought that never ends leaves no answer. The answer begins after the white space behind the last
    closing mark (lm_eval/models/utils.py, ``postprocess_generated_text``).
    """
    if thought is None:
        return "", text
    inside, mark, rest = text.rpartition(thought.closes)
    if mark:
        return _bare(inside, thought), rest.lstrip()
    is_open = thought.begun or text.lstrip().startswith(thought.opens)
    return (_bare(text, thought), "") if is_open else ("", text)


def split_ids(ids: Sequence[int], thought: Thought | None, decode: Decode) -> tuple[str, str, int]:
    """As :func:`split_text` for token ids, and how many of them the thought and its marks take."""
    if thought is None:
        return "", decode(ids), 0
    begins = _opened(ids, thought, decode) if thought.open_ids else None
    closing = [place for place in range(len(ids)) if _stands_at(place, ids, thought.close_ids)]
    if closing:
        tokens = closing[-1] + len(thought.close_ids)
        told = decode(ids[begins or 0 : closing[-1]])
        return _bare(told, thought), decode(ids[tokens:]).lstrip(), tokens
    whole = decode(ids)
    if thought.closes not in whole and begins is not None:
        return decode(ids[begins:]).strip(), "", len(ids)
    inside, text = split_text(whole, thought)
    marks = whole.count(thought.closes)
    if not marks:
        return inside, text, len(ids) if inside else 0
    # the fewest tokens that hold all closing marks
    tokens = bisect_left(range(len(ids)), marks, key=lambda count: decode(ids[:count]).count(thought.closes))
    return inside, text, tokens


def _bare(text: str, thought: Thought) -> str:
    return text.strip().removeprefix(thought.opens).strip()
