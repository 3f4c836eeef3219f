"""Markers in text, sentences, and who they are attributed to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.corpus.markers import claim_spans, find_markers, plain, sentences
from rag.corpus.sentences import MAX_CHARS, sentence_spans
from rag.records import Document, Paragraph

texts = st.text(
    st.sampled_from("aB .!?\n'\"’”()[]E0126,;—é🙂") | st.characters(exclude_categories=["Cs"]), max_size=300
) | st.lists(
    st.sampled_from(
        ["E026", "[E030, E035]", "E121E142", "The model gains.", "it holds", ";", "—", "vs. 3.5", "'s", '"']
    ),
    max_size=30,
).map(" ".join)


def episodes_in(text: str) -> list[str]:
    return [e for m in find_markers(text) for e in m.episodes]


def review(text: str, episode: str | None = None) -> list[tuple[str, tuple[str, ...], str]]:
    document = Document("reviews/x", "review", "X", text, (Paragraph(0, len(text)),), episode)
    return [(s.text, s.episodes, s.attribution) for s in sentences(document)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so E026.", ["E026"]),
        ("grouped [E030, E035, E061]", ["E030", "E035", "E061"]),
        ("run together E121E142E147E120 here", ["E121", "E142", "E147", "E120"]),
        ("E1000's gain (E026)", ["E1000", "E026"]),
        ("_E030_ __E041__ **E042** `E043`", ["E030", "E041", "E042", "E043"]),
        ("E026–E029, E041-43", ["E026", "E027", "E028", "E029", "E041", "E042", "E043"]),
        ("[E026](https://example.org/E099) [[E030]] [^E031]", ["E026", "E030", "E031"]),
        ("E026-based, E٠٢٦", ["E026"]),
        ("E2E, E5 embeddings, 1E6, 1E600, E. coli, pipE026, E026x, E26", []),
    ],
)
def test_markers_are_found_in_every_form_and_nowhere_else(text: str, found: list[str]) -> None:
    assert episodes_in(text) == found


def test_a_marker_ends_its_claim_where_the_next_starts_in_lower_case() -> None:
    assert [s[:2] for s in review("It costs $25 E026. turns this inside-out E084.")] == [
        ("It costs $25 E026.", ("E026",)),
        ("turns this inside-out E084.", ("E084",)),
    ]


def test_a_marker_before_a_dash_ends_its_claim_where_the_next_has_its_own() -> None:
    text = "The fixed baseline gains 3.8 points E009 — filtering adds 16 points E010."
    assert [s[1] for s in review(text)] == [("E009",), ("E010",)]
    assert len(review("The fixed baseline gains 3.8 points E009 — a surprise.")) == 1
    assert len(review("Unlike E026 — the famous one — E009 is plain.")) == 1


def test_a_sentence_without_a_marker_continues_the_claim_before_it() -> None:
    found = review("RL helps E011. It keeps diversity. The next prepares nothing E012.")
    assert [s[1:] for s in found] == [(("E011",), "explicit"), (("E011",), "inherited"), (("E012",), "explicit")]


def test_the_head_of_a_paragraph_prepares_the_claim_after_it() -> None:
    found = review("A misplaced branch dropped gradients. Fixed, it gains 3.8 points E009.")
    assert [s[1:] for s in found] == [(("E009",), "inherited"), (("E009",), "explicit")]


def test_a_sentence_that_weighs_several_sources_belongs_to_none() -> None:
    assert review("One is E009. Two is E010. These two papers together cast doubt.")[-1][1:] == ((), "none")
    assert review("No marker stands here at all.")[0][1:] == ((), "none")


def test_an_episodes_own_document_speaks_for_it_but_may_cite_another() -> None:
    found = review("It gains 3 points. Others disagree E010. It is small.", episode="E009")
    assert [s[1:] for s in found] == [(("E009",), "document"), (("E010",), "explicit"), (("E009",), "document")]


def test_a_bare_marker_behind_a_full_stop_closes_the_sentence_before_it() -> None:
    found = review("The lion roars. E026 The tiger jumps. E030 The bear sleeps. E031")
    assert [s[1] for s in found] == [("E026",), ("E030",), ("E031",)]
    assert review("The lion roars. E026 finds that tigers jump.")[1][1:] == (("E026",), "explicit")


def test_what_a_comparison_or_a_turn_follows_is_not_prepared_by_it() -> None:
    assert review("Camels drink much. The pump E026 was better than this camel E030.")[0][1:] == ((), "none")
    assert review("Cost fell 3 points. However, E030 disagrees.")[0][1:] == ((), "none")


def test_a_unit_ends_a_sentence_as_a_word_does() -> None:
    assert len(review("Mice run 13 km/h. However, E055 finds that rats swim.")) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It works [E026](https://example.org/26).", "It works."),
        ("It works [E026, p. 3].", "It works [E026, p. 3]."),
        ("It works: E026.", "It works: E026."),
        ("It works in E026–E030.", "It works in E026–E030."),
        ("See [E026] and _this_.", "See [E026] and this."),
    ],
)
def test_what_is_shown_reads_well(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_apostrophes_do_not_hide_the_end_of_a_sentence() -> None:
    text = "A branch in 's offloading cut gradients. Corrected, the subfield's numbers rise."
    assert len(sentence_spans(text, 0, len(text))) == 2


@given(texts)
def test_claims_slice_back_and_leave_nothing_but_white_space_between(text: str) -> None:
    at = 0
    for start, end in claim_spans(text, 0, len(text)):
        assert not text[at:start].strip()
        assert start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()


@given(texts)
def test_no_marker_is_lost_by_cutting(text: str) -> None:
    cut = [e for start, end in claim_spans(text, 0, len(text)) for e in episodes_in(text[start:end])]
    assert set(cut) == set(episodes_in(text))


@given(texts)
def test_normalising_is_idempotent(text: str) -> None:
    assert plain(plain(text)) == plain(text)


def test_a_text_without_full_stops_is_cut_at_white_space() -> None:
    text = "word " * 2000
    spans = sentence_spans(text, 0, len(text))
    assert len(spans) > 1
    assert all(end - start <= MAX_CHARS for start, end in spans)
