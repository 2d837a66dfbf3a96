"""The contract: every backend of ours keeps it, and for each clause a backend that breaks it is caught."""

from __future__ import annotations

from typing import Any

import pytest
from broken_backends import SoundBackend, broken_backends, kept

from slmeval.registry import load
from slmeval.testing import BackendContract
from slmeval.testing.contract import clauses
from slmeval_reference import ReferenceBackend

ENGINES = {"hf": "transformers", "llamacpp": "llama_cpp", "mlx": "mlx_lm"}


def contract_of(backend: Any, **fields: Any) -> type[BackendContract]:
    return type("TestIt", (BackendContract,), {"backend": backend, **fields})


def outcomes(contract: type[BackendContract]) -> dict[str, str]:
    """What each clause says: "passed", "skipped", or why it failed."""
    test, found = contract(), {}
    try:
        for name in clauses(contract):
            try:
                getattr(test, name)()
                found[name] = "passed"
            except pytest.skip.Exception:
                found[name] = "skipped"
            except Exception as error:  # noqa: BLE001  whatever it is, the clause was not kept
                found[name] = f"{type(error).__name__}: {error}"
    finally:
        contract.teardown_class()
    return found


# ---- our backends keep it ----------------------------------------------------------------------------


class TestReference(BackendContract):
    backend = ReferenceBackend


@pytest.mark.parametrize("name", ENGINES)
def test_our_backends_keep_the_contract(name: str) -> None:
    pytest.importorskip(ENGINES[name], reason=f"the {name} backend needs its engine")
    backend = load().parts.backends.get(name)
    if backend is None:
        pytest.skip(f"there is no {name} backend yet")
    found = outcomes(contract_of(backend))
    assert {clause: said for clause, said in found.items() if said not in {"passed", "skipped"}} == {}
    declared = {"score", "generate", "top_logprobs", "memory"} & backend.capabilities
    assert len([said for said in found.values() if said == "skipped"]) == 4 - len(declared)


# ---- who breaks a clause fails it, and no other ----------------------------------------------------------


def test_for_every_clause_there_is_a_backend_that_breaks_it() -> None:
    assert {backend.breaks for backend in broken_backends()} == set(clauses(BackendContract))


@pytest.mark.parametrize("broken", broken_backends(), ids=lambda broken: broken.__name__)
def test_a_backend_that_breaks_one_clause_fails_that_one_alone(broken: type[SoundBackend]) -> None:
    try:
        found = outcomes(contract_of(broken))
    finally:
        for each in kept:
            each.close()
        kept.clear()
    failed = {clause: said for clause, said in found.items() if said not in {"passed", "skipped"}}
    assert set(failed) == {broken.breaks}, failed
