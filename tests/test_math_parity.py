"""What is found in hard texts, and whether it counts, against lm-evaluation-harness's own mathematics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
pytest.importorskip("math_verify", reason="slmeval[math] is not installed")

from hard_answers import HANGING, NUMBERS, SOLUTIONS
from lm_eval.api.instance import Instance
from lm_eval.tasks.minerva_math import utils as minerva_math
from lm_eval_tasks import LocalTask, lm_eval_task, requests
from written_rows import write_rows

from slmeval.datasets import open_folder
from slmeval.questions import Draft, draft
from slmeval.registry import load
from slmeval.types import Answer, Completion, Generate, RunOptions, Sample
from slmeval_math.boxed import boxed
from slmeval_math.final_answer import final_answer
from slmeval_math.judge import JUDGE, LIMITS
from slmeval_math.normal_form import normal_form

PARTS = load().parts
GENERATED = ("gsm8k", "gsm8k_cot", "asdiv_cot_llama", "minerva_math_algebra", "minerva_math500")
TEXTS = (*NUMBERS, *SOLUTIONS)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_rows(tmp_path_factory.mktemp("rows"))
    (folder / "gsm8k").mkdir()
    golds = ("12", "1,234", "-7", "0.5", "5", "45", "24", "8")
    lines = [f'{{"question": "What is {gold}?", "answer": "It is {gold}.\\n#### {gold}"}}' for gold in golds]
    for split in ("test", "train"):
        (folder / "gsm8k" / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True, scope="module")
def _judges() -> Iterator[None]:
    """Ours is waited for, and theirs has read its grammar before its five seconds begin; no process stays."""
    from sympy.parsing.latex import parse_latex

    parse_latex("1")
    with pytest.MonkeyPatch.context() as patch:
        for how in LIMITS:
            patch.setitem(LIMITS, how, 120.0)
        yield
    JUDGE.close()


def ours(name: str, rows: Path) -> Draft:
    return draft(RunOptions(compat="lm-eval"), PARTS.tasks[name], 0, PARTS, open_folder(rows))


def answered(sample: Sample, text: str, found: str | None = None) -> Answer:
    return Answer(sample, (Completion(text, (), "end"),), found)


@pytest.mark.parametrize("name", GENERATED)
def test_stop_strings_and_token_caps_are_those_of_lm_eval(name: str, rows: Path) -> None:
    theirs = requests(lm_eval_task(name, rows))[0][0].args[1]
    for sample in ours(name, rows).samples:
        (request,) = sample.requests
        assert isinstance(request, Generate)
        assert list(request.stop) == theirs["until"]
        # where the definition names none, lm-eval's engines write up to 256 tokens
        assert request.max_tokens == theirs.get("max_gen_toks", 256)
        assert not theirs["do_sample"]


def filtered(task: LocalTask, doc: dict[str, Any], text: str) -> dict[str, str]:
    instance = Instance("generate_until", doc, ("", {}), 0, (task.config.task, 0, 1), resps=[text])
    task._instances = [instance]
    task.apply_filters()
    return dict(instance.filtered_resps)


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k_cot", "asdiv_cot_llama"])
def test_extractions_and_scores_are_those_of_lm_eval(name: str, rows: Path) -> None:
    task, made = lm_eval_task(name, rows), ours(name, rows)
    scorer = made.scorer
    (metric,) = (metric for _, metric in scorer.metrics)
    docs = [instances[0].doc for instances in requests(task)]
    phrases = ("#### {}", "The answer is {}.", "The final answer is {}", "{}")
    finds: set[tuple[str | None, str]] = set()
    for text in (phrase.replace("{}", text) for text in TEXTS for phrase in phrases):
        theirs = filtered(task, docs[0], text)
        for label in theirs:
            found = dict(scorer.filters)[label].find(text)
            assert ("[invalid]" if found is None else found) == theirs[label]
            finds.add((found, theirs[label]))
    seen = set()
    for found, told in finds:
        for sample, doc in zip(made.samples, docs, strict=True):
            score = metric.score(answered(sample, "", found))
            assert score == task.process_results(doc, [told])["exact_match"], (told, doc)
            seen.add(score)
    assert seen == {0.0, 1.0}


def test_every_figure_of_minerva_math_is_that_of_lm_eval(rows: Path) -> None:
    """Each right answer against each text, so that some are right in either way."""
    name = "minerva_math_algebra"
    task, made = lm_eval_task(name, rows), ours(name, rows)
    metrics = dict(made.scorer.metrics)
    docs = [instances[0].doc for instances in requests(task)]
    right = {"exact_match": 0, "math_verify": 0}
    for sample, doc in zip(made.samples, docs, strict=True):
        for text in (*SOLUTIONS, str(sample.target), f"{_SAYS} ${doc['answer']}$. I hope it is correct."):
            theirs = task.process_results(doc, [text])
            for label in right:
                score = metrics[label].score(answered(sample, text))
                assert score == theirs[label], (label, text, doc["answer"])
                right[label] += int(score)
    assert right["exact_match"] > len(docs)
    assert right["math_verify"] > len(docs)


_SAYS = "Final Answer: The final answer is"


@pytest.mark.parametrize(
    ("right", "given", "same"),
    [
        ("\\frac{1}{2}", "0.5", True),
        ("x^2+2x+1", "(x+1)^2", True),
        ("2\\sqrt{2}", "\\sqrt{8}", True),
        ("-\\frac{\\pi}{6}", "-\\pi/6", True),
        ("[2,5)", "[2,5)", True),
        ("[2,5)", "(2,5)", False),
        ("(0,1)", "(0,1)", True),
        ("(0,1)", "(1,0)", False),
        ("1,2,3", "3,2,1", False),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", True),
        ("7", "7.0", True),
        ("7", "seven", False),
        ("7", "", False),
        ("7", "\\frac{14}{2", False),
        ("\\text{even}", "even", True),
        ("\\infty", "\\infty", True),
        ("i", "\\sqrt{-1}", False),
        ("10", "10\\%", False),
    ],
)
def test_answers_are_equal_where_lm_eval_finds_them_equal(right: str, given: str, same: bool) -> None:
    sample = Sample((Generate(""),), f"$\\boxed{{{right}}}$")
    text = f"{_SAYS} ${given}$. I hope it is correct."
    metric = PARTS.metrics["final_answer_match"]()
    doc = {"problem": "", "solution": sample.target, "answer": minerva_math.normalize_final_answer(right)}
    theirs = minerva_math.process_results(doc, [text])["exact_match"]
    assert metric.score(answered(sample, text)) == theirs == same


def test_an_expression_that_hangs_is_wrong_there_and_here(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "equal", 5.0)
    sample, text = Sample((Generate(""),), "$\\boxed{5}$"), f"{_SAYS} ${HANGING[1]}$. I hope it is correct."
    doc = {"problem": "", "solution": sample.target, "answer": "5"}
    theirs = minerva_math.is_equiv(HANGING[1], doc["answer"])
    metric = PARTS.metrics["final_answer_match"]()
    assert metric.score(answered(sample, text)) == theirs == 0
    figure = metric.total("exact_match", [0.0], [1.0])
    assert figure.note == "answers not compared within 5 s: 1"


# ---- the normal form, on texts made of what could matter --------------------------------------------------

# fmt: off
PIECES = st.lists(
    st.sampled_from((
        "=", "an ", "a ", " ", ".$", "\\$", "\\ ", "$", "\\mbox{", "\\text{", "\\text{and}", "\\text{m}", "}",
        "{", "square", "ways", "ft", "\\left", "\\right", "km", " cm", "\\picm", "degrees", "^\\circ", "\n",
        "^{\\circ}", "\\;", ",\\!", "{,}", '"', "\\dots", "\\ldots", "\\frac", "\\sqrt", "\\sqrt[3]", "1",
        "2", "b", "x", "12,345", "0,1", "-", ",", "(", "]", "\\textbf{", "\\overline{", "\\boxed{",
        "\\fbox{", "\\boxed ", " units", "sue", "\\mathrm{th}", "^2", "^3", "é", "\\text{s}", "\\text{.}",
        "hours", "I hope it is correct.", ". ", "Final Answer: The final answer is",
    )),
    max_size=12,
).map("".join)
# fmt: on


@settings(max_examples=1500, deadline=None)
@given(PIECES | st.text(max_size=30))
def test_normal_forms_sentences_and_boxes_are_those_of_lm_eval(text: str) -> None:
    assert normal_form(text) == minerva_math.normalize_final_answer(text)
    theirs = minerva_math.get_unnormalized_answer(text)
    expected = None if theirs == "[invalidanswer]" else minerva_math.normalize_final_answer(theirs)
    assert final_answer(text) == expected
    assert boxed(text) == lm_evals_box(text)


def lm_evals_box(text: str) -> str | None:
    try:
        return minerva_math.remove_boxed(minerva_math.last_boxed_only_string(text))
    except (AssertionError, TypeError):  # it ends the run over such a row
        return None


# ---- a whole evaluation ----------------------------------------------------------------------------------


def test_a_whole_run_has_the_figures_of_lm_eval(demo_model: Path, rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the Hugging Face engine is not installed")
    from lm_eval_tasks import run_lm_eval

    from slmeval.testing import evaluate
    from slmeval.testing.answers import answers

    names = ("gsm8k_cot", "minerva_math500")
    theirs = run_lm_eval(demo_model, names, rows, shots=0, limit=2)
    store = tmp_path / "store.db"
    options = RunOptions(
        **{
            "backends": ("hf",),
            "models": (str(demo_model),),
            "tasks": names,
            "data": str(rows),
            "shots": (0,),
        },
        **{"limit": 2, "dtype": "float32", "compat": "lm-eval"},
    )
    result = evaluate(options, store)
    assert result.status == "done", result.failures
    for number, cell in enumerate(result.cells):
        found, figures = answers(store, result.id, number), {each.name: each for each in cell.figures}
        for sample in theirs[cell.name]["samples"]:
            (reply,) = found[sample["row"]]
            assert isinstance(reply, Completion)
            assert reply.text == sample["replies"][0]
        values = {key: value for key, value in theirs[cell.name]["results"].items() if "_stderr" not in key}
        compared = {key.replace(",none", "").replace(",", "/"): value for key, value in values.items()}
        assert {name: figures[name].value for name in compared if name in figures} == {
            name: value for name, value in compared.items() if name in figures
        }
        assert len(compared.keys() & figures.keys()) == 2
