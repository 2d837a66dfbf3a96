"""A toy engine that misbehaves on request, and its installation as a stranger's plugin would be."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

MODULE = '''
"""A backend whose likelihoods follow from the token ids alone; ``-o trouble=...`` makes it misbehave."""
import math, os, signal, time
from pathlib import Path
from slmeval import hookimpl
from slmeval.api import Backend, Option
from slmeval.types import Completion, Likelihood, ModelInfo

#: token_logprobs and completions that no engine should give, by the trouble that asks for them
LOGPROBS = {
    "nan": (math.nan,),
    "-inf": (-math.inf,),
    "positive": (0.5,),
    "few": (),
    "nothing": None,
    "words": "a",
    "huge": (-(10**400),),
    "truth": (False,),
}
COMPLETIONS = {
    "no text": Completion(None, (1,), "end"),
    "no ids": Completion("", None, "end"),
    "big id": Completion("", (2**31,), "end"),
    "half id": Completion("", (1.5,), "end"),
    "reason": Completion("", (1,), "whatever"),
}


class ToyBackend(Backend):
    """Counts what it is asked into the file that TOY_LOG names."""

    name = "toy"
    options = (
        Option("trouble", str, "none", "what goes wrong"),
        Option("pace", float, 0.0, "seconds per group", numeric=False),
    )

    @classmethod
    def fingerprint(cls, options):
        plain = super().fingerprint(options)
        return list(plain) if options["trouble"] == "fingerprint" else plain

    def __init__(self, model, options):
        self._trouble, self._pace = options["trouble"], options["pace"]
        if self._trouble == "open":
            raise RuntimeError("no such weights\\nsecond line")

    def model_info(self):
        context = "many" if self._trouble == "info" else 64
        return ModelInfo("Toy", 1, 1, "float64", "cpu", context, 8, "toy", "1")

    def verify_tokenizer(self, tokenizer):
        return "'a' is 1 here and 2 there" if self._trouble == "tokenizer" else None

    def notes(self):
        return "a toy" if self._trouble == "notes" else ("a toy",)

    def score(self, groups):
        for number, group in enumerate(groups):
            if number == 1:
                self._misbehave()
                if self._trouble == "fewer":
                    continue
            time.sleep(self._pace)
            self._log(len(group.continuations))
            likelihoods = tuple(
                Likelihood(tuple(-((7 * t + sum(group.context)) % 13) / 3 for t in ids), self._greedy())
                if self._trouble not in LOGPROBS
                else Likelihood(LOGPROBS[self._trouble], False)
                for ids in group.continuations
            )
            yield likelihoods[:1] if self._trouble == "short" else likelihoods

    def generate(self, prompts, settings, decode):
        for prompt in prompts:
            for _ in range(40 if self._trouble in ("thinks", "broods") else 0):
                time.sleep(self._pace or 0.1)
                if self._trouble == "thinks":
                    decode(prompt.ids)
            self._log(1)
            plain = Completion(f"#### {sum(prompt.ids) % 7}", prompt.ids[:1], "length")
            yield COMPLETIONS.get(self._trouble, plain)

    def _greedy(self):
        return "yes" if self._trouble == "greedy" else False

    def _log(self, count):
        if "TOY_LOG" in os.environ:
            with Path(os.environ["TOY_LOG"]).open("a") as log:
                log.write(f"{count}\\n")

    def _misbehave(self):
        if self._trouble == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._trouble == "exit":
            print("last words on stdout")
            os._exit(7)
        if self._trouble == "hang":
            time.sleep(3600)
        if self._trouble == "error":
            raise ValueError("one line\\nanother")


@hookimpl
def slmeval_register_backends():
    return [ToyBackend]
'''

TASK = '''
"""A task whose rows are bundled nowhere."""
from slmeval import hookimpl
from slmeval.tasks import MultipleChoice
from slmeval.types import DatasetSpec


@hookimpl
def slmeval_register_tasks():
    return [
        MultipleChoice(
            name="toy_task",
            version="1",
            dataset=DatasetSpec("toy_rows", "test", ("question",)),
            prompt=lambda row: row["question"],
            choices=lambda row: ["a", "b"],
            gold=lambda row: 0,
        )
    ]
'''


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str = MODULE,
    name: str = "toyplugin",
    point: str | None = None,
) -> None:
    """Install a plugin of that text under the entry point ``point``, for this process and its children."""
    (folder / f"{name}.py").write_text(textwrap.dedent(module))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[slmeval]\n{point or name} = {name}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *([before] if before else [])]))
