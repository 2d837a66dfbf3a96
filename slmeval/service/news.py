"""Events as streams carry them, and the newest of them in memory."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from slmeval.service.ledger import Event

#: events that are held, and their bytes: half of this is kept when there are more
MOST_EVENTS, MOST_BYTES = 8192, 16 * 2**20

_ID = attrgetter("id")


@dataclass(frozen=True)
class News:
    """An event with its ``text`` in a stream (WHATWG, server-sent events), made once for all who get it."""

    event: Event
    text: bytes

    @property
    def id(self) -> int:
        """The event's."""
        return self.event.id

    @classmethod
    def of(cls, event: Event) -> News:
        """The data are the event's own with its ``run`` and ``at``; JSON has no line breaks."""
        data = json.dumps({"run": event.run, "at": event.at, **event.data}, separators=(",", ":"))
        return cls(event, f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n".encode())


class Ring:
    """All events after ``floor``, up to ``last``; the oldest go when there are too many.

    Ids have gaps where events were taken out of the ledger.
    """

    def __init__(self, last: int) -> None:
        self.floor = self.last = last
        self._news: list[News] = []
        self._bytes = 0

    def add(self, news: Iterable[News]) -> None:
        """The next ones, by id; none is missing in between."""
        for each in news:
            self._news.append(each)
            self._bytes += len(each.text)
            self.last = each.id
        if len(self._news) > MOST_EVENTS or self._bytes > MOST_BYTES:
            self._shorten()

    def after(self, cursor: int, run: str | None, most: int) -> tuple[list[News], int]:
        """What follows ``cursor`` (not below the floor), of a run or of all, until ``most`` bytes are found.

        :returns: at least one, if there is one, and the id up to which all has been seen.
        """
        found, size = [], 0
        for place in range(bisect_right(self._news, cursor, key=_ID), len(self._news)):
            each = self._news[place]
            if run is None or each.event.run == run:
                found.append(each)
                size += len(each.text)
                if size >= most:
                    return found, each.id
        return found, max(cursor, self.last)

    def _shorten(self) -> None:
        kept = 0
        size = self._bytes
        while len(self._news) - kept > MOST_EVENTS // 2 or (
            size > MOST_BYTES // 2 and kept < len(self._news)
        ):
            size -= len(self._news[kept].text)
            kept += 1
        self.floor, self._bytes = self._news[kept - 1].id, size
        del self._news[:kept]
