"""What is asked of vLLM: requests in, their outputs as they come, none left behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from vllm import LLMEngine, SamplingParams

from slmeval.errors import JobFailed
from slmeval.types import TokenIds
from slmeval_vllm.errors import STOPPED, reason
from slmeval_vllm.trunk import Trunk


class Desk:
    """Hands requests to an engine in this process, and knows those that are under way."""

    def __init__(self, engine: LLMEngine) -> None:
        self._engine = engine
        self._trunk = Trunk(engine)
        self._numbers = count()
        self._open: set[str] = set()
        self._turns = 0

    @contextmanager
    def turn(self, prompts: Collection[TokenIds] = ()) -> Iterator[Turn]:
        """For the requests of one call; of what was computed before it, it finds what ``prompts`` begin with.

        :raises JobFailed: vLLM keeps what it computed, or stopped.
        """
        self._turns += 1
        mine = self._turns
        self._give_up()
        self._trunk.begin(prompts, self._warm)
        try:
            yield Turn(self, mine)
        finally:
            if self._turns == mine:
                self._give_up()

    def _give_up(self) -> None:
        """Nothing is under way."""
        if self._open:
            self._engine.abort_request(sorted(self._open))
            self._open.clear()

    def _warm(self, ids: TokenIds) -> None:
        """Run ``ids`` by themselves, so that they are in the cache."""
        self.add(ids, SamplingParams(temperature=0.0, max_tokens=1, ignore_eos=True, detokenize=False))
        while self._open:
            self.step()

    def add(self, ids: Sequence[int], params: SamplingParams) -> str:
        """Hand in one request; its name."""
        name = str(next(self._numbers))
        self._engine.add_request(name, {"type": "token", "prompt_token_ids": list(ids)}, params)
        self._open.add(name)
        return name

    def step(self) -> list[Any]:
        """One batch; the outputs of the requests that were in it.

        :raises JobFailed: vLLM stopped, or lost a request.
        """
        if not self._engine.has_unfinished_requests():
            raise JobFailed("vLLM has given up a request without an answer")
        try:
            outputs: list[Any] = self._engine.step()
        except STOPPED as error:
            raise JobFailed(f"vLLM stopped: {reason(error)}") from error
        self._open.difference_update(output.request_id for output in outputs if output.finished)
        return outputs

    def abort(self, name: str) -> None:
        """Give up one request."""
        if name in self._open:
            self._engine.abort_request([name])
            self._open.discard(name)

    def check(self, turn: int) -> None:
        """:raises RuntimeError: another call has begun since."""
        if turn != self._turns:
            raise RuntimeError("the answers to one call must be taken before the next call")


class Turn:
    """The desk, as one call has it."""

    def __init__(self, desk: Desk, number: int) -> None:
        self._desk, self._number = desk, number

    def add(self, ids: Sequence[int], params: SamplingParams) -> str:
        """As :meth:`Desk.add`."""
        self._desk.check(self._number)
        return self._desk.add(ids, params)

    def step(self) -> list[Any]:
        """As :meth:`Desk.step`."""
        self._desk.check(self._number)
        return self._desk.step()

    def abort(self, name: str) -> None:
        """As :meth:`Desk.abort`."""
        self._desk.check(self._number)
        self._desk.abort(name)
