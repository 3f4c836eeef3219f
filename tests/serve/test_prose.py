"""A document's text in pieces, and what is said of a sentence."""

from hypothesis import given
from hypothesis import strategies as st

from rag.corpus.markers import DEFAULT_PATTERN
from rag.records import Document, Paragraph
from rag.serve.web.prose import Claim, claims, paragraph_at, sections
from rag.serve.web.wording import says


def review(text: str) -> Document:
    return Document("reviews/rl", "review", "RL", text, (Paragraph(0, len(text)),))


def shown(claim: Claim) -> str:
    return "".join(piece.text for run in claim.runs for piece in run.pieces)


def highlighted(found: tuple[Claim, ...]) -> str:
    return "".join(p.text for claim in found for run in claim.runs if run.highlighted for p in run.pieces)


def links(found: tuple[Claim, ...]) -> list[str]:
    return [p.episode for claim in found for run in claim.runs for p in run.pieces if p.episode]


def all_of(text: str, highlight: tuple[int, int] | None = None) -> tuple[Claim, ...]:
    document = review(text)
    return claims(document, document.paragraphs[0], DEFAULT_PATTERN, highlight)


def test_every_marker_of_a_run_and_a_group_is_a_link_of_its_own() -> None:
    found = all_of("It holds E121E142. Others agree [E030, E035].")
    assert links(found) == ["E121", "E142", "E030", "E035"]
    assert [shown(c) for c in found] == ["It holds E121E142.", "Others agree [E030, E035]."]


def test_a_marker_that_is_a_link_elsewhere_leads_to_the_episode_alone() -> None:
    (found,) = all_of("It holds [E026](https://example.org/26).")
    assert (shown(found), links((found,))) == ("It holds [E026].", ["E026"])


def test_a_highlight_ends_within_a_sentence_and_goes_on_in_the_next() -> None:
    text = "One is here E026. Two is there E030. Three."
    assert highlighted(all_of(text, (4, 26))) == "is here E026.Two is t"


def test_a_highlighted_marker_is_still_a_link() -> None:
    assert links(all_of("It costs $25 E026.", (0, 18))) == ["E026"]


def test_a_sentence_says_from_where_its_attribution_is_carried_over() -> None:
    found = all_of("A branch was misplaced. It discards gradients E009. That lowers the baseline.")
    assert [c.carried for c in found] == ["the sentence after", None, "the sentence before"]


def test_sections_follow_the_headings() -> None:
    text = "One. Two. Three."
    document = Document("d", "review", "D", text, (Paragraph(0, 4, "A"), Paragraph(5, 9, "A"), Paragraph(10, 16, "B")))
    assert [(s.heading, len(s.blocks)) for s in sections(document, DEFAULT_PATTERN)] == [("A", 2), ("B", 1)]


def test_a_place_outside_of_every_paragraph_is_a_paragraph_of_its_own() -> None:
    document = Document("d", "review", "D", "# A heading\n\nText.", (Paragraph(13, 18),))
    assert paragraph_at(document, 2) == Paragraph(2, 3)


@given(
    st.lists(st.sampled_from(["It costs $25", "E026", "[E030, E035].", "so", ".", "E121E142.", "(E009)", "<b>", "\n"])),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_pieces_add_up_to_the_sentence_whatever_is_highlighted(words: list[str], start: int, end: int) -> None:
    found = all_of(" ".join(words), (min(start, end), max(start, end)))
    assert [shown(c) for c in found] == [c.sentence.text for c in found]


def test_an_attribution_in_words_names_who_says_so() -> None:
    assert says("review", "explicit", ["E026"]) == "The review says so of"
    assert says("review", "inherited", ["E026"], "the sentence after") == (
        "Carried over from the sentence after, which the review says of"
    )
    assert says("essay", "none", []) == "The document says so and names no episode"
