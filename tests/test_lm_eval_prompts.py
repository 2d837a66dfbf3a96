"""Our tasks ask what lm-evaluation-harness asks, byte for byte, and read answers as it does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval_tasks import LocalTask, lm_eval_task, requests, run_lm_eval, tiny_llama

from slmeval.builtin.filters import Regex
from slmeval.builtin.metrics import Accuracy, ExactMatch
from slmeval.datasets import open_folder
from slmeval.shots import lm_eval_shots
from slmeval.tasks import FreeText, MultipleChoice
from slmeval.types import Answer, Completion, Generate, Likelihood, Sample, Score
from slmeval_commonsense import ARC_CHALLENGE, ARC_EASY, HELLASWAG, PIQA
from slmeval_math import GSM8K

SHARED = Path(__file__).parents[1].parent / "shared"
DATA, TOKENIZER = SHARED / "data", SHARED / "tokenizers" / "smollm2-135m-instruct"
CHOICE_TASKS = {task.name: task for task in (ARC_EASY, ARC_CHALLENGE, HELLASWAG, PIQA)}
TASKS = {**CHOICE_TASKS, "gsm8k": GSM8K}
SEED = 1234

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="the real rows of ../shared/data are not here"),
]


def our_samples(task: MultipleChoice | FreeText, shots: int, limit: int | None = None) -> list[Sample]:
    source = open_folder(DATA)
    rows = source.load(task.dataset, task.dataset.evaluation).rows[:limit]
    pool = source.load(task.dataset, task.dataset.shots).rows
    drawn = lm_eval_shots(pool, rows, shots, SEED, task.lm_eval_same_split)
    return [task.sample(row, examples) for row, examples in zip(rows, drawn, strict=True)]


# ---- what is asked ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOICE_TASKS)
def test_fewer_rows_are_asked_with_the_same_shots_as_lm_eval_shows_under_its_limit(name: str) -> None:
    asked = requests(lm_eval_task(name, DATA, 3), limit=7)
    ours = our_samples(TASKS[name], 3, limit=7)
    assert [[*sample.requests] for sample in ours] == [[Score(*one.args) for one in row] for row in asked]


def test_every_prompt_and_limit_of_gsm8k_is_that_of_lm_eval() -> None:
    theirs = lm_eval_task("gsm8k", DATA, GSM8K.shots)
    asked = requests(theirs)
    ours = our_samples(GSM8K, GSM8K.shots)
    assert len(ours) == len(asked) == 300
    for sample, (instance,) in zip(ours, asked, strict=True):
        prompt, settings = instance.args
        # without max_gen_toks lm-eval writes 256 tokens (lm_eval/defaults.py)
        assert settings == {"until": list(GSM8K.stop), "do_sample": False, "temperature": 0.0}
        assert sample.requests == (Generate(prompt, 256, tuple(settings["until"])),)
        assert sample.target == theirs.doc_to_target(instance.doc)


@pytest.mark.parametrize("name", TASKS)
def test_a_question_with_copies_in_the_pool_is_shown_the_shots_that_lm_eval_shows(
    name: str, tmp_path: Path
) -> None:
    task = TASKS[name]
    row = json.loads((DATA / name / f"{task.dataset.evaluation}.jsonl").read_text().split("\n")[0])
    other = json.loads((DATA / name / f"{task.dataset.evaluation}.jsonl").read_text().split("\n")[1])
    folder = tmp_path / name
    folder.mkdir()
    (folder / f"{task.dataset.evaluation}.jsonl").write_text(f"{json.dumps(row)}\n" * 20)
    (folder / "train.jsonl").write_text(f"{json.dumps(row)}\n" * 4 + f"{json.dumps(other)}\n" * 4)
    asked = requests(lm_eval_task(name, tmp_path, 3))
    source = open_folder(tmp_path)
    rows = source.load(task.dataset, task.dataset.evaluation).rows
    pool = source.load(task.dataset, "train").rows
    drawn = lm_eval_shots(pool, rows, 3, SEED, task.lm_eval_same_split)
    for examples, question, instances in zip(drawn, rows, asked, strict=True):
        first = task.sample(question, examples).requests[0]
        context = first.context if isinstance(first, Score) else first.prompt
        assert context == instances[0].args[0]


# ---- how texts are read ----------------------------------------------------------------------------

NASTY = [
    "",
    " ",
    "\n",
    "no number at all",
    "#### 16",
    " She has 3 + 4 = <<3+4=7>>7 apples.\n#### 7",
    "#### 1,000",
    "#### 1,000,000.",
    "#### 16.",
    "#### 16..",
    "#### 16.50",
    "#### -16",
    "#### --16",
    "#### - 16",
    "#### $16",
    "#### $ 16",
    "#### 16$",
    "####16",
    "###  16",
    "####  16",
    "#### \n16",
    "#### sixteen",
    "#### ,",
    "#### .",
    "#### -",
    "#### 16 #### 17",
    "#### 16\n#### 17\n",
    "first #### 16, then 18",
    "The answer is 16",
    "The answer is 16.",
    "The answer is $16.",
    "The answer is $16.00.",
    "The answer is -$16",
    "The answer is $-16",
    "The answer is 1,600,",
    "The answer is 1.600.000",
    "16",
    "6",
    "-6",
    "$6",
    "$",
    "$$",
    "...",
    "wait...",
    "16 ... ",
    ",,,,",
    "16 or 17",
    "17 or 16",
    "16 of 100%",
    "3.14.15",
    "0016",
    "+16",
    "1e3",
    "16\u00a0000",
    "\u0661\u0666",
    "#### \u0661\u0666",
    "#### \uff11\uff16",
    "½ 16",
    "16\u2028#### 17",
    "\\boxed{16}",
    "**16**",
    "[invalid]",
    "#### 16 [invalid]",
    "Question: 16",
    "ÄÖ SS ß 16",
    "16\x00",
]
ANSWERS = [
    "it is\n#### 16",
    "#### 1,000",
    "so <<1+1=2>>2\n#### -16",
    "no mark 6",
    "#### $16.00",
    "#### 1000000",
]


def lm_eval_reads(task: LocalTask, doc: dict[str, Any], text: str) -> dict[str, tuple[str, float]]:
    """By filter, what lm-eval finds in the text, and its score."""
    instance = Instance("generate_until", doc, ("", {}), 0, ("gsm8k", 0, 1), resps=[text])
    task._instances = [instance]
    task.apply_filters()
    return {
        label: (found, task.process_results(doc, [found])["exact_match"])
        for label, found in instance.filtered_resps.items()
    }


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_both_extractions_and_the_match_of_gsm8k_are_those_of_lm_eval(text: str, gsm8k: LocalTask) -> None:
    (metric,) = (ExactMatch(**use.settings) for use in GSM8K.metrics)
    # ours beside theirs is another filter
    filters = [use for use in GSM8K.filters if use.label != "robust"]
    for target in ANSWERS:
        theirs = lm_eval_reads(gsm8k, {"question": "", "answer": target}, text)
        assert list(theirs) == [use.label for use in filters]
        for use in filters:
            found = Regex(**use.settings).find(text)
            answer = Answer(Sample((Generate(""),), target), (Completion(text, (), "end"),), found)
            # lm-eval's words for "no answer found"
            assert ("[invalid]" if found is None else found, metric.score(answer)) == theirs[use.label]


@pytest.fixture(scope="module")
def gsm8k() -> LocalTask:
    return lm_eval_task("gsm8k", DATA)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ignore_case": True},
        {"ignore_punctuation": True},
        {"ignore_case": True, "ignore_punctuation": True, "regexes_to_ignore": ["x+", "^a"]},
    ],
)
def test_exact_match_is_that_of_lm_eval_under_all_its_settings(settings: dict[str, Any]) -> None:
    from lm_eval.api.metrics import exact_match_hf_evaluate

    texts = ["", "a", "A", "a.", "a b", "ab", "xab", "b", "B!", "Ä", "ä", "ß", "SS", "a\u2026", " a"]
    for found in texts:
        for target in texts:
            theirs = exact_match_hf_evaluate(predictions=[found], references=[target], **settings)
            ours = ExactMatch(**settings).score(Answer(Sample((), target), (), found))
            assert ours == theirs["exact_match"]


# ---- a whole evaluation ----------------------------------------------------------------------------


@pytest.mark.skipif(not TOKENIZER.is_dir(), reason="the tokenizer of ../shared/tokenizers is not here")
def test_lm_eval_evaluates_a_model_from_a_folder_and_its_figures_follow_from_its_likelihoods(
    tmp_path: Path,
) -> None:
    model = tiny_llama(tmp_path / "model", TOKENIZER)
    outcome = run_lm_eval(model, ["piqa", "gsm8k"], DATA, shots=1, limit=4, batch_size=4, max_tokens=4)
    samples = our_samples(PIQA, 1, limit=4)
    scores = []
    for sample, logged in zip(samples, outcome["piqa"]["samples"], strict=True):
        assert sample.requests == tuple(Score(*arguments) for arguments in logged["arguments"])
        assert all(logprob < 0 for logprob, _ in logged["replies"])
        replies = tuple(Likelihood((logprob,), greedy) for logprob, greedy in logged["replies"])
        scores.append(Accuracy().score(Answer(sample, replies)))
        assert logged["metrics"]["acc"] == scores[-1]
    figure, results = Accuracy().total("acc", scores, [1.0] * len(scores)), outcome["piqa"]["results"]
    assert results["acc,none"] == figure.value
    assert math.isclose(results["acc_stderr,none"], figure.stderr)
    assert [logged["filter"] for logged in outcome["gsm8k"]["samples"]] == [
        label for label in ("strict-match", "flexible-extract") for _ in range(4)
    ]
    assert all(isinstance(text, str) for logged in outcome["gsm8k"]["samples"] for text in logged["replies"])
