"""What can be browsed, and the map, over a library of this repository's documents with places made up."""

from types import SimpleNamespace
from typing import cast

import pytest

from fakes import CORPUS, service_of
from rag.assemble import Service
from rag.corpus.load import load
from rag.corpus.markers import DEFAULT_PATTERN
from rag.ports import WholeLibrary
from rag.records import Document, Hit, Passage
from rag.serve.web.catalogue import Catalogue, matching, read_catalogue
from rag.serve.web.chart import COLOURS, OTHER, SIZE, draw, light

PLACES = [(0.0, 0.0), (1.0, 1.0), (0.5, 0.25)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> WholeLibrary:
    return service_of(load(CORPUS), tmp_path_factory.mktemp("library")).library


@pytest.fixture(scope="module")
def catalogue(library: WholeLibrary) -> Catalogue:
    return read_catalogue(library)


def test_every_episode_that_is_about_or_cited_has_an_entry(library: WholeLibrary, catalogue: Catalogue) -> None:
    assert [e.id for e in catalogue.episodes] == list(library.episodes())
    assert {kind: len(of) for kind, of in catalogue.documents.items()} == {
        kind: len(list((CORPUS / f"{kind}s").glob("*.md"))) for kind in ("concept", "review")
    }


def test_an_entry_is_found_by_any_of_its_words_in_any_order(catalogue: Catalogue) -> None:
    assert [e.id for e in matching(catalogue.episodes, "TOKEN  e026 language", None, None, None)] == ["E026"]
    assert matching(catalogue.episodes, "zebra", None, None, None) == ()


def test_dates_are_inclusive_and_what_has_none_is_left_out(catalogue: Catalogue) -> None:
    found = matching(catalogue.episodes, "", "post-training", "2026-05-08", "2026-05-08")
    assert "E026" in [e.id for e in found]
    assert {e.date for e in found} == {"2026-05-08"}


def test_related_episodes_are_those_of_the_front_matter_that_the_corpus_has(catalogue: Catalogue) -> None:
    assert catalogue.related["E026"] == ("E011", "E009", "E084")


def passage(n: int, *topics: str) -> Passage:
    text = f"Sentence {n}."
    return Passage(f"d{n}:0", f"d{n}", text, 0, len(text), title=f"Title {n}", topics=topics)


def mapped(passages: list[Passage], places: list[tuple[float, float]]) -> Service:
    """A service whose library has these places alone."""
    held = dict(zip((p.id for p in passages), places, strict=True))

    class Placed:
        def __len__(self) -> int:
            return len(passages)

        def placed(self, most: int) -> list[tuple[Passage, tuple[float, float]]]:
            return [(p, held[p.id]) for p in passages if p.id in held][:most]

        def place(self, passage: Passage) -> tuple[float, float] | None:
            return held.get(passage.id)

        def document(self, id: str) -> Document:
            text = next(p.text for p in passages if p.document == id)
            return Document(id, "review", id, text, ())

    return cast(Service, SimpleNamespace(library=Placed(), id_pattern=DEFAULT_PATTERN))


def test_every_dot_lies_in_the_picture_and_leads_to_its_passage() -> None:
    chart = draw(mapped([passage(n, "RL") for n in range(3)], PLACES))
    assert chart is not None
    dots = [dot for group in chart.groups for dot in group.dots]
    assert all(0 < dot.x < SIZE and 0 < dot.y < SIZE for dot in dots)
    assert [dot.href.partition("?")[0] for dot in dots] == ["/documents/d0", "/documents/d1", "/documents/d2"]


def test_a_passage_has_the_colour_of_the_topic_that_most_passages_share() -> None:
    passages = [passage(0, "rare", "RL"), passage(1, "RL"), passage(2)]
    chart = draw(mapped(passages, PLACES))
    assert chart is not None
    assert [(g.topic, g.colour, len(g.dots)) for g in chart.groups] == [("RL", 0, 2), (OTHER, COLOURS, 1)]


def test_names_do_not_stand_on_each_other() -> None:
    passages = [passage(n, f"topic {n}") for n in range(COLOURS)]
    chart = draw(mapped(passages, [(0.5, 0.5)] * COLOURS))
    assert chart is not None
    assert len({group.y for group in chart.groups}) == COLOURS


def test_a_question_stands_nearer_to_what_answers_it_best() -> None:
    passages = [passage(n) for n in range(2)]
    service = mapped(passages, [(0.0, 0.5), (1.0, 0.5)])
    asked = light(service, tuple(Hit(p, 1.0, rank) for rank, p in enumerate(passages, start=1)))
    assert asked is not None
    assert asked.x < SIZE / 2
    assert [hit.rank for hit in asked.hits] == [1, 2]


def test_what_has_no_place_is_not_lit() -> None:
    service = mapped([passage(0)], [(0.1, 0.1)])
    assert light(service, (Hit(passage(7), 1.0, 1),)) is None


def test_an_index_without_places_has_no_map(library: WholeLibrary) -> None:
    assert draw(cast(Service, SimpleNamespace(library=library))) is None


def test_the_small_picture_has_a_point_for_every_dot() -> None:
    chart = draw(mapped([passage(n, "RL") for n in range(3)], PLACES))
    assert chart is not None
    assert chart.groups[0].path.count("M") == 3
