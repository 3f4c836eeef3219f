"""Quoted spans that are found again after their document was edited."""

import time
from unittest import mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rag.corpus.anchor import LONGEST, Anchor, anchor, find
from rag.corpus.sentences import sentence_spans
from rag.errors import UserError

word = st.sampled_from(["it", "gains", "3", "3.8", "7.5%", "a", "A", "naïve", "強化学習", "🙂", "\ud800", "E026", "a."])
blanks = st.sampled_from([" ", "\n", "  ", "\r\n\r\n", "\t", "\u00a0", "\u2003", "\x1f"])


@st.composite
def words(draw: st.DrawFn, least: int = 0) -> list[str]:
    return draw(st.lists(word, min_size=least, max_size=12))


@st.composite
def wrapped(draw: st.DrawFn, of: list[str]) -> str:
    """The words with any white space between them, and perhaps around them."""
    edge = st.just("") | blanks
    return draw(edge) + "".join(w + draw(blanks) for w in of[:-1]) + "".join(of[-1:]) + draw(edge)


@st.composite
def quoted(draw: st.DrawFn) -> tuple[list[str], list[str], list[str], str, Anchor]:
    """Words before a quote, its own, those behind it; all of them as a text; and the quote's address in that."""
    before, quote, behind = draw(words()), draw(words(1)), draw(words())
    text = draw(wrapped([*before, *quote, *behind]))
    starts = word_starts(text)
    start = starts[len(before)]
    end = starts[len(before) + len(quote) - 1] + len(quote[-1])
    return before, quote, behind, text, anchor(text, start, end)


def word_starts(text: str) -> list[int]:
    padded = f" {text}"
    return [at for at in range(len(text)) if padded[at].isspace() and not padded[at + 1].isspace()]


def places(text: str, quote: list[str]) -> list[int]:
    """Every start of the quote's words in a text, by looking at each word."""
    said, starts = text.split(), word_starts(text)
    return [starts[at] for at in range(len(said) - len(quote) + 1) if said[at : at + len(quote)] == quote]


def says(text: str, found: tuple[int, int] | None) -> list[str] | None:
    return None if found is None else text[slice(*found)].split()


@given(quoted())
def test_an_address_reads_back_and_finds_its_own_place(
    case: tuple[list[str], list[str], list[str], str, Anchor],
) -> None:
    _, quote, _, text, address = case
    assert Anchor.parse(str(address)) == address
    assert len(str(address)) <= 34
    found = find(text, address)
    assert found is not None
    assert found[0] == address.start
    assert says(text, found) == quote


@given(quoted(), words(), words(), st.data())
def test_a_quote_is_found_after_edits_around_it_and_wrapping_at_the_nearest_of_its_places(
    case: tuple[list[str], list[str], list[str], str, Anchor], before: list[str], behind: list[str], data: st.DataObject
) -> None:
    _, quote, _, _, address = case
    text = data.draw(wrapped([*before, *quote, *behind]))
    with mock.patch("rag.corpus.anchor._BLOCK", data.draw(st.sampled_from([1, 3, 8, 1 << 18]))):
        found = find(text, address)
    assert found is not None
    assert says(text, found) == quote
    assert found[0] == min(places(text, quote), key=lambda at: abs(at - address.start))


@given(quoted(), st.data())
def test_words_that_changed_are_not_found(
    case: tuple[list[str], list[str], list[str], str, Anchor], data: st.DataObject
) -> None:
    before, quote, behind, _, address = case
    at = data.draw(st.integers(0, len(quote) - 1))
    changed = [*quote[:at], *data.draw(words()), *quote[at + 1 :]]
    text = data.draw(wrapped([*before, *changed, *behind]))
    assume(not places(text, quote))
    assert find(text, address) is None


@given(st.text(st.sampled_from("ab \n"), max_size=60), st.integers(0, 60), st.integers(0, 60), st.text("ab \n"))
def test_a_span_that_cuts_words_is_found_where_its_characters_stand(text: str, a: int, b: int, more: str) -> None:
    start, end = sorted((a % (len(text) + 1), b % (len(text) + 1)))
    assume(text[start:end].strip())
    address = anchor(text, start, end)
    found = find(text, address)
    assert found is not None
    assert found[0] == address.start
    assert text[slice(*found)] == text[start:end].strip()
    there = find(f"{more}{text}", address)
    assert says(f"{more}{text}", there) in (text[start:end].split(), None)


@pytest.mark.parametrize("changed", ["It gains 3.8 points", "It gains 30", "It gains 3% now", "It gains 3", "gains 3."])
def test_whole_words_are_not_found_within_longer_ones(changed: str) -> None:
    assert find(changed, anchor("So it gains 3", 3, 13)) is None
    assert (find(changed, anchor("gains 3", 0, 7)) is None) == (changed != "It gains 3")


def test_sentences_without_blanks_between_them_are_found_again() -> None:
    text = "学习率很重要。批量大小是三十二。结果更好。"
    address = anchor(text, 7, 16)
    assert text[7:16] == "批量大小是三十二。"
    assert find(f"新的一段。\n{text}", address) == (13, 22)
    assert find(text.replace("三十二", "三十三"), address) is None


def test_of_two_places_as_near_the_first_counts() -> None:
    assert find("a b a", anchor("x a", 2, 3)) == (0, 1)


def test_every_sentence_of_an_edited_text_is_found_that_was_kept(prose: str) -> None:
    spans = sentence_spans(prose, 0, len(prose))
    kept = prose.replace("\n", " ").replace("model", "agent")
    for start, end in spans:
        found = find(kept, anchor(prose, start, end))
        assert (found is None) == ("model" in prose[start:end])


@pytest.fixture
def prose() -> str:
    lines = (
        f"Run {n} of the {'model' if n % 3 else 'probe'} gained\n{n / 7:.2f} points. It cost ${n}." for n in range(60)
    )
    return "\n\n".join(lines)


@pytest.mark.parametrize(
    "string",
    ["", "1-2", "01-2-" + "a" * 18, "1-0-" + "a" * 18, "1-2-" + "A" * 18, "1-2-" + "a" * 19, "-1-2-" + "a" * 18,
     "1234567890-2-" + "a" * 18, "1-123456-" + "a" * 18, "1-2-" + "a" * 18 + "\n", "١-2-" + "a" * 18, "\ud800\n" * 500],
)  # fmt: skip
def test_other_strings_are_refused_in_one_short_line(string: str) -> None:
    with pytest.raises(UserError, match="no address of a quote, wanted") as refused:
        Anchor.parse(string)
    assert str(refused.value).isascii() is ("…" not in str(refused.value))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(("start", "end"), [(0, 1), (2, 2), (3, 2), (-1, 2), (1, 9)])
def test_only_spans_with_words_have_an_address(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=r"no span|no anchor"):
        anchor("  ab", start, end)
    with pytest.raises(ValueError, match="no anchor"):
        anchor("a" * LONGEST, 0, LONGEST)


@pytest.mark.parametrize("text", ["", " ", "a", "\n\n", "a b"])
@pytest.mark.parametrize("string", ["0-1-" + "0" * 18, "999999999-99999-" + "f" * 18, str(anchor("a\n b c", 0, 6))])
def test_addresses_of_nothing_find_nothing(text: str, string: str) -> None:
    assert find(text, Anchor.parse(string)) is None


@pytest.mark.parametrize("block", ["a ", "x" + " " * 262143, "x", "ab ba ", "強🙂"])
def test_no_document_and_no_address_takes_long(block: str) -> None:
    text = block * (4_000_000 // len(block))
    true = anchor("a " * 40_000, 0, 80_000)
    for address in (Anchor(2_000_000, 99_999, "0" * 18), Anchor(2_000_000, true.length, true.digest[:8] + "0" * 10)):
        began = time.process_time()
        assert find(text, address) is None
        assert time.process_time() - began < 2


def test_a_quote_is_found_across_the_seams_of_a_long_text() -> None:
    seam = 1 << 18
    for at in (seam - 12, seam - 5, seam, 2 * seam - 3):
        text = "x" * (at - 1) + " it gains\n\n3 points " + "y " * seam
        assert find(text, anchor("it gains 3 points", 0, 17)) == (at, at + 18)
