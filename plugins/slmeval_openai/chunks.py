"""A streamed text, read strictly: when each of its tokens came, as far as that can be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slmeval_openai.documents import Garbled, field, message_of, parse
from slmeval_openai.replies import THOUGHTS
from slmeval_openai.streams import Arrival

#: what stands in a stream beside data (the standard's section "Server-sent events", 9.2.6)
_OTHER_LINES = (b":", b"event:", b"id:", b"retry:")
#: the last data of a stream
_DONE = b"[DONE]"
#: of the steps from the first token to the last, the share that the first chunk may hide
_HIDDEN = 0.02


class Unlike(Exception):
    """A text that cannot be timed as it should be, and why; another prompt's may."""


@dataclass(frozen=True)
class Chunk:
    """One event: when it was whole, in seconds, and whether it carried text; counts where it tells them."""

    at: float
    has_text: bool
    finish: str | None
    written: int | None
    prompt: int | None
    cached: int


@dataclass(frozen=True)
class Told:
    """When each token of a text came, in seconds; and the tokens of the prompt, as the server counted.

    ``prompt`` is ``None`` where it does not tell; ``cached`` of these it had computed for another prompt.
    """

    tokens: tuple[float, ...]
    prompt: int | None
    cached: int


def read_stream(arrival: Arrival, asked: int) -> Told:
    """The text in ``arrival``, of which ``asked`` tokens were wanted.

    A chunk may hold several tokens: they are told apart where each chunk counts the tokens so far, or where
    there are as many chunks with text as the text has tokens, and else not at all.

    :raises Garbled: it is none, not whole, or too long.
    :raises Unlike: it has fewer tokens, or when they came cannot be told.
    """
    chunks = [_chunk(at, parse(line)) for at, line in _events(arrival)]
    finish = next((chunk.finish for chunk in chunks if chunk.finish is not None), None)
    if finish is None:
        raise Garbled(f"the stream ended before the text did, after {len(chunks)} chunks of it")
    tokens = _times(chunks, asked)
    total = _total(chunks, finish, asked, len(tokens))
    if total > asked:
        raise Garbled(f"it has {total} tokens, and {asked} were asked for")
    if total < asked:
        raise Unlike(f"the server ended a text after {total} of {asked} tokens ({finish[:40]!r})")
    if len(tokens) != total:
        raise Unlike(f"the server sent {total} tokens in {len(tokens)} chunks: when each came is not known")
    prompt = next((chunk.prompt for chunk in reversed(chunks) if chunk.prompt is not None), None)
    return Told(tokens, prompt, max(chunk.cached for chunk in chunks))


def _events(arrival: Arrival) -> Iterator[tuple[float, bytes]]:
    """The data of each event, and when the line was whole that it stands in.

    :raises Garbled: there is something else.
    """
    body, start, searched = arrival.response.body, 0, 0
    for end, at in arrival.reads:
        # no byte is looked at twice, however small the reads are
        while (stop := body.find(b"\n", searched, end)) >= 0:
            line, start = body[start:stop].strip(b"\r"), stop + 1
            searched = start
            data = line.removeprefix(b"data:").strip()
            if data == _DONE:
                return
            if line.startswith(b"data:"):
                yield at, data
            elif line and not line.startswith(_OTHER_LINES):
                raise Garbled(f"it is no stream: {line[:80].decode('utf-8', 'replace')}")
        searched = end
    if rest := body[start:].strip():
        raise Garbled(f"it is no whole stream: it ends with {rest[-80:].decode('utf-8', 'replace')}")


def _chunk(at: float, document: Any) -> Chunk:
    if isinstance(document, dict) and not document.get("choices") and "error" in document:
        raise Garbled(f"the server broke off: {message_of(document)}")
    choices = field(document, "choices", list)
    if len(choices) > 1:
        raise Garbled(f"it holds {len(choices)} choices in place of one")
    choice = choices[0] if choices else {}
    if not isinstance(choice, dict):
        raise Garbled("its choice is no object")
    finish = choice.get("finish_reason")
    if finish is not None:
        field(choice, "finish_reason", str)
    return Chunk(at, _has_text(choice), finish, *_counts(document.get("usage")))


def _has_text(choice: dict[str, Any]) -> bool:
    """Of a text, or of a chat's message, what is thought included."""
    part = choice.get("delta") or {}
    if not isinstance(part, dict):
        raise Garbled("its 'delta' is no object")
    found = [choice.get("text"), part.get("content"), *(part.get(name) for name in THOUGHTS)]
    if any(text is not None and not isinstance(text, str) for text in found):
        raise Garbled("its text is none")
    return any(found)


def _counts(usage: Any) -> tuple[int | None, int | None, int]:
    """Tokens that are written, of the prompt, and of these from a cache."""
    if usage is None:
        return None, None, 0
    counts = field(usage, "completion_tokens", int), field(usage, "prompt_tokens", int)
    if min(counts) < 0:
        raise Garbled("it counts fewer than no tokens")
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return (*counts, cached if type(cached) is int else 0)


def _times(chunks: list[Chunk], most: int) -> tuple[float, ...]:
    """By the counts so far, where all chunks with text tell them, else by the chunks that carry text.

    :raises Garbled: the counts fall, or one is larger than ``most``.
    :raises Unlike: the first chunk has so many that the time from the first to the last is not known.
    """
    with_text = [chunk for chunk in chunks if chunk.has_text]
    if not with_text or any(chunk.written is None for chunk in with_text):
        return tuple(chunk.at for chunk in with_text)
    times: list[float] = []
    for chunk in chunks:
        new = len(times) if chunk.written is None else chunk.written
        if not len(times) <= new <= most:
            raise Garbled(f"it counts {new} tokens after {len(times)} of {most}")
        times += [chunk.at] * (new - len(times))
    first = next((chunk.written for chunk in chunks if chunk.written), 1)
    if first - 1 > _HIDDEN * (most - 1):
        raise Unlike(
            f"the server sent the first {first} tokens in one chunk: when the first came is not known"
        )
    return tuple(times)


def _total(chunks: list[Chunk], finish: str, asked: int, seen: int) -> int:
    """Tokens of the whole text: as counted, else what was asked where it ended for its length."""
    counts = [chunk.written for chunk in chunks if chunk.written is not None]
    if counts:
        return max(counts)
    return asked if finish == "length" else seen
