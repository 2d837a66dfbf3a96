"""How a process of ours begins, and what it gets of the environment where it runs what strangers wrote."""

from __future__ import annotations

import os

#: begins what ``python -c`` runs: else the current folder is first on its path, and may hold a numpy.py
AWAY = "import sys; sys.path[:1] == [''] and sys.path.pop(0); "

#: what Python itself needs; keys and tokens of services are none of a stranger's business
_PASSED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


def bare_environment() -> dict[str, str]:
    """The variables that such a process gets."""
    return {name: os.environ[name] for name in _PASSED if name in os.environ}
