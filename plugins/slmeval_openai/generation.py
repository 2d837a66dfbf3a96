"""Texts through a server, ended and cut by the rule of all engines where the server tells enough."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from slmeval.api import Tokenizer
from slmeval.errors import JobFailed
from slmeval.stopping import Stopper, cut_at_stop
from slmeval.thoughts import split_text
from slmeval.types import Completion, GenerationSettings, Prompt, TokenIds
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller
from slmeval_openai.documents import Garbled
from slmeval_openai.drawing import Drawing, try_drawing
from slmeval_openai.opening import Manner, check_count
from slmeval_openai.replies import Written
from slmeval_openai.secret import Key
from slmeval_openai.words import listed, short

#: stop strings that OpenAI's interface takes; all of them are looked for here
_STOPS = 4
_SHORT_OF = (
    "the server ended texts for their length before they had as many tokens as were asked for: it has a "
    "limit of its own"
)

Decode = Callable[[Sequence[int]], str]


class Writer:
    """Asks for texts in the manner that was tried out.

    A server's own stop strings shorten what it writes, and are never the last word: where it tells the ids
    that it wrote, they go through the same :class:`~slmeval.stopping.Stopper` as those of every engine;
    else its text is cut once more.
    """

    def __init__(self, caller: Caller, address: Address, manner: Manner, model: str, key: Key) -> None:
        self._caller, self._address, self._url, self._manner = caller, address, manner.url(address), manner
        self._model, self._key = model, key
        #: the tokenizer whose ids a prompt's text must have, where there is one
        self.tokenizer: Tokenizer | None = None
        #: how texts are drawn, once it was tried out
        self.drawing: Drawing | None = None
        self._said: dict[str, int] = {}
        self._makes: set[str] = set()

    def notes(self) -> tuple[str, ...]:
        """What the server's answers had to say of themselves, in whatever order they came."""
        notes = [f"{said} ({times} answers)" for said, times in sorted(self._said.items())]
        if len(self._makes) > 1:
            notes.append(f"answers came from several makes of the server: {listed(sorted(self._makes))}")
        return (*(self.drawing.notes if self.drawing else ()), *notes)

    async def try_drawing(self) -> None:
        """Find out how texts are drawn.

        :raises JobFailed: the server draws none, or fails.
        """
        if self.drawing is None:
            self.drawing = await try_drawing(self._caller, self._address, self._manner, self._model)

    def start(
        self, prompt: Prompt, settings: GenerationSettings, decode: Decode, room: int | None
    ) -> Callable[[], Coroutine[Any, Any, Completion]]:
        """What asks for one text; ``room`` is the context in tokens, if it is known."""
        most = settings.max_tokens if room is None else min(settings.max_tokens, room - len(prompt.ids))
        capped = replace(settings, max_tokens=most)
        return lambda: self._checked(prompt, capped, decode)

    async def _checked(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        """:raises JobFailed: as :meth:`_ask`, or the text that would be stored holds the key."""
        completion = await self._completion(prompt, settings, decode)
        # which may be made from ids, whatever text the server sent with them
        self._key.check_answer(completion.text)
        self._key.check_answer(completion.thought)
        return completion

    async def _completion(self, prompt: Prompt, settings: GenerationSettings, decode: Decode) -> Completion:
        if settings.max_tokens < 1:
            return Completion("", (), "length")
        # a server does not know that its stop strings do not count within a thought
        sends_stops = self._manner.stops and settings.thought is None
        stops = tuple(stop for stop in settings.stop if stop)[:_STOPS] if sends_stops else ()
        written = await self._ask(prompt, settings, decode, stops)
        if not self._manner.tells_ids:
            return _cut(written, settings, asked_stop=bool(stops))
        stopper = _followed(written, settings, decode)
        if stopper.reason is None and written.stopped and stops:
            # it saw a stop string where decoding shows none: it is asked for the whole text
            stopper = _followed(await self._ask(prompt, settings, decode, ()), settings, decode)
        if stopper.reason is None:
            raise JobFailed(
                f"the server ended a text after {len(written.ids or ())} tokens, at neither an end token, a "
                f"stop string nor the cap ({written.finish})"
            )
        return stopper.completion()

    async def _ask(
        self, prompt: Prompt, settings: GenerationSettings, decode: Decode, stops: Sequence[str]
    ) -> Written:
        """:raises JobFailed: the prompt cannot be sent, or the server refuses it or fails."""
        ids, most = prompt.ids, settings.max_tokens
        asked = self._text(ids, decode) if self._manner.no_ids else list(ids)
        body = self._manner.body(self._model, asked, most)
        if settings.temperature > 0:
            assert self.drawing is not None, "how the server draws was tried out"
            body.update(self.drawing.body(settings, prompt.seed))
        if stops:
            body["stop"] = list(stops)
        if self._manner.tells_ids:
            ends = list(settings.end_ids)
            body.update(return_token_ids=True, ignore_eos=True, stop_token_ids=ends)

        def read(document: Any) -> Written:
            written = self._manner.read(document, most)
            if not self._manner.no_ids:
                check_count(written, len(ids))
            if written.ids is not None:
                _check_text(written.text, decode(written.ids), settings.stop)
            return written

        written = await self._caller.post(self._url, body, read)
        self._remember(written, most)
        return written

    def _remember(self, written: Written, most: int) -> None:
        """What notes are made of."""
        made = most if written.written_tokens is None else written.written_tokens
        short_of = (_SHORT_OF,) if written.finish == "length" and made < most else ()
        for said in written.said + short_of:
            self._said[said] = self._said.get(said, 0) + 1
        if written.fingerprint:
            self._makes.add(short(self._caller.shown(written.fingerprint), 80))

    def _text(self, ids: TokenIds, decode: Decode) -> str:
        """The text of a prompt, which must be the whole of it.

        :raises JobFailed: the ids have no text of which they are the ids.
        """
        text = decode(ids)
        if self.tokenizer is not None and not self._is_text_of(ids, text, self.tokenizer):
            raise JobFailed(
                f"the server takes text, and {text[:60]!r} is not the whole text of a prompt's token ids: "
                "leave out --tokenizer, and it gets prompts as they are written"
            )
        return text

    @staticmethod
    def _is_text_of(ids: TokenIds, text: str, tokenizer: Tokenizer) -> bool:
        return ids in (tokenizer.encode(text), tokenizer.encode(text, special=False))


def _cut(written: Written, settings: GenerationSettings, *, asked_stop: bool) -> Completion:
    """What a server wrote that tells no ids: a thought apart, the answer cut."""
    told = written.thought
    # what the server itself took out is not looked for again
    thought, text = split_text(written.text, settings.thought) if told is None else (told, written.text)
    text, cut = cut_at_stop(text, settings.stop)
    reason = written.reason(cut=cut, asked_stop=asked_stop)
    return Completion(text, (), reason, thought, written.thought_tokens)


def _check_text(text: str, decoded: str, stops: Sequence[str]) -> None:
    """Whether the text of an answer may be that of its ids: a server with another tokenizer is found out so.

    Spaces are left aside, as are halves of characters, and what only one of the two shows: special tokens,
    or what stands behind a stop string.

    :raises Garbled: the two are of different letters.
    """
    shorter, longer = sorted((_letters(text), _letters(cut_at_stop(decoded, stops)[0])), key=len)
    rest = iter(longer)
    if not all(letter in rest for letter in shorter):
        raise Garbled(
            f"its text, {text[:40]!r}, is not that of its token ids, {decoded[:40]!r}: is the "
            "tokenizer the model's own?"
        )


def _letters(text: str) -> str:
    return "".join(text.replace("\ufffd", "").split())


def _followed(written: Written, settings: GenerationSettings, decode: Decode) -> Stopper:
    """A stopper that has seen what was written, up to where it ended."""
    stopper = Stopper(settings, decode)
    for token in written.ids or ():
        if stopper.push(token) is not None:
            break
    return stopper
