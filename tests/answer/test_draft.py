"""A model's text becomes finished, plain sentences, however it comes."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answer.draft import LONGEST, MOST, finished, neutral

DRAFT = """<think>E999 it is.</think>Here is what I found:
Answer: none yet.

1. RL beats SFT by 3.8 points. [E026] 2. It cost $25 E030. Dr. Roe et al. agree [E009, E010].
* **Costs** fell by <b>half</b>[1]. See [the page](https://a.example/x).
"""


def test_sentences_end_at_stops_and_lines_and_take_their_markers_along() -> None:
    assert list(finished([DRAFT])) == [
        "Here is what I found:",
        "none yet.",
        "RL beats SFT by 3.8 points. [E026]",
        "It cost $25 E030.",
        "Dr. Roe et al. agree [E009, E010].",
        "**Costs** fell by half.",
        "See the page.",
    ]


pieces = st.lists(st.text(max_size=12) | st.sampled_from(["<think>", "</think>", "<", "[E026]", ". ", "\n", "$2.5"]))


@given(pieces)
def test_the_pieces_that_a_text_comes_in_change_nothing(parts: list[str]) -> None:
    assert list(finished(parts)) == list(finished(["".join(parts)])) == list(finished("".join(parts)))


def test_a_sentence_is_out_before_the_draft_is() -> None:
    came: list[str] = []

    def write() -> Iterator[str]:
        yield "RL beats SFT by 3.8 points [E026]. And there is "
        came.append("more")
        yield "more to say."

    sentences = finished(write())
    assert next(sentences) == "RL beats SFT by 3.8 points [E026]."
    assert came == []


@given(st.text())
def test_neutral_text_is_one_line_without_tags_and_stays_as_it_is(text: str) -> None:
    found = neutral(text)
    assert neutral(found) == found
    assert "\n" not in found
    assert "\x1b" not in found


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<scr<b>ipt>alert(1)</script>x", "alert(1)x"),
        ("a <img src=x onerror=alert(1) b", "a"),
        ("![pixel](http://a.example/?q=1) seen", "pixel seen"),
        ("[[a](b)](http://a.example)", "a"),
        ("safe\x1b]0;title\x07 \x1b[2Jtext", "safe text"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("x\u2028y\x85z", "x y z"),
        ("3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
    ],
)
def test_markup_and_invisible_characters_go(text: str, plain: str) -> None:
    assert neutral(text) == plain


def test_a_draft_without_end_is_read_to_a_bound() -> None:
    read = 0

    def forever() -> Iterator[str]:
        nonlocal read
        while True:
            read += 100
            yield "word " * 20

    sentences = list(finished(forever()))
    assert read <= MOST + 200
    assert all(len(sentence) <= LONGEST + 1 for sentence in sentences)


def test_thoughts_without_end_are_no_draft() -> None:
    assert list(finished(["<think>", *["all of this is secret. "] * 20_000])) == []
