"""A session whose engine is a script: it tells the times it was given, and counts what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from slmeval.api import Backend, Meter, Probe, Session
from slmeval.errors import JobFailed
from slmeval.types import Conditions, ModelRef, OptionValue, Timing, Workload

#: what a workload takes on its n-th run since the model was opened
Script = Callable[[Workload, int], Timing]


def settings_of(probe: Probe, given: Mapping[str, str] = MappingProxyType({})) -> dict[str, OptionValue]:
    """Each option's value, as the planner reads it."""
    assert set(given) <= {option.name for option in probe.options}
    return {
        option.name: option.kind(given[option.name]) if option.name in given else option.default
        for option in probe.options
    }


def steady(prefill: float = 0.001, step: float = 0.01, depth: float = 0.0) -> Script:
    """Seconds of each prompt token, and of each step of all sequences: with each token before it, more."""

    def script(workload: Workload, run: int) -> Timing:
        prompt = len(workload.prompts[0]) - workload.depth
        first = prefill * prompt * len(workload.prompts)
        each = step + depth * workload.depth
        return Timing(first, tuple(first + each * done for done in range(workload.new_tokens)))

    return script


class Scripted(Session):
    """As much of a session as probes use; ``lacking`` as the engine tells it."""

    meters: Mapping[str, type[Meter]] = MappingProxyType({})
    seed = 1234
    own_process = True

    def __init__(
        self,
        probe: Probe,
        script: Script,
        given: Mapping[str, str] = MappingProxyType({}),
        *,
        context: int = 2048,
        lacking: Mapping[str, str] = MappingProxyType({}),
        location: str = "model",
        opening: float = 0.5,
    ) -> None:
        self.settings = settings_of(probe, given)
        self.context = context
        self.model = ModelRef(location)
        self._script, self._lacking, self._opening = script, lacking, opening
        #: every workload that was run, in order
        self.asked: list[Workload] = []
        self.opened = 0
        self._runs = 0
        self.timing = False

    @property
    def beginning(self) -> Mapping[str, float]:
        return {"start": 0.1, "engine": 0.2}

    @property
    def backend(self) -> Backend:
        raise AssertionError("nothing but times is asked of the engine")

    def open(self) -> float:
        assert not self.timing
        self.opened += 1
        self._runs = 0
        return self._opening

    def close(self) -> None:
        """Nothing is held."""

    def lacks(self, capability: str) -> str | None:
        return self._lacking.get(capability)

    def workload(
        self, prompt: int, new_tokens: int = 0, *, depth: int = 0, batch: int = 1, forced: bool = False
    ) -> Workload:
        ids = tuple(range(depth + prompt))
        made = Workload((ids,) * batch, new_tokens, depth, ((7,) * new_tokens,) * batch if forced else ())
        if made.longest > self.context:
            raise JobFailed(f"{made.longest} tokens are more than the model's context of {self.context}")
        return made

    @contextmanager
    def timed(self, workload: Workload) -> Iterator[Callable[[], Timing]]:
        assert not self.timing
        self.timing = True

        def run() -> Timing:
            self._runs += 1
            self.asked.append(workload)
            return self._script(workload, self._runs)

        try:
            yield run
        finally:
            self.timing = False

    def show_life(self) -> None:
        """Nobody waits."""

    def note_conditions(self) -> Conditions:
        return Conditions(0.0)
