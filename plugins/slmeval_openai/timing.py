"""How long a server takes, as its client sees it: streamed texts, and when each of their tokens came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from slmeval.errors import JobFailed
from slmeval.types import Timing, TokenIds, Workload
from slmeval_openai.address import Address
from slmeval_openai.asking import Caller, RefusedRequest
from slmeval_openai.chunks import Told, Unlike, read_stream
from slmeval_openai.documents import Garbled
from slmeval_openai.opening import SOME_IDS, Manner
from slmeval_openai.prompts import Prompts
from slmeval_openai.secret import Key
from slmeval_openai.streams import Arrival, Streams
from slmeval_openai.ways import WAYS, Way
from slmeval_openai.wire import Trouble

#: bytes that a stream may have, and more for each of its tokens
_STREAM, _TOKEN = 1 << 20, 16 << 10
#: prompts that are run until the text of one can be timed
_PROMPTS = 8


class Failed(JobFailed):
    """A run that failed, with the server's status, 0 where there was none."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Timer:
    """Runs workloads: as many streams as they have prompts, begun together."""

    def __init__(self, caller: Caller, address: Address, key: Key, manner: Manner, model: str) -> None:
        self._caller, self._address, self._manner, self._model = caller, address, manner, model
        self._url = manner.url(address)
        self._streams = Streams(address, key, caller.timeout)
        self._prompts = Prompts(caller, address, manner, model)
        #: what the server takes, once it was tried out
        self._way: Way | None = None
        self._timed = False
        #: runs of which nothing could be made, and why of the last
        self._left_out, self._why = 0, ""
        #: the most tokens of a prompt that the server had in its cache, and that were to be in it
        self._cached = self._depth = 0

    async def run(self, workload: Workload) -> Timing:
        """One run.

        :raises JobFailed: the server fails, or what it sends cannot be timed; or there are no new tokens.
        """
        if not workload.new_tokens:
            raise JobFailed("a server does not show when a prompt has been run: ask for a new token after it")
        self._depth = max(self._depth, workload.depth)
        if self._way is None:
            await self._prompts.measure()
            self._way = await self._accepted()
            # the trial's do not count
            self._streams.late = 0
        told = await self._told(self._way, workload)
        self._timed = True
        self._cached = max(self._cached, *(each.cached for each in told))
        self._prompts.remember(len(workload.prompts[0]), [each.prompt for each in told])
        return Timing(None, _in_step([each.tokens for each in told]))

    async def _accepted(self) -> Way:
        """The first way that the server takes.

        :raises JobFailed: it takes none, or fails.
        """
        for way in WAYS:
            try:
                await self._once(way, (SOME_IDS,), 1)
            except Unlike:
                return way
            except (RefusedRequest, Failed) as error:
                # servers answer 500 to what they do not understand, too
                if isinstance(error, Failed) and error.status != 500:
                    raise
                refusal = error
            else:
                return way
        raise refusal

    async def _told(self, way: Way, workload: Workload) -> list[Told]:
        """Of the first prompts with texts that can be timed: each run has others, whatever became of one."""
        for _ in range(_PROMPTS):
            try:
                return await self._once(way, workload.prompts, workload.new_tokens)
            except Unlike as unlike:
                self._left_out += 1
                refuses = "" if way.goes_on else ", and does not take ignore_eos"
                self._why = f"{self._caller.shown(str(unlike))}{refuses}"
        raise JobFailed(
            f"after {_PROMPTS} prompts no text could be timed; at last {self._why}: ask for fewer new tokens"
        )

    async def _once(self, way: Way, prompts: Sequence[TokenIds], tokens: int) -> list[Told]:
        """:raises Unlike: of a text it cannot be told when its tokens came."""
        bodies = list(self._bodies(way, prompts, tokens))
        try:
            arrivals = await self._streams.together(self._url, bodies, _STREAM + _TOKEN * tokens)
            return [self._read(arrival, tokens) for arrival in arrivals]
        except Trouble as trouble:
            raise Failed(
                trouble.status,
                f"the server at {self._address.base} failed while it was timed, and a timed request is not "
                f"sent again: {trouble}",
            ) from None

    def _bodies(self, way: Way, prompts: Sequence[TokenIds], tokens: int) -> Iterator[bytes]:
        for ids in prompts:
            body = self._manner.body(self._model, self._prompts.new(ids), tokens)
            yield json.dumps({**body, **way.body(tokens, self._prompts.number)}).encode()

    def _read(self, arrival: Arrival, tokens: int) -> Told:
        self._caller.accepted(arrival.response, self._url)
        try:
            return read_stream(arrival, tokens)
        except Garbled as garbled:
            raise Trouble(f"its answer is damaged: {self._caller.shown(str(garbled))}") from None

    def notes(self) -> Iterator[str]:
        """What the report must say of what was timed."""
        if not self._timed:
            return
        yield "times are those of the server's client: the way to it and its queue are in them"
        if self._depth:
            yield (
                "nothing can be put into a server's cache beforehand: the tokens of a depth were run as part "
                "of the prompt, within the time"
            )
        yield from self._prompts.notes()
        if self._cached:
            yield f"the server had up to {self._cached} tokens of a timed prompt in its cache"
        if self._streams.late:
            yield f"the server closes connections: {self._streams.late} were made within the time"
        if self._left_out:
            yield f"{self._left_out} runs were left out, each for another prompt's; of the last, {self._why}"

    async def close(self) -> None:
        """Close all connections."""
        await self._streams.close()


def _in_step(came: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """When i tokens for each text were there, all texts together: a server need not write them in step.

    One that writes them one after another would seem to write all of them as fast as the last.
    """
    return tuple(sorted(at for each in came for at in each)[len(came) - 1 :: len(came)])
