"""What a model thinks before it answers, apart from the answer: where it ends, and what ends the text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from slmeval.stopping import Stopper
from slmeval.thoughts import split_ids, split_text
from slmeval.types import Completion, GenerationSettings, Thought

THINK = Thought("<think>", "</think>")
BEGUN = Thought("<think>", "</think>", begun=True)
#: the marks as special tokens, which decoding leaves out
SPECIAL = Thought("<think>", "</think>", open_ids=(1,), close_ids=(2,))
#: marks of several tokens, of which some are special, as those of gpt-oss
SEVERAL = Thought("«a»", "«f»", open_ids=(1, ord("a"), 2), close_ids=(1, ord("f"), 2))
END = 3


def decode(ids: Sequence[int]) -> str:
    return "".join(chr(token) for token in ids if token > END)


def tokens(text: str) -> list[int]:
    """One a character, but for the special tokens."""
    ids: list[int] = []
    for mark, token in (("«", 1), ("»", 2), ("■", END)):
        text = text.replace(mark, chr(token))
    ids += map(ord, text)
    return ids


def written(text: str, thought: Thought | None, *stop: str, cap: int = 1000) -> Completion:
    """What becomes of a model that would write ``text`` and then END."""
    settings = GenerationSettings(cap, stop=stop, end_ids=(END,), thought=thought)
    stopper = Stopper(settings, decode)
    for token in tokens(text + "■"):
        if stopper.push(token) is not None:
            break
    return stopper.completion()


@pytest.mark.parametrize(
    ("text", "thought", "inside", "answer"),
    [
        ("<think>two and two</think>4", THINK, "two and two", "4"),
        ("<think>\ntwo and two\n</think>\n\n4", THINK, "two and two", "4"),
        (" \n<think>x</think>4", THINK, "x", "4"),
        ("<think></think>4", THINK, "", "4"),
        ("two and two</think>4", BEGUN, "two and two", "4"),
        # a model that was not told to think
        ("4", THINK, "", "4"),
        ("so 4", THINK, "", "so 4"),
        # the mark is named again: the last one counts
        ("<think>a </think> is a mark</think>4", THINK, "a </think> is a mark", "4"),
        # the cap came before the end of the thought
        ("<think>two and", THINK, "two and", ""),
        ("two and", BEGUN, "two and", ""),
        ("<thi", THINK, "", "<thi"),
        ("«two and two»4", SPECIAL, "two and two", "4"),
        ("«two and two» \n4", SPECIAL, "two and two", "4"),
        ("«two and", SPECIAL, "two and", ""),
        ("4", SPECIAL, "", "4"),
        ("", THINK, "", ""),
        # white space before a mark
        ("\n«two and", SPECIAL, "two and", ""),
        ("\n«two and»4", SPECIAL, "two and", "4"),
        ("«a»two and «x» two«f»4", SEVERAL, "two and x two", "4"),
        ("«a»two and", SEVERAL, "two and", ""),
        ("«f»4", SEVERAL, "", "4"),
        ("a thought", SEVERAL, "", "a thought"),
    ],
)
def test_a_thought_stands_apart_from_the_answer(
    text: str, thought: Thought, inside: str, answer: str
) -> None:
    found = written(text, thought)
    assert (found.thought, found.text, found.reason) == (inside, answer, "end")
    assert found.ids == tuple(tokens(text + "■"))
    if "»" not in text and "«" not in text:
        assert split_text(text, thought) == (inside, answer)


@pytest.mark.parametrize(
    ("text", "thought", "count"),
    [
        ("<think>ab</think>4", THINK, 17),
        ("ab</think>\n\n4", BEGUN, 10),
        ("«ab»4", SPECIAL, 4),
        ("«ab", SPECIAL, 3),
        ("<think>ab", THINK, 9),
        ("4", THINK, 0),
        ("«a»hm«f»4", SEVERAL, 8),
        ("«a»hm", SEVERAL, 5),
    ],
)
def test_the_tokens_of_a_thought_are_counted_with_its_marks(text: str, thought: Thought, count: int) -> None:
    assert split_ids(tokens(text), thought, decode)[2] == count
    assert written(text, thought).thought_tokens == count


@pytest.mark.parametrize(
    ("text", "thought", "stop", "answer"),
    [
        # within the thought it is no stop string
        ("<think>a\n\nb</think>4\n\nQ", THINK, "\n\n", "4"),
        ("a\n\nb</think>4\n\nQ", BEGUN, "\n\n", "4"),
        ("«a\n\nb»4\n\nQ", SPECIAL, "\n\n", "4"),
        ("\n«a\n\nb»4\n\nQ", SPECIAL, "\n\n", "4"),
        ("«a»b\n\nc«f»4\n\nQ", SEVERAL, "\n\n", "4"),
        ("«f»4\n\nQ", SEVERAL, "\n\n", "4"),
        # nor is the white space between the two
        ("<think>a</think>\n\n4\n\nQ", THINK, "\n\n", "4"),
        ("«a»\n\n\n\n4\n\nQ", SPECIAL, "\n\n", "4"),
        # a mark is no answer either
        ("<think>a</think>4</t", THINK, "</t", "4"),
        ("<think>a</think>4, think", THINK, "think", "4, "),
        # over more tokens than are looked at for the mark
        (f"<think>{'a' * 90}\n\n</think>{'b' * 90}\n\nQ", THINK, "\n\n", "b" * 90),
        # where there is no thought it ends the text as ever
        ("4\n\nQ", THINK, "\n\n", "4"),
        ("4\n\nQ", SPECIAL, "\n\n", "4"),
        ("4\n\nQ", None, "\n\n", "4"),
        ("<\n\nQ", THINK, "\n\n", "<"),
    ],
)
def test_a_stop_string_ends_the_answer_and_no_thought(
    text: str, thought: Thought | None, stop: str, answer: str
) -> None:
    found = written(text, thought, stop)
    assert (found.text, found.reason) == (answer, "stop")
    # the text ends with the token that completes the stop string
    assert decode(found.ids).endswith(stop)
    assert len(found.ids) == len(tokens(text[: text.rindex(stop) + len(stop)]))


def test_an_end_token_ends_a_thought_too() -> None:
    found = written("<think>a■b</think>4", THINK, "\n\n")
    assert (found.thought, found.text, found.reason) == ("a", "", "end")
    assert found.thought_tokens == len("<think>a")


def test_a_thought_up_to_the_cap_leaves_no_answer() -> None:
    found = written("<think>a\n\nbcd</think>4", THINK, "\n\n", cap=11)
    assert (found.thought, found.text, found.reason, found.thought_tokens) == ("a\n\nb", "", "length", 11)
    # a stop string that stands in the thought alone is none
    assert written("<think>a\n\nb</think>4", THINK, "\n\n").reason == "end"


def test_without_a_thought_in_the_settings_marks_are_text() -> None:
    found = written("<think>a\n\nb</think>4", None, "\n\n")
    assert (found.text, found.thought, found.thought_tokens) == ("<think>a", "", 0)


def test_marks_of_several_tokens_are_found_where_some_are_special(shared_tokenizer: Path) -> None:
    from slmeval.tokenizing import read_tokenizer

    tokenizer = read_tokenizer(shared_tokenizer, "here")
    start = tokenizer.special("<|im_start|>")
    assert len(start) == 1
    assert tokenizer.special("<|im_start|>think<|im_end|>") == tokenizer.encode(
        "<|im_start|>think<|im_end|>", special=False
    )
    assert tokenizer.special("<think>") == ()
    ids = tokenizer.encode("<|im_start|>think<|im_end|>Two.<|im_start|>say<|im_end|>4", special=False)
    marks = ("<|im_start|>think<|im_end|>", "<|im_start|>say<|im_end|>")
    thought = Thought(*marks, open_ids=tokenizer.special(marks[0]), close_ids=tokenizer.special(marks[1]))
    assert split_ids(ids, thought, tokenizer.decode)[:2] == ("Two.", "4")
