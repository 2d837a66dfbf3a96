"""What stands before a prompt: BOS, once. A doubled or missing one has cost others 50 points of accuracy."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

from slmeval.plan import Cell
from slmeval.tokenizing import TEXT_ORIGIN, FastTokenizer
from slmeval.types import Score, TokenIds


def beginnings(tokenizer: FastTokenizer) -> set[int | None]:
    """What a text may begin with once: BOS, and what the tokenizer sets before all texts, named or not."""
    whole, bare = tokenizer.encode("a"), tokenizer.encode("a", special=False)
    added = whole[:1] if len(whole) > len(bare) and whole[:1] != bare[:1] else ()
    return {tokenizer.bos_id, *added}


def begins_twice(
    ids: TokenIds, begins: Container[int | None], decode: Callable[[Sequence[int]], str]
) -> bool:
    """Whether a second BOS follows the first one, at once or behind white space."""
    first, rest = ids[0], ids[1:]
    return first in begins and first in rest and not decode(rest[: rest.index(first)]).strip()


def bos_notes(tokenizer: FastTokenizer, cells: Iterable[Cell]) -> tuple[str, ...]:
    """What stands before prompts where the tokenizer's files name a BOS, if that is not plain."""
    mark = None if tokenizer.bos_id is None else tokenizer.token(tokenizer.bos_id)
    if mark is None or tokenizer.origin == TEXT_ORIGIN:
        return ()
    adds = tokenizer.encode("a")[:1] == (tokenizer.bos_id,)
    asked = [cell for cell in cells if cell.items]
    chats = [cell for cell in asked if cell.chat == "on"]
    notes = []
    if len(chats) < len(asked) and not adds:
        notes.append(f"prompts begin without BOS: the tokenizer adds none, though its files name {mark!r}")
    if chats:
        notes.append(_chat_bos(chats, mark, adds=adds))
        if tokenizer.encode(f"{mark}a", special=False)[:1] != (tokenizer.bos_id,):
            notes.append(f"the tokenizer does not read {mark!r} in a text as BOS, if the template writes it")
    return tuple(notes)


def _chat_bos(cells: Sequence[Cell], mark: str, *, adds: bool) -> str:
    requests = {part for cell in cells for item in cell.items for part in item.sample.requests}
    texts = {part.context if isinstance(part, Score) else getattr(part, "prompt", "") for part in requests}
    written = sum(text.startswith(mark) for text in texts)
    if written == len(texts):
        return f"the chat template writes BOS ({mark!r}), and no second one is added"
    some = f" in {len(texts) - written} of {len(texts)} prompts" if written else ""
    if adds:
        return f"the chat template writes no BOS{some}: the tokenizer puts {mark!r} before its text"
    return f"prompts in chat begin without BOS{some}: neither the template nor the tokenizer writes {mark!r}"
