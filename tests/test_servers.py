"""Models behind servers, as the core sees them: an address, no files, and what this model has not got."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import toys

from slmeval.models import UNTOLD, form_of, parse_model, served_model
from slmeval.tokenizing import TEXT_ORIGIN, text_tokenizer
from slmeval.types import ModelRef, Served

SERVED = (
    toys.MODULE.replace(
        '    name = "toy"\n',
        """    name = "toy"
    forms = ("server",)

    @classmethod
    def look_up(cls, model):
        if "nobody" in model.location:
            raise ModelMissing(f"nothing answers at {model.location}")
        return Served(f"{model.location}#org/small", None, "first")

    def lacking(self):
        return {} if self._trouble == "whole" else {"score": "this server tells no likelihoods"}
""",
    )
    .replace("import Completion", "import Served, Completion")
    .replace(
        "from slmeval import hookimpl\n",
        "from slmeval import hookimpl\nfrom slmeval.errors import ModelMissing\n",
        1,
    )
)
SERVED = SERVED.replace(
    "        for prompt in prompts:\n",
    """        for prompt in prompts:
            if self._trouble == "short" and len(prompt.ids) > 500:
                raise Unanswerable("the server has no room for it")
""",
    1,
).replace("import ModelMissing", "import ModelMissing, Unanswerable")
ADDRESS = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy that opens servers alone."""
    (tmp_path / "plugin").mkdir()
    toys.install(tmp_path / "plugin", monkeypatch, SERVED)
    monkeypatch.setenv("SLMEVAL_STORE", str(tmp_path / "store.db"))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "asked"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slmeval", "run", "--format", "json", *arguments]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)


def few(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("--backend", "toy", "--model", ADDRESS, "--sample", "--limit", "3", *arguments)


@pytest.mark.parametrize("text", ["é\n\t", "", "日本語 🙂", "</s><s> \\ \0", "A  b\r\n"])
def test_text_goes_to_a_server_byte_for_byte(text: str) -> None:
    tokenizer = text_tokenizer()
    ids = tokenizer.encode(text)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
    assert tokenizer.origin == TEXT_ORIGIN


@pytest.mark.parametrize(
    "text", ["http://host/v1", "https://host:8000/v1#org/name@2", "HTTP://[::1]:8000/v1#m:4b"]
)
def test_an_address_is_taken_whole(text: str) -> None:
    assert parse_model(text) == ModelRef(text)
    assert form_of(parse_model(text)) == "server"


def test_another_address_or_edition_is_another_model() -> None:
    ref = ModelRef(ADDRESS)
    served = [Served(f"{ADDRESS}#a"), Served(f"{ADDRESS}#b"), Served(f"{ADDRESS}#a", None, "2")]
    found = [served_model(ref, each) for each in served]
    assert len({each.sha256 for each in found}) == 3
    assert found[0].local == ModelRef(f"{ADDRESS}#a")
    # what is opened must be what was planned
    assert found[2].local == ModelRef(f"{ADDRESS}#a", "2")
    assert found[0].context == UNTOLD


def test_what_a_model_lacks_fails_alone() -> None:
    done = few("--tasks", "arc,gsm8k")
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert [cell["name"] for cell in report["cells"]] == ["gsm8k"]
    (failure,) = report["failures"]
    assert failure["reason"] == "arc_easy@0, arc_challenge@0: this server tells no likelihoods"
    (model,) = report["models"]
    assert (model["label"], model["tokenizer"]) == ("small", TEXT_ORIGIN)
    assert "Traceback" not in done.stderr


def test_a_group_of_which_nothing_can_be_asked_has_no_figures(shared_data: Path) -> None:
    done = run(
        *("--backend", "toy", "--model", ADDRESS, "--data", str(shared_data), "--limit", "2"),
        *("--tasks", "mmlu_stem", "--shots", "0"),
    )
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert report["cells"] == []
    assert len(report["failures"]) == 1


def test_a_run_goes_on_where_the_model_lacks_nothing_more(tmp_path: Path) -> None:
    assert few("--tasks", "arc_easy,gsm8k").returncode == 3
    before = sum(map(int, (tmp_path / "asked").read_text().split()))
    assert before == 3
    assert run("--resume").returncode == 3
    # what was answered is not asked again
    assert sum(map(int, (tmp_path / "asked").read_text().split())) == before


def test_with_a_tokenizer_it_is_asked_tokens(demo_model: Path) -> None:
    done = few("--tasks", "piqa", "-o", "trouble=whole", "--tokenizer", str(demo_model))
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert model["tokenizer"] == "--tokenizer"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--backend", "toy", "--model", "http://nobody/v1"), "nothing answers at http://nobody/v1"),
        (("--backend", "toy", "--model", "http://[::nobody"), "nothing answers at http://[::nobody"),
        (("--backend", "toy"), "'toy' opens servers (http://HOST:PORT/v1#NAME): name one with --model"),
        (("--backend", "toy", "--model", "org/name"), "and org/name is none of these"),
        (("--backend", "reference", "--model", ADDRESS), f"and {ADDRESS} is none of these"),
    ],
)
def test_a_wrong_pair_is_a_wrong_command(arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments, "--sample", "--tasks", "piqa")
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_model_or_a_backend_no_server_is_taken() -> None:
    done = run("--tasks", "piqa", "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["backend"] != "toy"


def test_what_the_server_refuses_fails_its_own_cell() -> None:
    done = few("--tasks", "gsm8k", "--shots", "5,0", "-o", "trouble=short")
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert [(cell["name"], cell["shots"]) for cell in report["cells"]] == [("gsm8k", 0)]
    (failure,) = report["failures"]
    assert failure["reason"] == "gsm8k@5: the server has no room for it"


# ---- options of one engine -----------------------------------------------------------------------------


def test_an_option_may_be_meant_for_one_engine(demo_model: Path) -> None:
    done = run(
        *("--backend", "toy,reference", "--model", f"toy={ADDRESS}", "--model", f"reference={demo_model}"),
        *("--sample", "--tasks", "gsm8k", "--limit", "1", "-o", "toy.pace=0.5", "-o", "reference.threads=2"),
    )
    assert done.returncode == 0, done.stderr
    toy, reference = json.loads(done.stdout)["models"]
    assert reference["options"]["threads"] == 2
    assert not [note for note in (*toy["notes"], *reference["notes"]) if "no option" in note]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("tooy.pace=1", "unknown backend or probe of this run 'tooy': did you mean 'toy'?"),
        ("toy.pase=1", "unknown option of 'toy' 'pase': did you mean 'pace'?"),
        ("toy.pace=x", "-o pace=x (backend 'toy')"),
    ],
)
def test_a_wrong_option_of_one_engine(option: str, told: str) -> None:
    done = few("--tasks", "gsm8k", "-o", option)
    assert done.returncode == 2
    assert told in done.stderr
