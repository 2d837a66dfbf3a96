"""Prompts for timed runs: none begins like another, so that no run profits from what a server has kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from random import Random, SystemRandom
from typing import Any, TypeVar

from slmeval.types import TokenIds
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller
from slmeval_openai.opening import Manner

ItemT = TypeVar("ItemT", int, str)

#: short words, of which most vocabularies have most whole
WORDS = (
    *("river", "stone", "bread", "window", "green", "table", "seven", "winter", "paper", "light", "horse"),
    *("garden", "street", "music", "open", "north", "silver", "letter", "under", "clear", "morning", "glass"),
    *("bridge", "salt", "cloud", "slow", "kitchen", "apple", "yellow", "train", "forest", "quiet", "ship"),
    *("corner", "wheel", "summer", "small", "market", "cotton", "field", "early", "island", "copper", "door"),
    *("mirror", "warm", "valley", "candle", "round", "teacher", "sand", "paint", "deep", "harbor", "spoon"),
)
#: of which a short and a long prompt are made to see how many tokens a word is; they differ by whole rounds
FEW, MANY = 16, 16 + len(WORDS)
#: tokens of the texts after these: models that think refuse fewer
_SHORT = 16


def varied(items: Sequence[ItemT], number: int) -> list[ItemT]:
    """The same items in the order of this ``number``; the first one changes with each number.

    As many numbers, one after another, begin with as many different items as there are.
    """
    order = Random(number).sample(list(items), len(items))
    kinds = sorted(set(items))
    place = order.index(kinds[number % len(kinds)])
    order[0], order[place] = order[place], order[0]
    return order


def words(count: int) -> list[str]:
    """So many words."""
    return [WORDS[at % len(WORDS)] for at in range(count)]


def words_for(tokens: int, few: int, many: int) -> int:
    """How many words come to ``tokens``, if :data:`FEW` are ``few`` tokens and :data:`MANY` are ``many``.

    What a server adds to each prompt (BOS, a chat's template) counts; there is one word at least.
    """
    each = (many - few) / (MANY - FEW)
    return max(1, round((tokens - few) / each) + FEW) if each > 0 else tokens


class Prompts:
    """Makes the prompts, each of a number of its own, and compares their lengths with the server's counts.

    A server is given the workload's ids where it takes ids, and else words that come to as many tokens.
    Whoever opens a server anew begins with another number, for it may have kept all it was asked.
    """

    def __init__(self, caller: Caller, address: Address, manner: Manner, model: str) -> None:
        self._caller, self._url, self._manner, self._model = caller, manner.url(address), manner, model
        #: the number of the last one
        self.number = SystemRandom().randrange(1 << 32)
        #: tokens of a few words, and of many, ``None`` where the server does not count them
        self._lengths: tuple[int, int] | None = None
        #: by the tokens that were asked for, those that the server counted
        self._counted: dict[int, Counter[int]] = {}

    async def measure(self) -> None:
        """Find out how many tokens a word is, where words are sent.

        :raises JobFailed: the server fails.
        """
        if self._manner.no_ids:
            few, many = await self._length(FEW), await self._length(MANY)
            self._lengths = None if few is None or many is None else (few, many)

    async def _length(self, count: int) -> int | None:
        body = self._manner.body(self._model, " ".join(words(count)), _SHORT)

        def read(document: Any) -> int | None:
            return self._manner.read(document, _SHORT).prompt_tokens

        return await self._caller.post(self._url, body, read)

    def new(self, ids: TokenIds) -> str | list[int]:
        """The next prompt, of as many tokens as ``ids``."""
        self.number += 1
        if not self._manner.no_ids:
            return varied(ids, self.number)
        count = words_for(len(ids), *self._lengths) if self._lengths else len(ids)
        # of less than a round other words each time: a text that ends early after one may go on after another
        return " ".join(varied(words(max(count, len(WORDS))), self.number)[:count])

    def remember(self, asked: int, counted: Iterable[int | None]) -> None:
        """What the server counted of prompts of which ``asked`` tokens were asked for."""
        known = self._counted.setdefault(asked, Counter())
        known.update(count for count in counted if count is not None)

    def notes(self) -> Iterator[str]:
        """What the report must say of the prompts' lengths."""
        if self._manner.no_ids:
            yield "prompts that are timed are words, for they are sent as text"
        for asked, counts in sorted(self._counted.items()):
            if not counts:
                yield f"the server does not count the tokens of streamed prompts: {self._estimated(asked)}"
            elif set(counts) != {asked}:
                least, most = min(counts), max(counts)
                found = f"{least}" if least == most else f"{least} to {most}"
                yield f"of a prompt of which {asked} tokens were asked for the server counted {found}"

    def _estimated(self, asked: int) -> str:
        if self._lengths is None:
            return f"those of {asked} are of {asked} tokens if a word is a token"
        few, many = self._lengths
        count = words_for(asked, few, many)
        found = few + (count - FEW) * (many - few) / (MANY - FEW)
        return f"those of {asked} are of {found:.0f} by its counts of others"
