"""One server for a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from slmeval.errors import UsageError
from slmeval.service.alone import alone

pytest.importorskip("fcntl", reason="this system has no such locks")


def test_a_second_server_of_a_store_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with alone(store), pytest.raises(UsageError, match="another server has the store"), alone(store):
        pass
    with alone(store), alone(tmp_path / "other.db"):
        pass
