"""Many requests under way at once on one event loop, their answers in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, TypeVar

AnswerT = TypeVar("AnswerT")

#: seconds after which the caller is told that work goes on
_PULSE = 0.5


class Lanes:
    """Runs on whoever asks for the next answer: there is no thread to be left behind."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """One piece of work, to its end."""
        return self._loop.run_until_complete(work)

    def in_order(
        self,
        starts: Sequence[Callable[[], Coroutine[Any, Any, AnswerT]]],
        alive: Callable[[], object] = lambda: None,
        *,
        first_alone: bool = False,
    ) -> Generator[AnswerT, None, None]:
        """The answers in order; ``alive`` is called now and then while there is none.

        ``first_alone``: nothing else is begun before the first has ended.
        The first error of any of them ends all, as does whoever wants no more answers.
        """
        tasks: list[asyncio.Task[AnswerT]] = []
        try:
            for place in range(len(starts)):
                while place >= len(tasks) or not tasks[place].done():
                    self._advance(tasks, starts, 1 if first_alone and place == 0 else self._width)
                    alive()
                yield tasks[place].result()
        finally:
            self._end(tasks)

    def _advance(
        self,
        tasks: list[asyncio.Task[AnswerT]],
        starts: Sequence[Callable[[], Coroutine[Any, Any, AnswerT]]],
        width: int,
    ) -> None:
        """Fill the lanes, and wait until one is free.

        :raises SlmevalError: what any of them raised.
        """
        running = [task for task in tasks if not task.done()]
        while len(running) < width and len(tasks) < len(starts):
            task = self._loop.create_task(starts[len(tasks)]())
            tasks.append(task)
            running.append(task)
        done, _ = self.run(asyncio.wait(running, timeout=_PULSE, return_when=asyncio.FIRST_COMPLETED))
        for task in done:
            task.result()

    def _end(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        if self._loop.is_closed():
            return  # which ended them all
        for task in tasks:
            task.cancel()
        self.run(_settled(tasks))

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End all that is under way, and then do ``last``."""
        if not self._loop.is_closed():
            self._end(list(asyncio.all_tasks(self._loop)))
            self.run(last())
            self.run(self._loop.shutdown_asyncgens())
            # names are looked up in threads of the loop's own
            self.run(self._loop.shutdown_default_executor())
            self._loop.close()


async def _settled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
