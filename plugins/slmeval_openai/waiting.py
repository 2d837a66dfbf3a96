"""How long to wait before a failed request is sent again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

#: seconds; the first wait is up to this long, each further one up to twice as long as the one before
BASE = 2.0
#: seconds; no wait of our own is longer
_LONGEST = 60.0
#: seconds; a server that asks for more has no room today, and silence of that length looks like a hang
LONGEST_ASKED = 300.0


@dataclass(frozen=True)
class Backoff:
    """Exponential, with full jitter, so that requests which failed together do not come back together.

    (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.)
    """

    retries: int
    base: float

    def wait(self, attempt: int) -> float:
        """Seconds before the next try after the failed one numbered ``attempt`` (from 0)."""
        # 2 ** 16 is beyond every limit, and no number overflows
        return random.uniform(0, min(_LONGEST, self.base * 2 ** min(attempt, 16)))


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds for which a server asks, ``None`` where it asks for none that can be read.

    ``Retry-After`` holds seconds or a date (RFC 9110, 10.2.3); ``retry-after-ms``, which OpenAI and Azure
    send, is finer and comes first, as in OpenAI's own client.
    """
    fine = _number(headers.get("retry-after-ms", ""))
    if fine is not None:
        return fine / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    return seconds if seconds is not None else _until(text, headers.get("date", ""))


def _number(text: str) -> float | None:
    # plain digits: float() would also take "nan", "inf" and "1_0"
    whole, _, part = text.strip().partition(".")
    if not whole.isascii() or not whole.isdigit() or len(whole) > 15 or (part and not part.isdigit()):
        return None
    return float(text)


def _until(text: str, now: str) -> float | None:
    then = _moment(text)
    if then is None:
        return None
    # by the server's clock where it shows one: ours may differ
    return max(0.0, (then - (_moment(now) or datetime.now(timezone.utc))).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
