"""Texts scored by their likelihood: windows, spelling, and figures as lm-evaluation-harness has them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import TINY_LLAMA, write_model

from slmeval.asking import Asker
from slmeval.builtin.metrics import BytePerplexity, Perplexity, TextBitsPerByte, WordPerplexity
from slmeval.plan import ScoreAsk
from slmeval.tokenizing import read_tokenizer
from slmeval.types import Answer, Likelihood, Rolling, Sample, Score
from slmeval_language.lambada import LAMBADA_OPENAI
from slmeval_language.wikitext import WIKITEXT, plain

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def words_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose every word is one token, behind a BOS."""
    from test_tokenizing import words

    folder = tmp_path_factory.mktemp("words") / "model"
    write_model(folder, TINY_LLAMA)
    words(folder, bos=True)
    return folder


def test_a_passage_ends_in_its_last_word() -> None:
    (request,) = LAMBADA_OPENAI.sample({"text": "The goat ate the old  rope"}, ()).requests
    assert request == Score("The goat ate the old ", " rope")
    (shown,) = LAMBADA_OPENAI.sample({"text": "one two"}, [{"text": "It was late"}]).requests
    assert isinstance(shown, Score)
    assert shown.context.endswith("one")


def test_a_page_is_read_in_plain_spelling_and_counted_in_its_own() -> None:
    page = " = Goat = \n \n The goat 's coat , 1 @,@ 000 hairs ( all white ) . \n"
    sample = WIKITEXT.sample({"page": page}, ())
    assert sample.requests == (Rolling(" = Goat =\n\nThe goat's coat, 1,000 hairs (all white).\n"),)
    assert sample.target == page
    with pytest.raises(ValueError, match="no examples: --shots 0"):
        WIKITEXT.sample({"page": page}, [{"page": page}])


@settings(deadline=None)
@given(st.text(alphabet=" \n@-,.\"'()[]{}=sN°:;!?0a/"))
def test_any_page_is_respelled_as_lm_eval_does(page: str) -> None:
    theirs = pytest.importorskip("lm_eval.tasks.wikitext.preprocess_wikitext")
    assert plain(page) == theirs.wikitext_detokenizer({"page": page})


def test_every_real_page_is_respelled_as_lm_eval_does(shared_data: Path) -> None:
    theirs = pytest.importorskip("lm_eval.tasks.wikitext.preprocess_wikitext")
    lines = (shared_data / "wikitext" / "test.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    assert len(rows) == 62
    assert all(plain(row["page"]) == theirs.wikitext_detokenizer(row) for row in rows)


@pytest.mark.parametrize("context", [1, 2, 7, 64])
@pytest.mark.parametrize("length", [1, 2, 6, 7, 8, 14, 63, 64, 65, 128, 200])
def test_windows_are_those_of_lm_eval(words_folder: Path, context: int, length: int) -> None:
    utils = pytest.importorskip("lm_eval.utils")
    tokenizer = read_tokenizer(words_folder, "test")
    text = " ".join(f"w{at % 9}" for at in range(length))
    ids = list(tokenizer.encode(text))
    assert tokenizer.bos_id is not None
    ((windows,),), _ = Asker(tokenizer, context, "toy").ask([Sample((Rolling(text),), text)])
    windows_of = utils.get_rolling_token_windows(ids, tokenizer.bos_id, context, 1)
    theirs = [utils.make_disjoint_window(window) for window in windows_of]
    # the first token of each of its contexts is never more than what fits
    mine = [(list(ask.context), list(ask.continuation)) for ask in windows if isinstance(ask, ScoreAsk)]
    assert [asked for _, asked in mine] == [asked for _, asked in theirs]
    assert [known for known, _ in mine] == [known for known, _ in theirs]
    assert [each for _, asked in mine for each in asked] == ids


def test_figures_of_texts_are_totals_over_all_of_them() -> None:
    texts, logprobs = ["a bc d", "öö"], [-6.0, -5.0]
    answers = [
        Answer(Sample((Rolling(text),), text), (Likelihood((logprob,), False),))
        for text, logprob in zip(texts, logprobs, strict=True)
    ]
    expected = {
        Perplexity: math.exp(11 / 2),
        WordPerplexity: math.exp(11 / 4),
        BytePerplexity: math.exp(11 / 10),
        TextBitsPerByte: 11 / 10 / math.log(2),
    }
    for metric, value in expected.items():
        scores = [metric().score(answer) for answer in answers]
        weights = [metric().weight(answer) for answer in answers]
        figure = metric().total("figure", scores, weights)
        assert figure.value == pytest.approx(value, rel=1e-12)
        assert figure.ci95 is not None
        assert figure.ci95[0] < value < figure.ci95[1]
