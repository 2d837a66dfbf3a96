"""When a generated text ends, and where it is cut: one rule for every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slmeval.thoughts import Thinking, split_ids
from slmeval.types import Completion, EndReason, GenerationSettings


class Stopper:
    """Follows one sequence while it is generated::

    stopper = Stopper(settings, decode)
    while stopper.push(next_token()) is None: ...
    yield stopper.completion()
    """

    def __init__(self, settings: GenerationSettings, decode: Callable[[Sequence[int]], str]) -> None:
        self._settings = settings
        self._decode = decode
        self._ids: list[int] = []
        self._thinking = None if settings.thought is None else Thinking(settings.thought, decode)
        self._reason: EndReason | None = "length" if settings.max_tokens < 1 else None
        # a stop string of b bytes lies in at most b tokens; the rest covers tokens without text
        self._window = max((len(stop.encode()) for stop in settings.stop), default=0) + 8

    @property
    def reason(self) -> EndReason | None:
        """Why the sequence has ended, or ``None`` while it goes on."""
        return self._reason

    def push(self, token: int) -> EndReason | None:
        """Take the next token; why the sequence has ended now, or ``None``."""
        self._ids.append(token)
        self._reason = self._verdict(token)
        return self._reason

    def _verdict(self, token: int) -> EndReason | None:
        if token in self._settings.end_ids:
            return "end"
        if self._stops_in_tail():
            return "stop"
        return "length" if len(self._ids) >= self._settings.max_tokens else None

    def _stops_in_tail(self) -> bool:
        if not self._settings.stop or (self._thinking is not None and not self._thinking.is_over(self._ids)):
            return False
        tail = self._decode(self._ids[-self._window :])
        if self._thinking is not None and len(self._ids) - self._thinking.answer_at < self._window:
            # white space between a thought and its answer belongs to neither
            tail = self._decode(self._ids[self._thinking.answer_at :]).lstrip()
        return any(stop in tail for stop in self._settings.stop)

    def completion(self) -> Completion:
        """What was generated: the thought apart, the text cut at the first stop string."""
        # a token that ends a text is no part of it, even where decoding would show it
        shown = self._ids[:-1] if self._reason == "end" else self._ids
        thought, whole, tokens = split_ids(shown, self._settings.thought, self._decode)
        text, cut = cut_at_stop(whole, self._settings.stop)
        reason = "stop" if cut else (self._reason or "length")
        return Completion(text, tuple(self._ids), reason, thought, tokens)


def cut_at_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """``text`` up to the first of ``stops``, and whether there was one."""
    cut = min((place for stop in stops if (place := text.find(stop)) >= 0), default=None)
    return (text, False) if cut is None else (text[:cut], True)
