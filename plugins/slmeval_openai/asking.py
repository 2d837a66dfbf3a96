"""A question put to a server until there is a right answer, a refusal, or no hope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from slmeval.errors import JobFailed, Unanswerable
from slmeval_openai import waiting
from slmeval_openai.address import Address
from slmeval_openai.documents import Garbled, message_of, parse
from slmeval_openai.secret import Key
from slmeval_openai.waiting import LONGEST_ASKED, Backoff, asked_wait
from slmeval_openai.wire import Response, Trouble, Wire
from slmeval_openai.words import clean, short

AnswerT = TypeVar("AnswerT")

#: statuses that may pass, beside the server's own troubles (5xx): too slow, in conflict, too early, too many
_PASSING = frozenset({408, 409, 425, 429})
#: of the server's troubles, those that stay: not implemented, no such version of HTTP
_LASTING = frozenset({501, 505})
#: statuses that are about the very request (too long, say): others may be answered
_OF_THE_REQUEST = frozenset({400, 413, 422})
#: characters of an error page that are looked at
_READ = 8192


class Refused(JobFailed):
    """The server does not want this request; sending it again would change nothing."""

    def __init__(self, status: int, said: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.said = status, said


class RefusedRequest(Refused, Unanswerable):
    """The same, and no more than this one request is meant."""


class GaveUp(JobFailed):
    """No right answer after all tries, of which ``last`` is the last."""

    def __init__(self, last: Trouble, sentence: str) -> None:
        super().__init__(sentence)
        self.last = last

    @property
    def answered(self) -> bool:
        """Whether the server did answer each time, with what it may also answer to what it cannot do."""
        return self.last.damaged or self.last.status == 500


def answered(error: Refused | GaveUp) -> str:
    """What the server answered to what it cannot do.

    :raises GaveUp: that is not what it answered: it is in trouble.
    """
    if isinstance(error, Refused):
        return error.said
    if not error.answered:
        raise error
    return str(error.last)


class Caller:
    """Puts questions to one server.

    What the server asks for after a 429 holds for all requests: none is sent before that time.
    """

    def __init__(self, address: Address, key: Key, timeout: float, retries: int) -> None:
        self._address, self._key = address, key
        #: seconds that one request may take
        self.timeout = timeout
        self._wire = Wire(address, key, timeout)
        self._backoff = Backoff(retries, waiting.BASE)
        self._quiet_until = 0.0

    async def get(self, url: str, read: Callable[[Any], AnswerT], *, tries: int | None = None) -> AnswerT:
        """As :meth:`post`, without a body."""
        return await self._ask(url, None, read, tries, None)

    async def post(
        self,
        url: str,
        body: Mapping[str, Any],
        read: Callable[[Any], AnswerT],
        *,
        tries: int | None = None,
        patience: float | None = None,
    ) -> AnswerT:
        """What ``read`` makes of the JSON that is answered; it raises :class:`Garbled` at what is no answer.

        ``tries`` in place of those the user allows; after ``patience`` seconds none is begun.

        :raises Refused: the server does not want this.
        :raises GaveUp: no answer could be had, and the last reason.
        """
        return await self._ask(url, body, read, tries, patience)

    async def _ask(
        self,
        url: str,
        body: Mapping[str, Any] | None,
        read: Callable[[Any], AnswerT],
        tries: int | None,
        patience: float | None,
    ) -> AnswerT:
        most = tries or self._backoff.retries + 1
        began = _now()
        for attempt in range(most):
            await self._hold()
            try:
                return read(parse(self.accepted(await self._wire.send(url, body), url)))
            except Garbled as garbled:
                last = Trouble(f"its answer is damaged: {self.shown(str(garbled))}", damaged=True)
            except Trouble as trouble:
                last = trouble
            wait = self._wait(attempt, last)
            if attempt + 1 == most or (patience is not None and _now() + wait - began > patience):
                break
            await asyncio.sleep(wait)
        raise self._gave_up(attempt + 1, last)

    async def _hold(self) -> None:
        while (left := self._quiet_until - _now()) > 0:
            await asyncio.sleep(left)

    def _wait(self, attempt: int, trouble: Trouble) -> float:
        """Seconds to wait now.

        :raises GaveUp: the server asks for too many.
        """
        if trouble.wait is None:
            return self._backoff.wait(attempt)
        if trouble.wait > LONGEST_ASKED:
            raise GaveUp(
                trouble,
                f"the server at {self._address.base} asks to wait {trouble.wait:.0f} s: {trouble}; go on "
                "later with --resume",
            )
        self._quiet_until = max(self._quiet_until, _now() + trouble.wait)
        # those that waited alike do not come back in one instant
        return trouble.wait + min(1.0, self._backoff.wait(0))

    def accepted(self, response: Response, url: str) -> bytes:
        """The body of an answer of ``url``.

        :raises Trouble: there is none now.
        :raises Refused: there will be none.
        """
        if 200 <= response.status < 300:
            return response.body
        said = self._said(response)
        if response.status in _PASSING or (response.status >= 500 and response.status not in _LASTING):
            wait = asked_wait(response.headers)
            raise Trouble(f"status {response.status}: {said}", status=response.status, wait=wait)
        kind = RefusedRequest if response.status in _OF_THE_REQUEST else Refused
        raise kind(response.status, said, self._refusal(response, said, url))

    def _refusal(self, response: Response, said: str, url: str) -> str:
        where = f"the server at {self._address.base}"
        if 300 <= response.status < 400:
            target = self.shown(_host_of(response.headers.get("location", "")))
            return f"{where} points to {target}, which is not followed, for the key would go there"
        if response.status in (401, 403):
            variable = self._key.variable
            way = f"refuses the key in {variable}" if variable else "wants a key: set SLMEVAL_API_KEY"
            return f"{where} {way} ({response.status}: {said})"
        if response.status == 404:
            named = f" or no model {self._address.name!r}" if self._address.name else ""
            return f"{where} has no {url.removeprefix(self._address.root)}{named} (404: {said})"
        return f"{where} refuses a request ({response.status}: {said})"

    def _said(self, response: Response) -> str:
        text = response.body.decode("utf-8", "replace")
        with suppress(Garbled):
            text = message_of(parse(response.body)) or text
        return self.shown(text) or "it gives no reason"

    def shown(self, text: str) -> str:
        """What a server said, as it can be shown: without the key, on one line, not long."""
        # hidden before anything is cut or taken out, and after
        return short(self._key.hide(clean(self._key.hide(text)[:_READ])))

    def _gave_up(self, tries: int, last: Trouble) -> GaveUp:
        times = "once" if tries == 1 else f"{tries} times"
        sentence = f"the server at {self._address.base} was asked {times} without success; at last {last}"
        return GaveUp(last, sentence)

    async def close(self) -> None:
        """Close what is open."""
        await self._wire.close()


def _host_of(target: str) -> str:
    """Scheme and host of an address: what follows them may hold anything."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "another address"
    # not "hostname", which is in lower case: a key in it would not be known
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, "", "", "")) if host else "another of its own addresses"


def _now() -> float:
    return asyncio.get_running_loop().time()
