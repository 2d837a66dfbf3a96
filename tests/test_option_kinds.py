"""Lists of numbers, as options of probes take them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmeval.option_kinds import counted, counts, listed, seconds


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("512", (512,)),
        ("1024, 512", (1024, 512)),
        ("1-4", (1, 2, 3, 4)),
        ("7-7", (7,)),
        ("0-2048+512", (0, 512, 1024, 1536, 2048)),
        ("1-20*2", (1, 2, 4, 8, 16)),
        ("0,1-8*2", (0, 1, 2, 4, 8)),
    ],
)
def test_numbers_and_ranges_are_read_as_llama_bench_reads_them(text: str, numbers: tuple[int, ...]) -> None:
    assert counts(text, least=0) == numbers
    assert counts(listed(text, least=0), least=0) == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is neither a whole number nor a range"),
        ("512;1024", "'512;1024' is neither"),
        ("1,", "'' is neither"),
        ("-1", "'-1' is neither"),
        ("1.5", "'1.5' is neither"),
        ("1-2-3", "'1-2-3' is neither"),
        ("0", "0 is too small: at least 1"),
        ("4-1", "4-1 goes down"),
        ("0-8*2", "0-8*2 never comes to 8"),
        ("1-8*1", "1-8*1 never comes to 8"),
        ("1-8+0", "1-8+0 never comes to 8"),
        ("2,1-2", "2 is given twice"),
        ("1-999999999999", "more than 64 values"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("*", "[*]").replace("+", "[+]")):
        counts(text)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=64, unique=True))
def test_a_list_that_was_written_is_read_as_it_was(numbers: list[int]) -> None:
    assert counts(counted(numbers), least=0) == tuple(numbers)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(2, 9), st.sampled_from("+*"))
def test_a_range_begins_with_its_first_and_ends_within_its_last(
    first: int, more: int, by: int, sign: str
) -> None:
    last = min(first + more, first + 60 * by)
    found = counts(f"{first}-{last}{sign}{by}")
    assert found[0] == first
    assert found[-1] <= last < (found[-1] * by if sign == "*" else found[-1] + by)
    assert list(found) == sorted(found)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_time_is_above_zero_and_comes_to_an_end(text: str) -> None:
    assert seconds("2.5") == 2.5
    with pytest.raises(ValueError, match=r"no time in seconds|could not convert"):
        seconds(text)
