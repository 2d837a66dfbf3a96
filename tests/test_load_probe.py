"""How long a model takes to be there: each step once in each worker, and their sum worker by worker."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from scripted_session import Scripted, settings_of

from slmeval.errors import JobFailed, ModelError
from slmeval.types import Figure, Series, Timing, Workload
from slmeval_runtime import file_cache
from slmeval_runtime.load import STEPS, Load

AS_IS = MappingProxyType({"file_cache": "as_is"})
WAITED = 0.02


def first(workload: Workload, run: int) -> Timing:
    """The first run takes much longer than its own clock says: the engine sets itself up before."""
    assert run == 1, "of a second run nothing is wanted"
    time.sleep(WAITED)
    return Timing(0.001, (0.001,))


def session(given: Mapping[str, str] = AS_IS, **changes: object) -> Scripted:
    return Scripted(Load(), first, given, **changes)  # type: ignore[arg-type]


def series_of(made: Scripted) -> dict[str, Series]:
    return {each.name: each for each in Load().measure(made).series}


def of_workers(series: Mapping[str, Series], times: int = 6) -> dict[str, Figure]:
    """Figures of workers that each were a little slower than the one before."""
    many = {
        name: replace(each, values=tuple(value + worker for worker in range(times) for value in each.values))
        for name, each in series.items()
    }
    return {figure.name: figure for figure in Load().figures(settings_of(Load(), AS_IS), many)}


# ---- what is measured --------------------------------------------------------------------------------


def test_each_step_is_done_once_and_the_model_opened_again() -> None:
    made = session({**AS_IS, "first_prompt": "7"})
    series = series_of(made)
    assert {name: each.unit for name, each in series.items()} == dict.fromkeys((*STEPS, "reopen"), "s")
    assert [series[name].values for name in ("start", "engine", "open", "reopen")] == [
        (0.1,), (0.2,), (0.5,), (0.5,),
    ]  # fmt: skip
    assert made.opened == 2
    assert [(each.longest, each.new_tokens, len(each.prompts)) for each in made.asked] == [(7, 1, 1)]


def test_the_first_token_has_all_that_the_engine_does_before_it() -> None:
    (value,) = series_of(session())["first_token"].values
    # seconds, of whatever unit they were told
    assert WAITED <= value < 10


def test_the_cold_start_is_the_sum_worker_by_worker() -> None:
    series = series_of(session())
    figures = of_workers(series)
    once = sum(series[step].values[0] for step in STEPS)
    cold = figures["cold_start"]
    assert cold.value == pytest.approx(once + 4 * 2.5)
    assert cold.ci95 == pytest.approx((once, once + 4 * 5))
    assert (cold.n, cold.unit, cold.source) == (6, "s", "measured")
    assert list(figures) == [*STEPS, "cold_start", "reopen"]


def test_what_was_not_timed_takes_the_sum_with_it_and_says_why() -> None:
    figures = of_workers(series_of(session(lacking={"time": "the engine tells no times"})))
    assert figures["open"].value is not None
    for name in ("first_token", "cold_start"):
        assert figures[name].source == "unavailable"
        assert "the engine tells no times" in figures[name].note


class Failing(Scripted):
    """A session in which the model opens once only."""

    def open(self) -> float:
        if self.opened:
            raise ModelError("the file is gone")
        return super().open()


def test_a_first_token_that_fails_takes_no_opening_with_it() -> None:
    def refuse(*_: object) -> Timing:
        raise JobFailed("memory ran out")

    figures = of_workers(series_of(Scripted(Load(), refuse, AS_IS)))
    for name in ("start", "engine", "open", "reopen"):
        assert figures[name].value is not None
    assert (figures["first_token"].source, figures["first_token"].note) == ("unavailable", "memory ran out")
    assert figures["cold_start"].note == "first_token: memory ran out"


def test_a_reopening_that_fails_takes_no_cold_start_with_it() -> None:
    figures = of_workers(series_of(Failing(Load(), first, AS_IS)))
    for name in (*STEPS, "cold_start"):
        assert figures[name].value is not None
    assert (figures["reopen"].source, figures["reopen"].note) == ("unavailable", "the file is gone")


def test_of_a_server_the_first_token_is_measured_and_no_opening() -> None:
    made = session(location="http://localhost:1/v1#a")
    series = series_of(made)
    figures = of_workers(series)
    assert made.opened == 1
    # as the engine tells it: what its first run tries out before is no waiting for a token
    assert series["first_token"].values == (0.001,)
    assert figures["first_token"].value is not None
    for name in ("open", "reopen", "cold_start"):
        assert "the server had its model open before" in figures[name].note


def test_a_thread_has_no_beginning_of_its_own() -> None:
    made = session()
    made.own_process = False
    figures = of_workers(series_of(made))
    assert "thread" in figures["start"].note
    assert "thread" in figures["engine"].note
    assert figures["cold_start"].source == "unavailable"


def test_a_step_that_the_worker_does_not_tell_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "beginning", {"engine": 0.2})
    figures = of_workers(series_of(session()))
    assert figures["start"].note == "the worker does not tell when it was started"
    assert figures["engine"].value is not None


def test_a_step_that_some_workers_lack_makes_no_sum() -> None:
    series = {name: replace(each, values=each.values * 6) for name, each in series_of(session()).items()}
    series["engine"] = replace(series["engine"], values=series["engine"].values[:5])
    figures = {figure.name: figure for figure in Load().figures({}, series)}
    assert figures["cold_start"].note.startswith("engine is not known of all workers")


def test_the_request_is_refused_beforehand_where_the_model_is_too_short() -> None:
    demand = Load().demand(settings_of(Load(), {**AS_IS, "first_prompt": "600"}))
    assert (demand.tokens, demand.sequences) == (600, 1)


# ---- the file cache ----------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a file of 32 MiB, freshly written."""
    folder = tmp_path / "model"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "model.safetensors").write_bytes(os.urandom(1 << 25))
    return folder


def resident(file: Path) -> float:
    """The share of a file's pages that the system holds (mincore(2))."""
    import ctypes
    import mmap

    libc = ctypes.CDLL(None, use_errno=True)
    size = file.stat().st_size
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), size) as mapped:
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(mapped)
        assert libc.mincore(ctypes.byref(start), ctypes.c_size_t(size), pages) == 0
        del start
        return sum(page & 1 for page in pages) / len(pages)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS cannot drop files from its cache")
def test_files_are_dropped_before_the_model_is_opened(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = model / "deeper" / "model.safetensors"
    seen = []

    class Looking(Scripted):
        def open(self) -> float:
            seen.append(resident(weights))
            return super().open()

    other = model / "other"
    other.write_bytes(b"x" * (1 << 20))
    with other.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(other) == 1:
        pytest.skip("this file system lies in memory")
    assert any(weights.read_bytes() and resident(weights) == 1 for _ in range(20))
    series = series_of(Looking(Load(), first, {"file_cache": "dropped"}, location=str(model)))
    assert "read from the disk" in series["open"].note
    assert seen[0] < 0.01


def test_as_they_are_files_stay(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slmeval_runtime.load.drop", lambda _: pytest.fail("nothing was to be dropped"))
    series = series_of(session(location=str(model)))
    assert "held what it held" in series["open"].note


def test_where_files_cannot_be_dropped_that_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_cache, "CAN_DROP", False)
    with pytest.raises(JobFailed, match="file_cache=as_is"):
        file_cache.drop(model)


def test_a_file_that_cannot_be_read_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_cache, "CAN_DROP", True)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(file_cache.os, "open", refuse)
    with pytest.raises(JobFailed, match=r"model\.safetensors cannot be dropped .*Permission denied"):
        file_cache.drop(model)


def test_a_gguf_model_in_pieces_is_dropped_whole(tmp_path: Path) -> None:
    pieces = [tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for piece in pieces:
        piece.write_bytes(b"x")
    (tmp_path / "other.gguf").write_bytes(b"x")
    assert list(file_cache.files_of(pieces[0])) == pieces
    pieces[1].unlink()
    with pytest.raises(ModelError, match="lacks"):
        list(file_cache.files_of(pieces[0]))


def test_of_an_address_there_is_nothing_to_drop() -> None:
    assert list(file_cache.files_of(Path("http://localhost:1/v1#a"))) == []
