"""How fast prompts are run through the model, with nothing decoded after them.

Of one run of s seconds, with ``batch`` sequences of ``prompt`` tokens after ``depth`` tokens in the cache::

    latency      = 1000 s                   ms for the whole prompt
    tokens_per_s = batch * prompt / s

Each figure is the median over the runs. The clock starts when the ids are on the device and ends when the
logits after the last token are there; llama-bench's ``pp512`` is the same. Series: ``prefill``, one value for
each run, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slmeval.api import Demand, Probe, Session, Stream
from slmeval.errors import JobFailed
from slmeval.types import Figure, Measurement, Series, Timing
from slmeval_runtime.axes import BATCH, DEPTH, PROMPT, Point, Settings, demand, points
from slmeval_runtime.costs import Costs, latencies, latency, of, rate, rates
from slmeval_runtime.served import is_served
from slmeval_runtime.timed import Unseen, Work, budget, measured, streamed

UNSEEN = "the engine does not show when a prompt has been run: ttft has what can be seen from outside"


class Prefill(Probe):
    """Tokens a second, and milliseconds, of a prompt alone."""

    version = "1.0"

    def __init__(self, name: str = "prefill", prompt: str = "512") -> None:
        self.name = name
        self.options = (PROMPT.option(prompt), DEPTH.option("0"), BATCH.option("1"), budget(6.0))

    def demand(self, settings: Settings) -> Demand:
        """The longest prompt, with all that is before it."""
        return demand(_points(settings))

    def measure(self, session: Session) -> Measurement:
        """Each length, depth and batch; of a server nothing is asked, for it shows none of it."""
        lack = UNSEEN if is_served(session.model) else None
        found = _points(session.settings)
        return measured(session, [Work(point.named("prefill"), point, seconds, lack=lack) for point in found])

    def stream(self, session: Session, figure: str) -> Stream | None:
        """The whole prompt, at every point; a server does not show it."""
        for point in _points(session.settings):
            if figure == point.named("tokens_per_s"):
                return rates(_alone(session, point), point.batch * point.prompt)
            if figure == point.named("latency"):
                return latencies(_alone(session, point))
        return None

    def figures(self, settings: Settings, series: Mapping[str, Series]) -> Sequence[Figure]:
        """Two figures for each point."""
        return [
            figure
            for point in _points(settings)
            for figure in _figures(point, of(series, point.named("prefill")))
        ]


def seconds(timing: Timing) -> float:
    """How long the prompts took.

    :raises Unseen: the engine does not show it.
    """
    if timing.prefill is None:
        raise Unseen(UNSEEN)
    return timing.prefill


def _alone(session: Session, point: Point) -> Costs:
    if is_served(session.model):
        raise JobFailed(UNSEEN)
    return streamed(session, point, lambda timing: [seconds(timing)])


def _points(settings: Settings) -> tuple[Point, ...]:
    return points(settings, (PROMPT, DEPTH, BATCH))


def _figures(point: Point, series: Series) -> tuple[Figure, Figure]:
    tokens = point.batch * point.prompt
    return (
        rate(point.named("tokens_per_s"), series, series.values, tokens),
        latency(point.named("latency"), series, series.values),
    )
