"""Plugins: found, checked, refused, switched off."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import toys

from slmeval import hookimpl
from slmeval.api import (
    Converter,
    Executor,
    Filter,
    Importer,
    Meter,
    Metric,
    Probe,
    Reading,
    Reporter,
    Session,
)
from slmeval.builtin.executors import LocalExecutor
from slmeval.errors import UnknownName, UsageError
from slmeval.registry import load, pick
from slmeval.types import Figure, Group, Measurement


def plugin(**hooks: Any) -> Any:
    return SimpleNamespace(
        **{f"slmeval_register_{kind}": hookimpl(function) for kind, function in hooks.items()}
    )


def whole(base: Any, name: str) -> Any:
    """A subclass that fills everything its base leaves open."""
    return type(
        name, (base,), {"name": name, "suffix": "x", "forms": (), **dict.fromkeys(base.__abstractmethods__)}
    )


def test_ours_come_through_the_same_entry_points_as_a_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch)
    registry = load()
    assert {"toy", "reference", "hf"} <= set(registry.parts.backends)
    origins = {record.name: record.origin for record in registry.plugins}
    assert origins["toyplugin"] == "toyplugin 1.0"
    assert origins["reference"].startswith("slmeval ")


def test_two_plugins_may_not_share_a_name_and_both_are_told() -> None:
    twin = plugin(executors=lambda: [LocalExecutor])
    with pytest.raises(UsageError, match="'executors' and 'twin' both bring executor 'local'"):
        load(extra={"twin": twin}, installed=False)


def test_a_misspelt_hook_fails_at_once() -> None:
    with pytest.raises(UsageError, match="slmeval_register_backend"):
        load(extra={"stranger": plugin(backend=lambda: [])}, installed=False)


def test_a_plugin_that_cannot_be_imported_is_recorded_and_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toys.install(tmp_path, monkeypatch, "import nothing_of_that_name", name="broken")
    registry = load()
    (record,) = [record for record in registry.plugins if record.name == "broken"]
    assert "nothing_of_that_name" in (record.broken or "")
    assert "reference" in registry.parts.backends


def test_a_plugin_can_be_switched_off() -> None:
    assert "reference" not in load(["reference"]).parts.backends
    assert "table" not in load(["reporters"]).parts.reporters


def test_every_load_is_a_fresh_one() -> None:
    extra = plugin(executors=lambda: [type("Mine", (LocalExecutor,), {"name": "mine"})])
    assert "mine" in load(extra={"mine": extra}).parts.executors
    assert "mine" not in load().parts.executors


def test_groups_of_one_name_are_joined_and_may_not_hide_a_task() -> None:
    one = plugin(groups=lambda: [("science", ("a", "b"))])
    two = plugin(groups=lambda: [("science", ("b", "c"))])
    registry = load(extra={"one": one, "two": two}, installed=False)
    assert registry.parts.groups["science"] == Group("science", ("a", "b", "c"))
    with pytest.raises(UsageError, match="names a group 'arc_easy'"):
        load(extra={"bad": plugin(groups=lambda: [("arc_easy", ("a",))])})


def test_every_kind_of_part_has_its_hook() -> None:
    class Watt(Meter):
        """Reads nothing."""

        name = "watt"

        def start(self) -> None: ...

        def stop(self) -> Reading:
            return Reading(0.0, "J", 0.0, "none", "none")

    class Seconds(Probe):
        """Takes no time."""

        name, version = "seconds", "1"

        def measure(self, session: Session) -> Measurement:
            return Measurement(())

        def figures(self, settings: object, series: object) -> tuple[Figure, ...]:
            return ()

    bases = {
        "metrics": Metric,
        "filters": Filter,
        "reporters": Reporter,
        "converters": Converter,
        "importers": Importer,
    }
    parts = {kind: whole(base, f"my_{kind}") for kind, base in bases.items()}
    hooks = {kind: (lambda part=part: [part]) for kind, part in parts.items()}
    mine = plugin(meters=lambda: [Watt], probes=lambda: [probe], commands=lambda: [hello], **hooks)
    probe, hello = Seconds(), click.Command("hello")
    registry = load(extra={"mine": mine}, installed=False)
    assert registry.parts.meters == {"watt": Watt}
    assert registry.parts.probes == {"seconds": probe}
    assert registry.parts.commands == {"hello": hello}
    for kind, part in parts.items():
        assert getattr(registry.parts, kind)[f"my_{kind}"] is part


def test_a_hook_may_return_nothing() -> None:
    registry = load(extra={"quiet": plugin(backends=lambda: None)}, installed=False)
    assert registry.parts.backends == {}
    assert registry.plugins[-1].broken is None


def test_picking_an_unknown_part_tells_the_nearest() -> None:
    executors: dict[str, type[Executor]] = {"local": LocalExecutor}
    assert pick("executor", "local", executors) is LocalExecutor
    with pytest.raises(UnknownName, match="did you mean 'local'"):
        pick("executor", "lokal", executors)
    with pytest.raises(UnknownName, match="known: local"):
        pick("executor", "xyz", executors)


@pytest.mark.parametrize(("value", "traced"), [("1", True), ("0", False), ("", False)])
def test_hook_calls_can_be_traced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, traced: bool
) -> None:
    monkeypatch.setenv("SLMEVAL_TRACE_PLUGINS", value)
    load(installed=False).manager.hook.slmeval_run_started(run_id="r", cells=())
    told = capsys.readouterr().err
    assert ("slmeval_register_metrics" in told) is traced
    assert ("slmeval_run_started" in told) is traced
