"""Whether a server still serves what the run was planned for: it may be started anew with other weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from slmeval.errors import JobFailed, ModelError
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller
from slmeval_openai.lookup import Facts, facts_of
from slmeval_openai.words import short

AnswerT = TypeVar("AnswerT")

#: seconds between two looks
_EVERY = 60.0


def check_planned(facts: Facts, planned: str | None, where: str) -> None:
    """``planned`` is the edition that the run was planned for, ``None`` where nobody said.

    :raises ModelError: ``facts`` are of another.
    """
    if planned is not None and planned != facts.edition:
        raise ModelError(
            f"the server at {where} tells of another edition of the model ({_shown(facts.edition)}) than "
            f"when the run was planned ({_shown(planned)}): start the run again"
        )


class Watch:
    """Looks at the server again now and then, at the end of what was asked."""

    def __init__(self, caller: Caller, address: Address, facts: Facts) -> None:
        self._caller, self._address, self._facts = caller, address, facts
        self._looked = time.monotonic()

    def until_the_end(
        self, answers: Iterator[AnswerT], run: Callable[[Coroutine[Any, Any, None]], None]
    ) -> Iterator[AnswerT]:
        """The answers, and after the last one a look, if there was none for a while.

        :raises JobFailed: the server serves something else now, or does not say what.
        """
        yield from answers
        self.look_again(run)

    def look_again(self, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """A look, if there was none for a while.

        :raises JobFailed: as :meth:`until_the_end`.
        """
        if time.monotonic() - self._looked >= _EVERY:
            run(self._look())

    async def _look(self) -> None:
        try:
            now = await facts_of(self._caller, self._address)
        except ModelError as error:
            raise JobFailed(str(error)) from None
        if (now.name, now.edition) != (self._facts.name, self._facts.edition):
            raise JobFailed(
                f"what the server at {self._address.base} serves has changed in the middle of the run, from "
                f"{self._told(self._facts)} to {self._told(now)}: start the run again"
            )
        self._looked = time.monotonic()

    def _told(self, facts: Facts) -> str:
        return f"{self._caller.shown(facts.name)!r} ({_shown(facts.edition)})"


def _shown(edition: str) -> str:
    return short(edition, 200) or "which it does not tell"
