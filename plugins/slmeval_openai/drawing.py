"""How a server draws texts: tried out before the first one is drawn, and never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmeval.types import GenerationSettings
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller, GaveUp, Refused, answered
from slmeval_openai.opening import Manner
from slmeval_openai.replies import Written
from slmeval_openai.words import short

#: the whole distribution, of which some servers leave a part out unless told otherwise: llama-cpp-python's
#: (``top_k`` 40, ``min_p`` 0.05), llama-server, vLLM's by a model's generation_config
_WHOLE: Mapping[str, Any] = {"top_k": 0, "min_p": 0}
#: a question to which hardly two answers are alike
_QUESTION, _QUESTION_TOKENS = "Tell a story about anything you like.", 16
_SEEDS = (1, 1, 2, 3)
_OWN = "texts are drawn by the server's own random numbers: no other engine draws the same with the same seed"
_NO_WHOLE = (
    "the server takes no settings of top_k and min_p: whether it draws from the whole distribution is not "
    "known"
)
_NOT_KEPT = (
    "the server does not keep to a seed: it drew two texts with one, and what it draws cannot be drawn again"
)
_ALIKE = "the server drew one text with three seeds: it may heed neither temperature nor seed"


@dataclass(frozen=True)
class Drawing:
    """What a server is told beside temperature and ``top_p``, and what must be said of its texts."""

    fields: Mapping[str, Any]
    takes_seed: bool
    notes: tuple[str, ...]

    def body(self, settings: GenerationSettings, seed: int) -> dict[str, Any]:
        """The fields of a request that make a text a drawn one."""
        told = {"temperature": settings.temperature, "top_p": settings.top_p, **self.fields}
        return {**told, "seed": seed} if self.takes_seed else told


async def try_drawing(caller: Caller, address: Address, manner: Manner, model: str) -> Drawing:
    """How the server at ``address`` draws.

    :raises Refused, GaveUp: it draws no texts, or is in trouble.
    """
    trial = _Trial(caller, address, manner, model)
    drawing, first = await trial.first_that_works()
    if not drawing.takes_seed:
        return drawing
    texts = [first, *[await trial.text(drawing, seed, None) for seed in _SEEDS[1:]]]
    return Drawing(drawing.fields, True, (*drawing.notes, *_said_of(texts)))


def _said_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Of the texts that :data:`_SEEDS` drew."""
    if texts[0] != texts[1]:
        return (_NOT_KEPT,)
    return (_ALIKE,) if len(set(texts)) == 1 else ()


class _Trial:
    def __init__(self, caller: Caller, address: Address, manner: Manner, model: str) -> None:
        self._caller, self._url, self._manner, self._model = caller, manner.url(address), manner, model

    async def first_that_works(self) -> tuple[Drawing, str]:
        """The fullest way of drawing that the server takes, and the text that it drew with the first seed."""
        said = ""
        ways = [(fields, seeded) for seeded in (True, False) for fields in (_WHOLE, {})]
        for fields, seeded in ways:
            notes = () if fields else (_NO_WHOLE,)
            refused = (
                () if seeded else (f"the server takes no seed ({said}): what it draws cannot be drawn again",)
            )
            drawing = Drawing(fields, seeded, (_OWN, *notes, *refused))
            try:
                return drawing, await self.text(drawing, _SEEDS[0], 2)
            except (Refused, GaveUp) as error:
                said = short(answered(error), 120)
                refusal: Exception = error
        raise refusal

    async def text(self, drawing: Drawing, seed: int, tries: int | None) -> str:
        """What is drawn after the question, hidden thinking included."""
        body = self._manner.body(self._model, _QUESTION, _QUESTION_TOKENS)
        body.update(drawing.body(GenerationSettings(temperature=1.0), seed))

        def read(document: Any) -> Written:
            return self._manner.read(document, _QUESTION_TOKENS)

        written = await self._caller.post(self._url, body, read, tries=tries)
        return f"{written.thought or ''}{written.text}"
