"""How long it takes from nothing to a model's first token, and to open the model again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from slmeval.api import Demand, Option, Probe, Session
from slmeval.errors import SlmevalError
from slmeval.option_kinds import positive
from slmeval.types import Figure, Measurement, OptionValue, Series
from slmeval_runtime.amounts import figure_of, none, one, summed
from slmeval_runtime.file_cache import CAN_DROP, drop
from slmeval_runtime.served import is_served

#: what comes one after the other, from nothing to the first token
STEPS = ("start", "engine", "open", "first_token")
#: workers, each a fresh process: so many values give a median its 95% interval
WORKERS = 6

_SERVED = "the server had its model open before"
_CACHE = {
    "dropped": "the model's files were dropped from the system's file cache before, and read from the disk",
    "as_is": "of the model's files, the system's file cache held what it held",
}


class Load(Probe):
    """From nothing to the first token, step by step, and the model opened again: seconds.

    Everything is done once in each worker, for the second time is another thing. ``open`` is the weights'
    opening, ``first_token`` the first request after it, with all that the engine sets up for it. What fails
    after the opening is unavailable, with its reason, and the rest is kept.
    """

    name = "load"
    version = "1.0"
    needs = frozenset[str]()
    workers = WORKERS
    options = (
        Option("first_prompt", positive, 512, "tokens of the first request"),
        Option(
            "file_cache",
            str,
            "dropped" if CAN_DROP else "as_is",
            "whether the model's files are read from the disk, or as the system's file cache has them",
            choices=("dropped", "as_is"),
        ),
    )

    def demand(self, settings: Mapping[str, OptionValue]) -> Demand:
        """One sequence, and one token behind it that is no input."""
        return Demand(_tokens(settings))

    def measure(self, session: Session) -> Measurement:
        """Open, ask once, and open again.

        :raises slmeval.errors.JobFailed: files cannot be dropped, or the model cannot be opened.
        """
        if session.settings["file_cache"] == "dropped":
            drop(Path(session.model.location))
        opened = session.open()
        first = _first_token(session)
        return Measurement((*_beginning(session), *_openings(session, opened), first))

    def figures(
        self,
        settings: Mapping[str, OptionValue],  # noqa: ARG002
        series: Mapping[str, Series],
    ) -> Sequence[Figure]:
        """Each step, their sum worker by worker, and the opening once more."""
        whole = summed("cold_start", "s", series, STEPS, series["open"].note)
        shown = [*(series[step] for step in STEPS), whole, series["reopen"]]
        return [figure_of(each, higher_is_better=False) for each in shown]


def _beginning(session: Session) -> list[Series]:
    """What came before the model."""
    if not session.own_process:
        why = "the worker is a thread: its interpreter, and perhaps the engine, were there before"
        return [none(step, "s", why) for step in ("start", "engine")]
    return [
        one(step, "s", session.beginning[step]) if step in session.beginning else none(step, "s", why)
        for step, why in (
            ("start", "the worker does not tell when it was started"),
            ("engine", "the worker does not tell how long the engine's import took"),
        )
    ]


def _openings(session: Session, opened: float) -> list[Series]:
    if is_served(session.model):
        return [none(name, "s", _SERVED) for name in ("open", "reopen")]
    note = _CACHE[str(session.settings["file_cache"])]
    return [one("open", "s", opened, note=note), _reopened(session)]


def _reopened(session: Session) -> Series:
    try:
        return one("reopen", "s", session.open(), note="in the same process")
    except SlmevalError as error:
        return none("reopen", "s", str(error))


def _first_token(session: Session) -> Series:
    why = session.lacks("time")
    if why is not None:
        return none("first_token", "s", why)
    tokens = _tokens(session.settings)
    try:
        seconds = _until_first(session, tokens)
    except SlmevalError as error:
        return none("first_token", "s", str(error))
    return one(
        "first_token", "s", seconds, note=f"after {tokens} tokens, the first request since the opening"
    )


def _until_first(session: Session, tokens: int) -> float:
    """Seconds from the first request's being asked until its first token is here."""
    with session.timed(session.workload(tokens, 1)) as run:
        # by this clock, for an engine's own may start after it has set up what only the first run needs
        began = time.perf_counter()
        timing = run()
        seconds = time.perf_counter() - began
    if is_served(session.model):
        # what the server takes is tried out within the first run, before its clock starts
        return timing.tokens[0]
    return seconds


def _tokens(settings: Mapping[str, OptionValue]) -> int:
    return int(settings["first_prompt"] or 0)
