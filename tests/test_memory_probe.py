"""What a model takes of memory: known readings in, known parts out, and the operating system's word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from random_models import TINY_LLAMA, write_model
from scripted_session import Scripted, settings_of, steady

from slmeval.api import Demand, Reading
from slmeval.cli import run
from slmeval.errors import JobFailed
from slmeval.pairing import demo_model
from slmeval.probe_figures import merged, misfit, unfit
from slmeval.types import Figure, ModelInfo, Series, Timing, Workload
from slmeval_runtime import enough, memory_looks
from slmeval_runtime.memory import Memory
from slmeval_runtime.process_memory import ProcessMemory, Watch, of_status
from slmeval_runtime.readings import parts_of

MIB = 2**20
ROOT = Path(__file__).parents[1]
on_linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="there is no /proc")

#: numbers that are kept of a token: in two layers, keys and values of two heads of 12
NUMBERS = 2 * 2 * 2 * 12
#: of the tiny model, by hand: embedding and head, two layers of norms, attention and FFN, the last norm
PARAMETERS = 2 * 96 * 32 + 2 * (2 * 32 + 2 * 48 * 32 + 2 * 24 * 32 + 3 * 48 * 32) + 32

#: what an engine tells, by scope, with a workload under way or with none
Told = Callable[[Workload | None], Mapping[str, float]]


def buffers(
    *, weights: float = 4 * PARAMETERS, bits: float = 32, room: int = 1, peak: float = 0, **more: float
) -> Told:
    """Weights, and a cache that grows by ``room`` tokens at a time, ``bits`` for each number."""

    def told(work: Workload | None) -> Mapping[str, float]:
        found = {"weights (CPU)": weights} | ({"peak": weights + 100.0} if peak else {})
        if work is None:
            return found
        tokens = len(work.prompts) * -(-work.longest // room) * room
        found |= {"kv cache (CPU)": tokens * NUMBERS * bits / 8, "kv cache room": tokens, **more}
        return found | ({"peak": peak} if peak else {})

    return told


@dataclass
class Engine:
    """As much of a backend as the probe asks."""

    told: Told
    dtype: str = "float32"
    device: str = "cpu"
    work: Workload | None = None

    def model_info(self) -> ModelInfo:
        return ModelInfo("LlamaForCausalLM", 0, 0, self.dtype, self.device, 64, 96, "scripted", "1")

    def memory(self) -> tuple[Reading, ...]:
        return tuple(
            Reading(value, "tokens" if scope == "kv cache room" else "bytes", 0.0, scope, "the script")
            for scope, value in self.told(self.work).items()
        )


#: of the process in MiB: with nothing open, with the model open, and while a prompt is run
CLOSED, OPEN, RUNNING = 50, 60, 90


class Held(Scripted):
    """A session whose model is held while it is open, and its cache while something is timed."""

    def __init__(self, engine: Engine, model: Path, given: Mapping[str, str], **changes: Any) -> None:
        super().__init__(Memory(), steady(), given, location=str(model), **changes)
        self.engine, self.is_open = engine, False

    @property
    def backend(self) -> Any:
        assert self.is_open
        return self.engine

    def open(self) -> float:
        self.is_open = True
        return super().open()

    def close(self) -> None:
        self.is_open = False

    @contextmanager
    def timed(self, workload: Workload) -> Iterator[Callable[[], Timing]]:
        with super().timed(workload) as run:
            self.engine.work = workload
            yield run
        self.engine.work = None


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny", TINY_LLAMA)


@dataclass
class Bench:
    """Makes sessions on the tiny model, in a process that is told what it holds."""

    model: Path
    held: Held | None = None
    running: int | None = RUNNING
    #: bytes of all processes' files
    files: int = 3

    def look(self) -> ProcessMemory:
        assert self.held is not None
        if self.running is None:
            return ProcessMemory()
        size = OPEN if self.held.is_open else CLOSED
        return ProcessMemory(size * MIB, 120 * MIB, (10 + self.files * self.held.is_open) * MIB)

    def __call__(
        self, told: Told, given: Mapping[str, str] | None = None, **changes: Any
    ) -> dict[str, Series]:
        of_engine = {name: changes.pop(name) for name in ("dtype", "device") if name in changes}
        own = changes.pop("own_process", True)
        self.held = Held(Engine(told, **of_engine), self.model, given or {}, **{"context": 64} | changes)
        self.held.own_process = own
        done = Memory().measure(self.held)
        assert misfit(done) is None
        return {each.name: each for each in done.series}


@pytest.fixture
def bench(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tiny)

    class Seen(Watch):
        def __init__(self) -> None:
            super().__init__(lambda: {1: made.look()})

        def __exit__(self, *_: object) -> None:
            super().__exit__()
            self.top = made.running and made.running * MIB

    monkeypatch.setattr(memory_looks, "process_memory", made.look)
    monkeypatch.setattr(memory_looks, "Watch", Seen)
    monkeypatch.setattr(memory_looks, "settle", lambda: None)
    return made


def of_workers(series: Mapping[str, Series], given: Mapping[str, str] | None = None) -> dict[str, Figure]:
    """Figures of six workers that saw the same."""
    many = {name: replace(each, values=each.values * 6) for name, each in series.items()}
    figures = Memory().figures(settings_of(Memory(), given or {}), many)
    assert unfit(figures) is None
    return {figure.name: figure for figure in figures}


def sizes(series: Mapping[str, Series], *names: str) -> list[float]:
    """In bytes."""
    return [series[name].values[0] * MIB for name in names]


# ---- parts -------------------------------------------------------------------------------------------


def test_readings_are_summed_over_devices_and_what_is_no_part_is_left_out() -> None:
    said = [("weights (CPU)", 1.0), ("weights (CUDA0)", 2.0), ("logits", 4.0), ("weightless", 8.0)]
    assert parts_of(Reading(value, "bytes", 0.0, scope, "") for scope, value in said) == {
        "weights": 3.0,
        "logits": 4.0,
    }


def test_what_an_engine_tells_goes_first_and_the_rest_is_other(bench: Bench) -> None:
    series = bench(buffers(compute=5.0 * MIB, logits=2.0 * MIB, state=1.0 * MIB))
    cache = 64 * NUMBERS * 4
    assert sizes(series, "weights", "kv_cache", "state", "compute", "in_use") == [
        4 * PARAMETERS, cache, MIB, 7 * MIB, RUNNING * MIB,
    ]  # fmt: skip
    parts = sum(sizes(series, "weights", "kv_cache", "state", "compute", "other"))
    assert parts == pytest.approx(RUNNING * MIB)
    assert sizes(series, "before", "peak", "file_pages") == [CLOSED * MIB, 120 * MIB, 3 * MIB]
    assert {each.source for each in series.values()} == {"measured", "estimated", "unavailable"}
    # that a model has no state is computed, and no part of anything
    assert {series[name].source for name in ("compute", "other", "in_use")} == {"measured"}


def test_the_model_is_opened_once_before_the_first_look_and_anew_for_each_context(bench: Bench) -> None:
    bench(buffers(), {"context": "32,16"})
    assert bench.held is not None
    assert bench.held.opened == 3
    assert [each.longest for each in bench.held.asked] == [32, 16, 16, 8]


def test_compute_is_what_the_process_grew_by_beyond_its_cache(bench: Bench) -> None:
    series = bench(buffers())
    assert sizes(series, "compute") == [(RUNNING - OPEN) * MIB - 64 * NUMBERS * 4]
    assert "by how much the process grew" in series["compute"].note


def test_compute_is_the_engines_peak_less_the_parts_where_the_prompt_made_it(bench: Bench) -> None:
    most = 4 * PARAMETERS + 64 * NUMBERS * 4 + 12345
    series = bench(buffers(peak=most))
    assert sizes(series, "compute") == [pytest.approx(12345)]
    assert sizes(series, "device_peak") == [most]
    # the opening held more than the prompt did: that peak tells nothing of the prompt
    series = bench(lambda work: {**buffers()(work), "peak": 10.0**9})
    assert "by how much the process grew" in series["compute"].note


def test_on_another_device_the_whole_is_the_sum_of_the_parts(bench: Bench) -> None:
    most = 4 * PARAMETERS + 64 * NUMBERS * 4 + 5 * MIB
    series = bench(buffers(peak=most), device="cuda:0")
    assert sizes(series, "in_use") == [most]
    assert "cuda:0" in series["other"].note
    shares = of_workers(series)
    whole = [shares[f"{part}_share"].value or 0.0 for part in ("weights", "kv_cache", "compute")]
    assert sum(whole) == pytest.approx(100)
    assert "without other" in shares["weights_share"].note
    # what is the process's own is told all the same
    assert sizes(series, "peak") == [120 * MIB]


def test_parts_that_come_to_more_than_was_held_leave_no_other(bench: Bench) -> None:
    series = bench(buffers(compute=100.0 * MIB))
    assert series["other"].source == "unavailable"
    assert "not all that was reserved was written to" in series["other"].note


def test_a_process_that_grew_by_less_than_its_cache_has_no_compute(bench: Bench) -> None:
    bench.running = OPEN
    series = bench(buffers())
    assert "it used again what had been left behind" in series["compute"].note
    assert of_workers(series)["weights_share"].source == "unavailable"


def test_a_thread_tells_the_engines_own_and_nothing_of_the_process(bench: Bench) -> None:
    series = bench(buffers(compute=1.0 * MIB), own_process=False)
    for name in ("before", "peak", "file_pages", "other"):
        assert "the worker is a thread" in series[name].note
    assert sizes(series, "in_use") == [4 * PARAMETERS + 64 * NUMBERS * 4 + MIB]


def test_a_system_that_tells_nothing_of_processes_is_said(bench: Bench) -> None:
    bench.running = None
    series = bench(buffers())
    for name in ("before", "peak", "file_pages", "other", "compute"):
        assert "this system does not tell what a process holds" in series[name].note


def test_of_a_server_nothing_is_known(bench: Bench) -> None:
    held = Held(Engine(buffers()), Path("x"), {})
    held.model = replace(held.model, location="http://localhost:1/v1#a")
    bench.held = held
    done = Memory().measure(held)
    assert misfit(done) is None
    figures = of_workers({each.name: each for each in done.series})
    assert {figure.source for figure in figures.values()} == {"unavailable"}
    assert "server's process" in figures["weights"].note
    assert "server's process" in figures["weights_share"].note


# ---- what an engine does not tell is computed --------------------------------------------------------


def test_without_readings_weights_and_cache_are_computed_and_labelled_so(bench: Bench) -> None:
    series = bench(buffers(), lacking={"memory": "it tells nothing"})
    assert sizes(series, "weights", "kv_cache") == [4 * PARAMETERS, 64 * NUMBERS * 4]
    assert series["weights"].source == series["kv_cache"].source == "estimated"
    assert series["compute"].source == series["other"].source == "estimated"
    assert "the engine does not tell" in series["weights"].note
    figures = of_workers(series)
    assert figures["weights"].ci95 == (figures["weights"].value,) * 2
    assert figures["weights_error"].note.startswith("weights is not measured")
    assert figures["kv_error"].source == "unavailable"
    assert figures["weights_share"].source == "estimated"


@pytest.mark.parametrize(
    ("changes", "of_computed", "measured"),
    [
        ({}, ("compute", "other"), ("in_use",)),
        ({"device": "cuda:0"}, ("compute", "in_use"), ("peak",)),
        ({"own_process": False}, ("compute", "in_use"), ("device_peak",)),
    ],
)
def test_what_is_made_of_a_computed_part_is_labelled_so(
    bench: Bench, changes: Mapping[str, Any], of_computed: tuple[str, ...], measured: tuple[str, ...]
) -> None:
    """The engine tells its peak, and neither weights nor cache."""
    series = bench(lambda work: {"peak": 5.0 * MIB if work else 1.0}, **changes)
    for name in of_computed:
        assert (series[name].source, len(series[name].values)) == ("estimated", 1)
    for name in measured:
        assert series[name].source == "measured"


def test_what_cannot_be_timed_has_a_computed_cache_and_no_compute(bench: Bench) -> None:
    series = bench(buffers(), lacking={"time": "it tells no times"})
    assert series["weights"].source == "measured"
    assert sizes(series, "kv_cache") == [64 * NUMBERS * 4]
    assert series["kv_cache"].source == "estimated"
    for name in ("compute", "kv_per_token", "in_use"):
        assert "it tells no times" in series[name].note


def test_a_shape_that_is_not_known_leaves_what_was_measured(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    bench.model = tmp_path
    figures = of_workers(bench(buffers(compute=1.0)))
    assert figures["weights"].value is not None
    assert figures["kv_per_token"].value is not None
    assert "damaged" in figures["weights_predicted"].note
    assert "damaged" in figures["kv_error"].note


@pytest.mark.parametrize(("bits", "width"), [(32, 32), (16, 16), (8.5, 8.5), (8, 8), (4.5, 4.5), (16.3, 16)])
def test_the_cache_is_predicted_at_the_width_nearest_to_what_it_takes(
    bench: Bench, bits: float, width: float
) -> None:
    series = bench(buffers(bits=bits, room=16))
    assert series["kv_per_token"].values == (pytest.approx(NUMBERS * bits / 8),)
    assert series["kv_predicted"].values == (NUMBERS * width / 8,)
    error = of_workers(series)["kv_error"]
    assert error.value == pytest.approx(100 * (width / bits - 1))
    assert (error.unit, error.n) == ("%", 6)


def test_the_growth_is_that_between_two_depths_and_not_the_cache_over_its_tokens(bench: Bench) -> None:
    def told(work: Workload | None) -> Mapping[str, float]:
        plain = dict(buffers(bits=16, room=8)(work))
        return plain | ({"kv cache (CPU)": plain["kv cache (CPU)"] + 999} if work else {})

    series = bench(told, {"context": "60"})
    assert series["kv_per_token"].values == (NUMBERS * 2,)
    assert series["kv_per_token"].note == "between rooms for 32 and 64 tokens"


def test_a_room_that_does_not_grow_is_divided(bench: Bench) -> None:
    series = bench(buffers(bits=16, room=64))
    assert series["kv_per_token"].values == (NUMBERS * 2,)
    assert "did not grow" in series["kv_per_token"].note


def windowed(folder: Path, window: int, *kinds: str) -> Path:
    """A model whose layers of the kind "sliding_attention" see ``window`` tokens."""
    shape = {
        **TINY_LLAMA,
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "sliding_window": window,
    }
    return write_model(folder, shape | ({"layer_types": list(kinds)} if kinds else {}))


@pytest.mark.parametrize("bits", [16, 8.5])
def test_what_is_kept_beyond_a_window_is_not_taken_for_wider_numbers(
    bench: Bench, tmp_path: Path, bits: float
) -> None:
    """As llama.cpp does, which keeps a pass more: here 32 tokens of a window of 2, in one layer of two."""
    bench.model = windowed(tmp_path / "windowed", 2, "full_attention", "sliding_attention")

    def told(work: Workload | None) -> Mapping[str, float]:
        plain = dict(buffers()(work))
        if work is not None:
            cells = work.longest + min(work.longest, 32)
            plain["kv cache (CPU)"] = cells * NUMBERS / 2 * bits / 8
        return plain

    series = bench(told)
    assert series["kv_per_token"].values == series["kv_predicted"].values == (NUMBERS / 2 * bits / 8,)
    assert f"at {bits:g} bits a number" in series["kv_predicted"].note
    assert of_workers(series)["kv_error"].value == 0


def test_a_cache_that_does_not_grow_has_no_error(bench: Bench, tmp_path: Path) -> None:
    bench.model = windowed(tmp_path / "windowed", 8)

    def told(work: Workload | None) -> Mapping[str, float]:
        return {**buffers()(work)} | ({"kv cache (CPU)": 8 * NUMBERS * 4} if work else {})

    figures = of_workers(bench(told))
    assert figures["kv_per_token"].value == figures["kv_predicted"].value == 0
    assert figures["kv_error"].source == "unavailable"
    assert "kv_per_token is 0" in figures["kv_error"].note


def test_a_window_caps_what_is_predicted_of_each_sequence(bench: Bench, tmp_path: Path) -> None:
    bench.model = windowed(tmp_path / "windowed", 8)
    series = bench(buffers(), {"batch": "3"}, lacking={"memory": "it tells nothing"})
    assert sizes(series, "kv_cache") == [3 * 8 * NUMBERS * 4]


@pytest.mark.parametrize(
    ("dtype", "bytes_each", "how"),
    [
        ("float32", 4, "32 bits a parameter"),
        ("bfloat16", 2, "16 bits a parameter"),
        ("float32 (from Q4_K_M, 4.85 bits per weight)", 4, "32 bits a parameter"),
        ("4.5 bits", 4, "as the tensors are stored"),
    ],
)
def test_weights_are_predicted_in_the_type_in_which_they_are_held(
    bench: Bench, dtype: str, bytes_each: int, how: str
) -> None:
    series = bench(buffers(), dtype=dtype)
    assert sizes(series, "weights_predicted") == [bytes_each * PARAMETERS]
    assert how in series["weights_predicted"].note


def test_the_error_of_predicted_weights_has_a_sign(bench: Bench) -> None:
    figures = of_workers(bench(buffers(weights=4 * PARAMETERS * 1.25)))
    assert figures["weights_error"].value == pytest.approx(-20)


# ---- figures -----------------------------------------------------------------------------------------


def test_shares_are_of_the_whole_with_and_without_compute(bench: Bench) -> None:
    figures = of_workers(bench(buffers(weights=40.0 * MIB, compute=30.0 * MIB)))
    cache = 64 * NUMBERS * 4 / MIB
    assert figures["weights_share"].value == pytest.approx(100 * 40 / RUNNING)
    assert figures["weights_net_share"].value == pytest.approx(100 * 40 / (RUNNING - 30))
    assert figures["kv_cache_net_share"].value == pytest.approx(100 * cache / (RUNNING - 30))
    for net in (True, False):
        named = [name for name in figures if name.endswith("_share") and ("_net_" in name) == net]
        assert len(named) == 4 - net
        assert sum(figures[name].value or 0.0 for name in named) == pytest.approx(100)
    assert {figures[name].unit for name in figures if "share" in name} == {"%"}
    assert figures["in_use"].higher_is_better is False
    assert figures["weights_share"].higher_is_better is None


def test_figures_of_several_contexts_are_told_apart(bench: Bench) -> None:
    given = {"context": "16,64", "batch": "1,2"}
    figures = of_workers(bench(buffers(), given), given)
    of_cache = {name: figure.value for name, figure in figures.items() if name.startswith("kv_cache@")}
    token = NUMBERS * 4 / MIB
    assert of_cache == {
        f"kv_cache@context={context},batch={batch}": context * batch * token
        for context in (16, 64)
        for batch in (1, 2)
    }
    assert "weights" in figures
    assert not [name for name in figures if name.startswith("weights@")]


def test_the_devices_peak_is_that_of_each_context(bench: Bench) -> None:
    """It is counted anew at each opening."""
    given = {"context": "64,16"}

    def told(work: Workload | None) -> Mapping[str, float]:
        return {**buffers()(work), "peak": MIB * float(work.longest if work else 1)}

    figures = of_workers(bench(told, given), given)
    assert {name: figure.value for name, figure in figures.items() if name.startswith("device_peak")} == {
        "device_peak@context=64": 64,
        "device_peak@context=16": 16,
    }


def test_workers_that_differ_give_an_interval_and_one_that_lacks_a_part_no_shares(bench: Bench) -> None:
    one = bench(buffers(compute=5.0 * MIB))
    others = [
        {**one, "other": replace(one["other"], values=(one["other"].values[0] + by,))} for by in range(1, 6)
    ]
    many = {
        name: replace(one[name], values=tuple(v for each in (one, *others) for v in each[name].values))
        for name in one
    }
    settings = settings_of(Memory(), {})
    figures = {figure.name: figure for figure in Memory().figures(settings, many)}
    least = one["other"].values[0]
    assert figures["other"].ci95 == (least, least + 5)
    assert figures["other"].n == 6
    short = {**many, "other": replace(many["other"], values=many["other"].values[1:])}
    figures = {figure.name: figure for figure in Memory().figures(settings, short)}
    assert "other is not known of all workers" in figures["weights_share"].note
    assert figures["other"].n == 5


def test_notes_are_the_same_in_all_workers(bench: Bench) -> None:
    """Else the core would put all of them one after the other."""
    bench(buffers(compute=100.0 * MIB))
    assert bench.held is not None
    made = [Memory().measure(bench.held) for _ in range(2)]
    assert {each.note for each in made[0].series} == {each.note for each in merged(made)}


# ---- what is refused ---------------------------------------------------------------------------------


def test_the_context_is_what_the_model_has_if_that_is_less_than_usual(bench: Bench) -> None:
    bench(buffers(), context=40)
    assert bench.held is not None
    assert bench.held.asked[0].longest == 40
    bench(buffers(), context=5000)
    assert bench.held.asked[0].longest == 2048
    assert Memory().demand(settings_of(Memory(), {})) is None


def test_the_longest_context_and_the_largest_batch_are_asked_for_beforehand() -> None:
    settings = settings_of(Memory(), {"context": "512,4096", "batch": "1,8"})
    assert Memory().demand(settings) == Demand(4096, 8)


def test_more_than_there_is_memory_for_is_refused_with_the_arithmetic(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = 64 * NUMBERS * 4
    monkeypatch.setattr(enough, "available_memory", lambda: need)
    bench(buffers())
    monkeypatch.setattr(enough, "available_memory", lambda: need - 1)
    with pytest.raises(JobFailed, match=r"1 x 64 tokens need 0 MiB of cache at 32 bits a number"):
        bench(buffers())
    bench(buffers(peak=10.0**6), device="cuda:0")
    # what cannot be timed makes no cache
    bench(buffers(), lacking={"time": "it tells no times"})
    # nothing shows that the cache is narrower than the weights
    with pytest.raises(JobFailed, match=r"at 32 bits"):
        bench(buffers(bits=4.5), lacking={"memory": "it tells nothing"})


def test_what_a_narrower_cache_has_room_for_is_not_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enough, "available_memory", lambda: 1024 * NUMBERS * 4.5 / 8)
    series = bench(buffers(bits=4.5), context=1024)
    assert sizes(series, "kv_cache") == [1024 * NUMBERS * 4.5 / 8]
    assert bench.held is not None
    assert [each.longest for each in bench.held.asked] == [512, 256, 1024, 512]
    with pytest.raises(JobFailed, match=r"1 x 1024 tokens need 0 MiB of cache at 5 bits a number"):
        bench(buffers(bits=5), context=1024)
    # what fits in any case is not tried out
    bench(buffers(bits=4.5), context=100)
    assert [each.longest for each in bench.held.asked] == [100, 50]


@pytest.mark.parametrize("text", ["0", "1", "-4", "much"])
def test_a_context_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        settings_of(Memory(), {"context": text})


# ---- the operating system's word ---------------------------------------------------------------------


def test_a_status_file_is_read_in_units_of_1024_bytes() -> None:
    text = "Name:\ta\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t 150 kB\nRssFile:\t 50 kB\nThreads:\t3\n"
    assert of_status(text) == ProcessMemory(held=200 * 1024, peak=300 * 1024, files=50 * 1024)
    assert of_status("Name:\tkthreadd\n") == ProcessMemory()


#: a process of its own, for one of tests may have threads, engines below it, and much that is read again
HOLDS = """
import json, time
from slmeval_runtime.process_memory import Watch, process_memory, settle
settle()
before = process_memory().held
with Watch() as first:
    block = bytearray(64 << 20)
    del block
with Watch() as second:
    block = bytearray(32 << 20)
    until = time.monotonic() + 120
    while second.top - before < 28 << 20 and time.monotonic() < until:
        time.sleep(0.001)
    del block
print(json.dumps([watch.top - before for watch in (first, second)]))
"""


@on_linux
def test_what_is_held_for_a_moment_is_seen() -> None:
    told = subprocess.run([sys.executable, "-c", HOLDS], capture_output=True, text=True, check=True)
    # the smaller one makes no new peak of the process, and is seen all the same once it is looked at
    large, small = json.loads(told.stdout)
    assert 60 * MIB < large < 72 * MIB
    assert 28 * MIB < small < 40 * MIB


def test_another_process_that_grows_by_a_page_brings_no_old_peak_back() -> None:
    idle, child = ProcessMemory(held=100 * MIB, peak=164 * MIB), ProcessMemory(held=4096, peak=4096)
    now = {1: idle, 2: child}
    with Watch(lambda: dict(now)) as watch:
        now[1] = replace(idle, held=132 * MIB)
        until = time.monotonic() + 60
        while watch.top != 132 * MIB + 4096 and time.monotonic() < until:
            time.sleep(0.001)
        now.update({1: idle, 2: replace(child, peak=8192)})
    # what was seen, and the page of the one that rose unseen: not the peak that the other had long ago
    assert watch.top == 132 * MIB + 8192


#: a process with nothing below it, which starts one: a process of tests may have engines below it
COUNTS = """
import json, subprocess, sys
from slmeval_runtime.process_memory import process_memory
before = process_memory()
holds = "held = b'1' * 50_000_000; print(1, flush=True); input()"
with subprocess.Popen(
    [sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
) as child:
    child.stdout.readline()
    during = process_memory()
    child.communicate("\\n")
print(json.dumps([before.processes, during.processes, during.held - before.held]))
"""


@on_linux
def test_processes_below_count() -> None:
    told = subprocess.run([sys.executable, "-c", COUNTS], capture_output=True, text=True, check=True)
    before, during, grown = json.loads(told.stdout)
    assert (before, during) == (1, 2)
    assert grown > 50_000_000


#: a worker in small: the probe on the reference engine, and what it said
WORKER = """
import json, sys
sys.path[:0] = {paths!r}
from scripted_session import settings_of
from slmeval.holding import Holder
from slmeval.models import find_model, parse_model
from slmeval.registry import load
from slmeval.sessions import WorkerSession
from slmeval_runtime.memory import Memory
backend = load().parts.backends["reference"]
options = {{option.name: option.default for option in backend.options}}
found = find_model(parse_model({model!r}), lambda file: "0")
holder = Holder(backend, options, found.local, found.tokenizer())
session = WorkerSession(
    holder, settings_of(Memory(), {{}}), 1, {{}}, lambda: None, meters={{}}, own_process=True
)
done = Memory().measure(session)
print(json.dumps({{each.name: each.values for each in done.series}}), flush=True)
input()
"""


@on_linux
def test_the_peak_is_the_operating_systems_own_figure() -> None:
    """Another process reads it: ``VmHWM``, and after the end what ``wait4`` says of the child."""
    program = WORKER.format(paths=[str(ROOT / "tests")], model=str(demo_model()))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        told = json.loads(worker.stdout.readline())
        seen = of_status(Path(f"/proc/{worker.pid}/status").read_text()).peak
        worker.stdin.write("\n")
        worker.stdin.close()
        _, status, usage = os.wait4(worker.pid, 0)
        worker.returncode = os.waitstatus_to_exitcode(status)
    (peak,) = told["peak"]
    assert worker.returncode == 0
    assert peak * MIB == pytest.approx(seen, rel=0.05)
    # a child begins with the peak of the process that started it, if that is more
    inherited = of_status(Path("/proc/self/status").read_text()).peak or 0
    assert 1024 * usage.ru_maxrss == pytest.approx(max(peak * MIB, inherited), rel=0.05)
    # numbers of eight bytes, in weights and cache alike
    assert told["weights"] == pytest.approx(told["weights_predicted"], rel=0.02)
    assert told["kv_per_token"] == told["kv_predicted"] == [4 * 2 * 2 * 64 * 8]


def test_the_benchmark_sets_each_workers_peak_beside_the_systems() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import memory as benchmark
    finally:
        sys.path.pop(0)
    plain = {"value": 1.0}
    figures = dict.fromkeys(
        (
            "weights",
            "weights_predicted",
            "weights_error",
            "kv_per_token",
            "kv_predicted",
            "kv_error",
        ),
        plain,
    )
    cell = {"figures": {**figures, "peak": plain}, "series": [{"name": "peak", "values": [1.0, 2.0]}]}
    row = benchmark.row_of("toy", "demo", cell, [999, MIB, 4 * MIB])
    assert row.cells()[-3:] == ["1.0", "2.5", "50.00"]
    assert len(row.cells()) == len(benchmark.HEAD)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["reference", "llamacpp"])
def test_a_run_measures_both_probes_in_six_fresh_workers(engine: str, tmp_path: Path) -> None:
    if engine == "llamacpp" and find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed")
    output, model = tmp_path / "run.json", demo_model("gguf" if engine == "llamacpp" else "folder")
    command = ["run", "--backend", engine, "--model", str(model), "--tasks", "memory,load"]
    options = ["-o", "context=256", "-o", "first_prompt=16", "--format", "json", "--output", str(output)]
    assert run([*command, *options, "--store", str(tmp_path / "store.db")]) == 0
    cells = {cell["name"]: cell for cell in json.loads(output.read_text())["cells"]}
    memory, load = cells["memory"]["figures"], cells["load"]["figures"]
    told = [figure for figure in (*memory.values(), *load.values()) if figure["source"] != "unavailable"]
    assert {figure["n"] for figure in told} == {6}
    assert all(figure["ci95"] and figure["unit"] for figure in told)
    for name in ("weights_error", "kv_error"):
        assert abs(memory[name]["value"]) < 2
    assert memory["in_use"]["value"] <= memory["peak"]["value"] * 1.01
    steps = [load[name]["value"] for name in ("start", "engine", "open", "first_token")]
    assert min(steps) > 0
    assert load["cold_start"]["value"] > max(steps)
