"""Contamination signals: right by hand and by table, and they fire on a model that has seen the rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from slmeval.datasets import open_folder, open_sample
from slmeval.errors import DataError
from slmeval.testing import evaluate
from slmeval.types import Answer, Figure, Likelihood, Rolling, RunOptions, Sample
from slmeval_commonsense.arc import ARC_EASY
from slmeval_contamination.min_k import MinK, MinKGain, MinKTask
from slmeval_contamination.order import OrderGain, OrderP, OrderTask, shuffled
from slmeval_contamination.rewriting import PAIRS, rewritten
from slmeval_contamination.student import beyond, point
from slmeval_contamination.texts import texts_of

ORDER, MIN_K = OrderTask(ARC_EASY), MinKTask(ARC_EASY)


def likelihood(*logprobs: float) -> Likelihood:
    return Likelihood(logprobs, False)


def answer(*likelihoods: Likelihood) -> Answer:
    return Answer(Sample(tuple(Rolling("a") for _ in likelihoods), "a"), likelihoods)


# ---- Student's t -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probability", "freedom", "t"),
    # printed in any table of the distribution
    [(0.025, 1, 12.7062), (0.025, 7, 2.3646), (0.025, 49, 2.0096), (0.05, 10, 1.8125), (0.005, 30, 2.7500)],
)
def test_points_of_students_t_are_those_of_the_tables(probability: float, freedom: int, t: float) -> None:
    assert point(probability, freedom) == pytest.approx(t, abs=5e-5)
    assert beyond(t, freedom) == pytest.approx(probability, rel=1e-3)
    assert beyond(-t, freedom) == pytest.approx(1 - probability, rel=1e-3)
    assert beyond(0.0, freedom) == pytest.approx(0.5)


# ---- order -------------------------------------------------------------------------------------------


def test_shards_follow_the_file_and_orders_stay_the_same() -> None:
    source = open_sample()
    rows, own = ORDER.load(source, "test"), texts_of(ARC_EASY, source, "test")
    assert [text for row in rows.rows for text in row["texts"]] == list(own.texts)
    assert rows.place(2) == "arc_easy/test.jsonl, line 17"
    asked = [
        request.text for request in ORDER.sample(rows.rows[0], ()).requests if isinstance(request, Rolling)
    ]
    assert asked[0] == "\n\n".join(own.texts[:8])
    assert len(set(asked)) == 9
    assert {tuple(sorted(each.split("\n\n"))) for each in asked} == {tuple(sorted(own.texts[:8]))}
    assert shuffled("abcdefgh", 0) == tuple("bghcdfae")
    with pytest.raises(ValueError, match="no examples: --shots 0"):
        ORDER.sample(rows.rows[0], [rows.rows[1]])


def test_the_gain_of_an_order_is_that_over_the_mean_of_the_others() -> None:
    assert OrderGain().score(answer(likelihood(-1.0, -2.0), likelihood(-4.0), likelihood(-8.0))) == 3
    figure = OrderGain().total("order_gain", [1.0, 2.0, 3.0, 6.0], [1.0] * 4)
    assert figure.value == 3
    assert figure.stderr == pytest.approx(1.0801, abs=1e-4)
    # 3 degrees of freedom: 3.1824
    assert figure.ci95 == pytest.approx((3 - 3.1824 * 1.0801, 3 + 3.1824 * 1.0801), abs=1e-3)
    p = OrderP().total("order_p", [1.0, 2.0, 3.0, 6.0], [1.0] * 4)
    assert p.value == pytest.approx(beyond(3 / 1.080123, 3))
    assert OrderP().total("order_p", [0.0, 0.0], [1.0] * 2).source == "unavailable"


def test_too_few_rows_and_damaged_ones_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "arc_easy"
    folder.mkdir()
    good = {"question": "Who?", "choices": {"text": ["I", "You"], "label": ["A", "B"]}, "answerKey": "A"}
    (folder / "test.jsonl").write_text(f"{json.dumps(good)}\n" * 15)
    with pytest.raises(DataError, match="has 15 rows: an order shows in two shards of 8"):
        ORDER.load(open_folder(tmp_path), "test")
    (folder / "test.jsonl").write_text(f"{json.dumps(good)}\n" * 11 + json.dumps({**good, "answerKey": "C"}))
    for task in (ORDER, MIN_K):
        with pytest.raises(DataError, match=r"test.jsonl, line 12: not a row of arc_easy: answerKey 'C'"):
            task.load(open_folder(tmp_path), "test")


# ---- other words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("What is the color of coal?", "What's the colour of coal?"),
        ("Which of the following isn't wet?", "Which one of these is not wet?"),
        ("A lot of them start to sing.", "A lot of them begin to sing."),
        ("This island", "This island"),
        ("He does not", "He doesn't"),
        ("discolored", "discolored"),
    ],
)
def test_a_text_is_rewritten_by_whole_phrases(text: str, other: str) -> None:
    assert rewritten(text) == other
    assert rewritten(other) == text


def test_each_phrase_belongs_to_one_pair() -> None:
    phrases = [each for pair in PAIRS for each in pair]
    assert len(set(phrases)) == len(phrases)


def test_the_least_likely_fifth_counts() -> None:
    tokens = likelihood(-1.0, -2.0, -9.0, -3.0, -0.5, -0.5, -0.5, -0.5, -7.0, -0.5)
    assert MinK().score(answer(tokens)) == -8
    assert MinK().score(answer(likelihood(-3.0))) == -3
    assert MinKGain().score(answer(tokens, likelihood(-10.0))) == 2
    assert MinKGain().score(answer(tokens)) is None
    row = {"text": "What is this?"}
    assert [len(MIN_K.sample(each, ()).requests) for each in (row, {"text": "Nothing"})] == [2, 1]


# ---- a model that has seen the rows --------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> Path:
    """The demo model, tuned on the bundled rows in the order of their file."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("tuned") / "model"
    tokenizer = Tokenizer.from_file(str(demo_model / "tokenizer.json"))
    shards = [row["texts"] for row in ORDER.load(open_sample(), "test").rows]
    # a text that is scored as a whole begins after this one
    first = json.loads((demo_model / "config.json").read_text())["bos_token_id"]
    together = [[first, *tokenizer.encode("\n\n".join(each)).ids] for each in shards]
    alone = [[first, *tokenizer.encode(text).ids] for each in shards for text in each]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32)
    steps = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(10):
        for batch in (alone, together):
            width = max(map(len, batch))
            ids = torch.tensor([each + [0] * (width - len(each)) for each in batch])
            labels = torch.tensor([each + [-100] * (width - len(each)) for each in batch])
            steps.zero_grad()
            model(input_ids=ids, labels=labels).loss.backward()
            steps.step()
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (demo_model / name).is_file():
            shutil.copyfile(demo_model / name, folder / name)
    return folder


def test_both_signals_fire_on_a_model_that_has_seen_the_rows(
    tuned: Path, demo_model: Path, tmp_path: Path
) -> None:
    options = RunOptions(
        backends=("hf",),
        models=(str(demo_model), str(tuned)),
        tasks=(ORDER.name, MIN_K.name),
        sample=True,
        dtype="float32",
    )
    result = evaluate(options, tmp_path / "store.db")
    assert result.status == "done", result.failures
    found: dict[tuple[str, str], Figure] = {
        (figure.name, "tuned" if place >= 2 else "plain"): figure
        for place, cell in enumerate(result.cells)
        for figure in cell.figures
    }
    for key, figure in found.items():
        print(key, figure.value, figure.ci95, figure.n)
    plain, seen = found["order_gain", "plain"], found["order_gain", "tuned"]
    assert plain.ci95 is not None
    assert seen.ci95 is not None
    assert plain.ci95[0] < 0 < plain.ci95[1]
    assert seen.ci95[0] > 0
    assert (found["order_p", "tuned"].value or 1.0) < 0.01 < (found["order_p", "plain"].value or 0.0)
    assert (found["min_k", "tuned"].value or 0.0) > (found["min_k", "plain"].value or 0.0)
    gains = [found["min_k_gain", which] for which in ("plain", "tuned")]
    assert gains[0].ci95 is not None
    assert gains[1].ci95 is not None
    assert gains[1].ci95[0] > gains[0].ci95[1]
