"""The same problems with other numbers: answers follow, what is unsafe is left out, the signal is paired."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

from slmeval.datasets import open_folder, open_sample
from slmeval.errors import DataError
from slmeval.statistics import bonett_price
from slmeval.testing import evaluate
from slmeval.types import Answer, Completion, Generate, RunOptions, Sample
from slmeval_math.annotations import CannotRenumber
from slmeval_math.gsm8k import GSM8K
from slmeval_math.renumbered import GSM8K_RENUMBERED, PublishedGain, RepliedNumber
from slmeval_math.renumbering import read_problem, renumbered
from slmeval_math.word_values import said_values, unit_values

EGGS = "A box holds 6 eggs. Ann has 14 boxes and gives 9 eggs away. How many are left?"
EGGS_ANSWER = "6*14=<<6*14=84>>84\n84-9=<<84-9=75>>75\n#### 75"


def test_the_answer_follows_from_the_new_numbers() -> None:
    found = renumbered(EGGS, EGGS_ANSWER)
    box, boxes, given = (found.changed[old] for old in (6, 14, 9))
    assert found.question == EGGS.replace("6", str(box), 1).replace("14", str(boxes)).replace("9", str(given))
    assert found.answer == box * boxes - given != 75
    assert {6, 14, 9}.isdisjoint(found.changed.values()) or all(o != n for o, n in found.changed.items())
    # the order of the numbers stays
    assert box < given < boxes
    assert renumbered(EGGS, EGGS_ANSWER) == found


@pytest.mark.slow
def test_the_unchanged_numbers_give_the_unchanged_answer_of_every_row_kept(shared_data: Path) -> None:
    for row in GSM8K_RENUMBERED.load(open_folder(shared_data), "test").rows:
        problem = read_problem(row["question"], row["answer"])
        same = problem.with_numbers({int(value): int(value) for value in problem.given.free})
        assert same is not None
        assert (same.question, same.answer) == (row["question"], renumbered_final(row["answer"]))


def renumbered_final(answer: str) -> Fraction:
    return Fraction(answer.rpartition("####")[2].strip().replace(",", ""))


@pytest.mark.slow
def test_real_rows_are_counted_and_their_numbers_fit(shared_data: Path) -> None:
    rows = GSM8K_RENUMBERED.load(open_folder(shared_data), "test")
    assert rows.source == "folder gsm8k/test.jsonl, the 145 of 300 rows that can have other numbers"
    for row in rows.rows:
        found = renumbered(row["question"], row["answer"])
        assert found.answer > 0
        assert found.answer.denominator == 1
        assert found.answer != renumbered_final(row["answer"])
        words = re.compile(r"[\d,.]+")
        assert words.split(found.question) == words.split(row["question"])


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("He has 7 pens and 5 more.", "It is 12.\n#### 12", "no arithmetic, or none at all"),
        ("He has 7 pens and 5 more.", "<<7+5=13>>13\n#### 13", "does not come to 13"),
        ("He has 7 pens and 5 more.", "<<7+5=12>>12\n#### 24", "the last annotation is not the answer"),
        ("He has 7 pens and 5 more.", "<<7+5=12>>12", "no answer behind ####"),
        ("He has 7 pens and some more.", "<<7+5=12>>12\n#### 12", "where 5 is from is not known"),
        ("7 pens, 5 more, 8 caps.", "<<7+5=12>>12\n<<8+5=13>>\n#### 13", "nothing is made of the result 12"),
        (
            "It fell by 30% from $2.50 in 1999.",
            "<<1999-30=1969>>1969\n#### 1969",
            "no number of the question",
        ),
        # 7 pens each cost 7: counted once, used twice
        ("He buys 7 pens.", "<<7*7=49>>49\n#### 49", "no number of the question"),
        ("Seven days: 7 pens a day.", "<<7*7=49>>49\n#### 49", "no number of the question"),
        ("He reads pages 3-9.", "<<9-3=6>>6\n#### 6", "no number of the question"),
        ("He has 7 pens.", "<<7**2=49>>49\n#### 49", "is no arithmetic"),
        ("He has 7 pens.", "<<__import__('os')=49>>49\n#### 49", "is no arithmetic"),
        ("97 pens in rows of 97.", "<<97/97=1>>1\n#### 1", "draws leaves"),
    ],
)
def test_rows_that_are_not_safe_keep_their_numbers(question: str, answer: str, reason: str) -> None:
    with pytest.raises(CannotRenumber, match=re.escape(reason)):
        renumbered(question, answer)


@pytest.mark.parametrize(
    ("question", "answer", "stays"),
    [
        # a word, a unit, a share, a time, a rank, a year stay as they are
        ("He has 13 pens and twice as many caps.", "<<13*2=26>>26\n#### 26", ()),
        ("He saves $17 a week for 11 weeks, then spends 25%.", "<<17*11=187>>\n#### 187", ("25%",)),
        ("From 9:30 on he walks 17 km, then 11 km in 2021.", "<<17+11=28>>28\n#### 28", ("9:30", "2021")),
        ("The 3rd of 17 boxes weighs 11 kg.", "<<17*11=187>>187\n#### 187", ("3rd",)),
        ("He works 5 days a week and packs 17 bags a day.", "<<5*17=85>>85\n#### 85", ("5 days a week",)),
        ("It costs $1.50 and 3/4 of 16 caps.", "<<16*3/4=12>>12\n#### 12", ("$1.50", "3/4")),
    ],
)
def test_what_cannot_be_drawn_stays(question: str, answer: str, stays: tuple[str, ...]) -> None:
    found = renumbered(question, answer)
    assert found.question != question
    for each in stays:
        assert each in found.question


def test_a_number_that_may_be_a_result_stays() -> None:
    question = "Ann has 4 bags of 3 nuts. Then 12 more come. How many?"
    # 12 is the product, and the number of the question as well: what the second note means is not known
    with pytest.raises(CannotRenumber):
        renumbered(question, "<<4*3=12>>12\n<<12+12=24>>24\n#### 24")


def test_thousands_keep_their_commas() -> None:
    found = renumbered("He had 12,500 pens and lost 1,750.", "<<12500-1750=10750>>10750\n#### 10,750")
    assert re.search(r"had \d+,\d{3} pens and lost (\d+,)?\d{3}\.", found.question)


def test_words_stand_for_numbers() -> None:
    said = said_values("Twice a day she eats half of a dozen; 30% are bad, and 3/4 of two-thirds.")
    assert {*map(Fraction, ("2", "1/2", "12", "3/10", "7/10", "30", "3/4", "1/3"))} <= said
    assert Fraction(3) not in said_values("the third day")
    assert {Fraction(7), Fraction(60)} <= unit_values("a day has hours")


# ---- the task and its figures ----------------------------------------------------------------------------


def test_each_row_is_asked_twice_after_the_same_examples() -> None:
    source = open_sample()
    rows = GSM8K_RENUMBERED.load(source, "test").rows
    shots = GSM8K_RENUMBERED.load(source, "train").rows[:2]
    assert "rows that can" not in GSM8K_RENUMBERED.load(source, "train").source
    sample = GSM8K_RENUMBERED.sample(rows[0], shots)
    published, other = (request for request in sample.requests if isinstance(request, Generate))
    assert published == GSM8K.sample(rows[0], shots).requests[0]
    assert published.turns is not None
    assert other.turns is not None
    assert published.turns.examples == other.turns.examples
    assert published.turns.question != other.turns.question
    right, new = str(sample.target).split("\n")
    assert right == rows[0]["answer"].rpartition("####")[2].strip() != new


def test_rows_of_which_none_can_be_renumbered_are_told(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    row = {"question": "How many?", "answer": "#### 4"}
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="none of its rows can have other numbers"):
        GSM8K_RENUMBERED.load(open_folder(tmp_path), "test")


def twice(published: str, other: str) -> Answer:
    replies = (Completion(published, (), "end"), Completion(other, (), "end"))
    return Answer(Sample((Generate("a"), Generate("b")), "24\n36"), replies)


def test_the_gain_is_that_of_pairs() -> None:
    answers = [twice("#### 24", "#### 24"), twice("24", "36"), twice("no", "so 36"), twice("24.", "")]
    assert [RepliedNumber(0).score(each) for each in answers] == [1, 1, 0, 1]
    assert [RepliedNumber(1).score(each) for each in answers] == [0, 1, 1, 0]
    gain = PublishedGain()
    scores = [gain.score(each) for each in answers]
    assert scores == [1, 0, -1, 1]
    figure = gain.total("published_gain", scores, [1.0] * 4)
    assert figure.value == 0.25
    assert figure.ci95 == bonett_price(2, 1, 4)
    assert "signal, not a verdict" in figure.note
    assert gain.total("published_gain", [], []).source == "unavailable"
    with pytest.raises(TypeError, match="asked twice"):
        gain.score(Answer(Sample((Generate("a"),), "24"), (Completion("24", (), "end"),)))


def test_a_model_is_measured(tmp_path: Path) -> None:
    options = RunOptions(
        backends=("reference",), tasks=("gsm8k_renumbered",), limit=3, sample=True, shots=(1,)
    )
    result = evaluate(options, tmp_path / "store.db")
    assert result.status == "done", result.failures
    (cell,) = result.cells
    figures = {figure.name: figure for figure in cell.figures}
    assert list(figures)[:3] == ["acc_published", "acc_renumbered", "published_gain"]
    values = {name: figures[name].value for name in list(figures)[:3]}
    assert None not in values.values()
    assert values["published_gain"] == pytest.approx(
        (values["acc_published"] or 0) - (values["acc_renumbered"] or 0)
    )
