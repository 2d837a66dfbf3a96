"""What goes wrong, as a client hears of it: one sentence, under the right status."""

from __future__ import annotations

from slmeval.errors import SlmevalError


class Refused(SlmevalError):
    """A request that is not carried out; ``status`` is HTTP's."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
