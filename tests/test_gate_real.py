"""Gates over real models: what is as good as before passes, what got worse fails, another thing is refused.

The demo model and its 64 bundled rows of each task, in llama.cpp; nothing here is made up but the rules.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import example_runs as examples
import pytest
from chat_templates import PLAIN, with_template
from conftest import ROOT

from slmeval import document
from slmeval.baselines import baseline_of, to_json, write_baseline
from slmeval.cli import run as slmeval
from slmeval.errors import ExitCode
from slmeval.gguf_file import read_gguf
from slmeval.types import Figure, ItemScores, Outcomes, RunResult

DEMO = ROOT / "slmeval" / "demo"
TASKS = "arc_easy,arc_challenge,piqa"
#: as wide as 64 items need (docs/gates.md)
RULES = """
rules = [
    "*/acc >= baseline - 10pt",
    "*/margin >= baseline - 0.25 nats",
    "*/bits_per_byte <= 1.10 * baseline",
]
"""
#: all three rules of all three tasks
PASSED = {"pass": 9}


@dataclass(frozen=True)
class Trials:
    """Where all trials of this module lie; each is measured anew, with a store of its own."""

    folder: Path

    def run(self, name: str, *arguments: str, tasks: str = TASKS) -> Path:
        """The folder of a run; its store is ``store.db``."""
        place = self.folder / name
        place.mkdir()
        told = ["run", "--sample", "--tasks", tasks, *arguments, "--store", str(place / "store.db")]
        assert slmeval([*told, "--output", str(place / "run.json")]) == ExitCode.DONE
        return place

    def gate(self, place: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit code of a gate, and what it found; where it found nothing, nothing."""
        found = place / "gate.json"
        found.unlink(missing_ok=True)
        told = ["gate", "last", *arguments, "--store", str(place / "store.db"), "--output", str(found)]
        code = slmeval(told)
        return code, json.loads(found.read_text()) if found.exists() else {}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(tmp_path_factory.mktemp("trials"))


@pytest.fixture(scope="module")
def rules(trials: Trials) -> Path:
    path = trials.folder / "gates.toml"
    path.write_text(RULES)
    return path


@pytest.fixture(scope="module")
def baseline(trials: Trials) -> Path:
    """The demo model in float32, as the baseline."""
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")
    place = trials.run("float32", "--backend", "llamacpp", "-o", "dtype=float32")
    file = trials.folder / "main.json"
    store = str(place / "store.db")
    assert slmeval(["gate", "last", "--baseline", str(file), "--update-baseline", "--store", store]) == 0
    return file


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    from slmeval_llamacpp.quantize import quantize

    folder = tmp_path_factory.mktemp("forms")

    def make(form: str) -> Path:
        quantize(DEMO / "model.gguf", folder / f"{form}.gguf", form)
        return folder / f"{form}.gguf"

    return make


def shuffled(source: Path, target: Path, name: str) -> Path:
    """A copy of a GGUF file with the numbers of one float16 matrix in another order."""
    shutil.copy(source, target)
    (tensor,) = (each for each in read_gguf(source).tensors if each.name == name)
    assert tensor.kind == "F16"
    data = bytearray(target.read_bytes())
    part = slice(tensor.offset, tensor.offset + tensor.bytes)
    numbers = [bytes(data[at : at + 2]) for at in range(part.start, part.stop, 2)]
    random.Random(1).shuffle(numbers)
    data[part] = b"".join(numbers)
    target.write_bytes(data)
    return target


def answers(found: dict[str, Any]) -> Counter[str]:
    return Counter(each["answer"] for each in found["judged"])


# ---- as good as before -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_float32_passes_against_itself(trials: Trials, baseline: Path, rules: Path) -> None:
    place = trials.run("again", "--backend", "llamacpp", "-o", "dtype=float32")
    code, found = trials.gate(place, "--baseline", str(baseline), "--rules", str(rules))
    assert (code, answers(found)) == (ExitCode.DONE, PASSED)
    # without any tolerance too: it is the same
    rule = ("--rule", "*/acc >= baseline", "--rule", "*/margin >= baseline")
    code, found = trials.gate(place, "--baseline", str(baseline), *rule)
    assert code == ExitCode.DONE
    assert all("all 64 items have the same score" in each["sentence"] for each in found["judged"])


@pytest.mark.slow
def test_another_engine_in_float32_passes(trials: Trials, baseline: Path, rules: Path) -> None:
    place = trials.run("reference", "--backend", "reference")
    code, found = trials.gate(place, "--baseline", str(baseline), "--rules", str(rules))
    assert (code, answers(found)) == (ExitCode.DONE, PASSED)


@pytest.mark.slow
def test_float16_passes(trials: Trials, baseline: Path, rules: Path) -> None:
    place = trials.run("float16", "--backend", "llamacpp")
    code, found = trials.gate(place, "--baseline", str(baseline), "--rules", str(rules))
    assert (code, answers(found)) == (ExitCode.DONE, PASSED)


@pytest.mark.slow
def test_8_bits_pass(trials: Trials, baseline: Path, rules: Path, quantized: Callable[[str], Path]) -> None:
    place = trials.run("q8", "--backend", "llamacpp", "--model", str(quantized("Q8_0")))
    code, found = trials.gate(place, "--baseline", str(baseline), "--rules", str(rules))
    assert (code, answers(found)) == (ExitCode.DONE, PASSED)


# ---- worse -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_2_bits_fail(trials: Trials, baseline: Path, rules: Path, quantized: Callable[[str], Path]) -> None:
    place = trials.run("q2", "--backend", "llamacpp", "--model", str(quantized("Q2_K")))
    code, found = trials.gate(place, "--baseline", str(baseline), "--rules", str(rules))
    assert code == ExitCode.GATE_FAILED
    failed = {(each["task"], each["figure"]) for each in found["judged"] if each["answer"] == "fail"}
    assert ("arc_easy", "margin") in failed
    # 64 items right or wrong do not show it: that is said, and is no pass
    code, found = trials.gate(place, "--baseline", str(baseline), "--rule", "*/acc >= baseline - 1pt")
    assert code == ExitCode.INCONCLUSIVE
    assert answers(found)["fail"] == 0


@pytest.mark.slow
def test_a_shuffled_matrix_fails(trials: Trials, baseline: Path, rules: Path) -> None:
    model = shuffled(DEMO / "model.gguf", trials.folder / "shuffled.gguf", "blk.1.ffn_down.weight")
    place = trials.run("shuffled", "--backend", "llamacpp", "--model", str(model))
    code, found = trials.gate(place, "--baseline", str(baseline), "--rules", str(rules))
    assert code == ExitCode.GATE_FAILED
    failed = {(each["task"], each["figure"]) for each in found["judged"] if each["answer"] == "fail"}
    assert {("arc_easy", "margin"), ("arc_challenge", "margin"), ("piqa", "margin")} <= failed
    # here right and wrong tell it too
    code, found = trials.gate(
        place, "--baseline", str(baseline), "--rule", "arc_challenge/acc >= baseline - 5pt"
    )
    assert code == ExitCode.GATE_FAILED


# ---- something else --------------------------------------------------------------------------------------

#: says the same in other words
OTHER = PLAIN.replace("<{{ message['role'] }}>", "[{{ message['role'] }}] ")


@pytest.mark.slow
def test_another_prompt_template_is_refused(trials: Trials, capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--backend", "reference", "--limit", "6")
    plain = trials.run("plain", *few, tasks="arc_easy")
    chats = []
    for name, template in (("one", PLAIN), ("other", OTHER)):
        model = with_template(DEMO / "model", trials.folder / f"model-{name}", template)
        chats.append(trials.run(name, *few, "--model", str(model), "--chat-template", "on", tasks="arc_easy"))
    file, rule = trials.folder / "chat.json", ("--rule", "arc_easy/acc >= baseline - 50pt")
    store = str(chats[0] / "store.db")
    assert slmeval(["gate", "last", "--baseline", str(file), "--update-baseline", "--store", store]) == 0
    capsys.readouterr()

    code, found = trials.gate(plain, "--baseline", str(file), *rule)
    assert (code, found) == (ExitCode.USAGE, {})
    assert "chat template: on and off" in capsys.readouterr().err
    code, found = trials.gate(chats[1], "--baseline", str(file), *rule)
    assert (code, found) == (ExitCode.USAGE, {})
    assert "text of the chat template: " in capsys.readouterr().err
    # who asks for it gets it, and is told
    code, found = trials.gate(chats[1], "--baseline", str(file), *rule, "--shared")
    assert found["judged"][0]["task"] == "arc_easy"
    assert any("template" in note for note in found["notes"])


# ---- bad input -------------------------------------------------------------------------------------------

ITEMS = tuple(f"{number:012x}" for number in range(40))
ACC = tuple(float(number % 3 == 0) for number in range(40))


def made(items: tuple[str, ...] = ITEMS, **changes: object) -> RunResult:
    """A run of 40 items."""
    columns = {"acc": ItemScores(ACC)}
    figures = (examples.accuracy("acc", sum(ACC) / 40, 40), examples.accuracy("acc_norm", 0.5, 40))
    cell = examples.cell(n=40, figures=figures, outcomes=Outcomes(items, columns), counts={})
    return examples.run(cells=(replace(cell, **changes),))  # type: ignore[arg-type]


@pytest.fixture
def held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """The exit code of a gate over such a run, and what it complains of."""

    def gate(run: RunResult, *arguments: str) -> tuple[int, str]:
        path = tmp_path / "run.json"
        path.write_text(document.to_json(run))
        code = slmeval(["gate", str(path), *arguments, "--store", str(tmp_path / "store.db")])
        return code, capsys.readouterr().err

    return gate


TEXT = to_json(baseline_of(made()))
RULE = ("--rule", "arc_easy/acc >= baseline - 1pt")


def test_what_is_made_here_passes_as_it_is(tmp_path: Path, held: Callable[..., tuple[int, str]]) -> None:
    write_baseline(baseline_of(made()), tmp_path / "main.json")
    assert held(made(), "--baseline", str(tmp_path / "main.json"), *RULE) == (ExitCode.DONE, "")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        (TEXT[: len(TEXT) // 2], "it is not all there"),
        (TEXT.replace("slmeval.baseline/1", "slmeval.suite/1"), "its schema is 'slmeval.suite"),
        (TEXT.replace("slmeval.baseline/1", "slmeval.baseline/2"), "upgrade slmeval"),
        (
            TEXT.replace('"value": 0.35', '"value": NaN'),
            "acc].value is nan|value is nan, not a finite number",
        ),
        (TEXT.replace('"value": 0.35', '"value": 0.05'), "acc is 0.05, and its items come to another one"),
        (TEXT.replace('"bits": "', '"bits": "AAAA'), "acc: it holds"),
    ],
)
def test_a_baseline_that_is_none_is_told_in_one_sentence(
    tmp_path: Path, held: Callable[..., tuple[int, str]], content: str, sentence: str
) -> None:
    assert content != TEXT
    file = tmp_path / "main.json"
    file.write_text(content)
    code, told = held(made(), "--baseline", str(file), *RULE)
    assert code == ExitCode.USAGE
    assert "main.json" in told
    assert any(part in told for part in sentence.split("|"))
    assert told.count("\n") == 1


def test_a_baseline_of_other_items_is_refused_with_what_differs(
    tmp_path: Path, held: Callable[..., tuple[int, str]]
) -> None:
    others = tuple(f"{number:012x}" for number in range(20, 60))
    write_baseline(baseline_of(made(others)), tmp_path / "main.json")
    code, told = held(made(), "--baseline", str(tmp_path / "main.json"), *RULE)
    assert code == ExitCode.USAGE
    assert "items: 40 and 40, of which 20 are the same" in told


def test_no_baseline_where_a_rule_needs_one_is_told(held: Callable[..., tuple[int, str]]) -> None:
    code, told = held(made(), *RULE)
    assert code == ExitCode.USAGE
    assert "--baseline" in told or "baseline" in told


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("arc_easy/acc_nrom >= 0.1", "did you mean 'arc_easy/acc_norm'?"),
        ("arc_esay/acc >= 0.1", "did you mean 'arc_easy/acc'?"),
        ("arc_easy@5/acc >= 0.1", "did you mean 'arc_easy@0/acc'?"),
        ("arc_easy/acc >= 5 MiB", "'MiB' is no unit for acc"),
        ("arc_easy/acc >= nan", "'nan' is no limit"),
        ("arc_easy/acc", "there is no >=, <=, > or < in it"),
    ],
)
def test_a_rule_about_nothing_is_told_the_nearest_name(
    held: Callable[..., tuple[int, str]], rule: str, sentence: str
) -> None:
    code, told = held(made(), "--rule", rule)
    assert code == ExitCode.USAGE
    assert sentence in told
    assert told.count("\n") == 1


def test_a_figure_that_is_no_number_is_never_a_pass(
    tmp_path: Path, held: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Figure("acc", float("nan"), None, None, 40, "", higher_is_better=True)
    code, told = held(made(figures=(nothing,), outcomes=None), "--rule", "arc_easy/acc >= 0.1")
    assert (code, told) == (ExitCode.INCONCLUSIVE, "")
