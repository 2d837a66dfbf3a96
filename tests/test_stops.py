"""Where a generated text ends: as lm-evaluation-harness ends it, on the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from random_models import TINY_LLAMA, write_model

from slmeval.asking import Asker, Writing
from slmeval.errors import DataError
from slmeval.plan import GenerateAsk
from slmeval.tokenizing import read_tokenizer
from slmeval.types import Completion, Generate, ModelRef, Prompt, Sample, Score, Thought
from slmeval_reference import ReferenceBackend

SPECIAL = ("?", "</s>", "<|im_end|>", "<|eot|>", "<|other|>")
WORDS = tuple(f"w{number}" for number in range(11))
PROMPTS = [f"{first} {second} w1" for first in WORDS for second in WORDS[:4]]
STOP = ("w3 w4", "<|im_end|>")
CAP = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 16 tokens: one is EOS, one more ends a text by generation_config.json."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    shape = {**TINY_LLAMA, "vocab_size": 16, "eos_token_id": 1}
    folder = write_model(tmp_path_factory.mktemp("stops") / "tiny", shape, seed=5)
    vocabulary = {token: number for number, token in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "?"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 3]}')
    return folder


def ours(folder: Path, samples: list[Sample]) -> list[Completion]:
    tokenizer = read_tokenizer(folder, "test")
    asks, _ = Asker(tokenizer, 64, "toy").ask(samples)
    backend = ReferenceBackend(ModelRef(str(folder)), {"threads": 1})
    made = []
    for ((ask,),) in asks:
        assert isinstance(ask, GenerateAsk)
        made += backend.generate([Prompt(ask.prompt)], ask.settings, tokenizer.decode)
    backend.close()
    return made


def test_texts_end_where_those_of_lm_eval_end(folder: Path) -> None:
    pytest.importorskip("torch", reason="lm-evaluation-harness needs torch")
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from lm_eval_tasks import quiet

    made = ours(folder, [Sample((Generate(prompt, CAP, STOP),), "") for prompt in PROMPTS])
    with quiet():
        engine = HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1, max_length=64)
        # a list of its own for each, for lm-eval adds EOS to it
        theirs = engine.generate_until(
            [
                Instance("generate_until", {}, (prompt, {"until": list(STOP), "max_gen_toks": CAP}), place)
                for place, prompt in enumerate(PROMPTS)
            ],
            disable_tqdm=True,
        )
    assert [completion.text for completion in made] == theirs
    # EOS, the stop string that is a special token, the second end of generation_config.json
    assert {1, 2, 3} <= {completion.ids[-1] for completion in made}
    # and a special token that ends nothing is passed over
    assert any(4 in completion.ids[:-1] for completion in made)


def test_a_special_token_ends_a_text_only_where_it_holds_a_stop_string(folder: Path) -> None:
    tokenizer = read_tokenizer(folder, "test")
    assert tokenizer.end_ids == (1, 3)
    assert tokenizer.ends_at(("w1", "")) == (1, 3)
    assert tokenizer.ends_at(("<|im_end|>",)) == (1, 3, 2)
    assert tokenizer.ends_at(("|>",)) == (1, 3, 2, 4)


def test_a_choice_that_becomes_no_tokens_is_refused_with_its_task_and_row(folder: Path) -> None:
    tokenizer = read_tokenizer(folder, "test")
    sound = Sample((Score("w1", " w2"), Score("w1", " w3")), 0)
    empty = Sample((Score("w1", " w2"), Score("w1", "  ")), 0)
    with pytest.raises(DataError, match="task 'toy', choice 2 of row 2 becomes no tokens"):
        Asker(tokenizer, 64, "toy").ask([sound, empty])
    with pytest.raises(DataError, match="task 'toy', the prompt of row 1 becomes no tokens"):
        Asker(tokenizer, 64, "toy").ask([Sample((Generate(" "),), "")])


def test_a_special_token_that_marks_a_thought_is_no_stop_string(folder: Path) -> None:
    tokenizer = read_tokenizer(folder, "test")
    mark = tokenizer.token(2)
    assert mark is not None
    sample = Sample((Generate("w1", stop=(mark[:2],)),), "")

    def ends(thought: Thought | None) -> tuple[int, ...]:
        [((ask,),)], _ = Asker(tokenizer, 512, "toy", Writing(thought=thought)).ask([sample])
        assert isinstance(ask, GenerateAsk)
        return ask.settings.end_ids

    assert 2 in ends(None)
    assert set(ends(None)) - set(ends(Thought(mark, "none"))) == {2}
    # a token that ends every text goes on to
    assert 1 in ends(Thought("</s>", "none"))
