"""What a session of pytest says of its gates in the end, and the baselines that it writes.

Imported where a report carries an answer, and nowhere else; under pytest-xdist that is in the process that
all reports come to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmeval.errors import SlmevalError
from slmeval.pytest_baselines import update

#: answers in the order in which they are counted, as pytest calls them
_WORDS = {"pass": "passed", "fail": "failed", "inconclusive": "inconclusive"}
#: a line, and how the terminal marks it
Line = tuple[str, dict[str, bool]]


@dataclass
class Answers:
    """Gathers what reports carry, and tells it in the end.

    ``unsure`` are the tests that could not be decided, each with its sentence; ``kept`` the files with the
    outcomes of one run, by the baseline that they are for.
    """

    counts: Counter[str] = field(default_factory=Counter)
    unsure: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    kept: dict[str, dict[str, None]] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, test: str, told: Mapping[str, Any], *, shown: bool = False) -> None:
        """What the report of one test carries; ``shown``: the report says itself what is undecided."""
        for answer, sentence in told["answers"]:
            self.counts[answer] += 1
            if answer == "inconclusive" and not shown:
                self.unsure.append((test, sentence))
        self.notes |= dict.fromkeys(told["notes"])
        for kept, baseline in told["kept"]:
            self.kept.setdefault(baseline, {})[kept] = None

    def write(self) -> None:
        """Write each baseline, once; what cannot be written is told in the end."""
        for name, kept in self.kept.items():
            try:
                self.written.append(update(Path(name), [Path(each) for each in kept]))
            except SlmevalError as error:
                self.broken.append(f"baseline not written: {name}: {error}")

    def lines(self) -> list[Line]:
        """As the terminal shows them."""
        counted = [f"{self.counts[name]} {word}" for name, word in _WORDS.items() if self.counts[name]]
        return [
            *([(f"rules: {', '.join(counted)}", {})] if counted else []),
            *((f"INCONCLUSIVE {test}\n  {sentence}", {"yellow": True}) for test, sentence in self.unsure),
            *((f"note: {note}", {}) for note in self.notes),
            *((line, {}) for line in self.written),
            *((line, {"red": True}) for line in self.broken),
        ]
