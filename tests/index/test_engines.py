"""One contract for every engine: what the ports say, over the same documents, in a folder and in Milvus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from msgspec import structs

from faults.tiny import tiny_encoder
from lite import dropped, settings_for
from rag.assemble import Service, build_index, open_service
from rag.errors import NotFound
from rag.index.encode import silent
from rag.ports import Retriever
from rag.records import Filters, Passage, Question
from rag.settings import SearchSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("embedded", "milvus")
RETRIEVERS = ("dense", "bm25", "hybrid")
HOSTILE = 'a "b" \\ or born > 0 or kind in ["review"]'
PAGES = {
    "episodes/E001": "id: E001\ntitle: Bread\ndate: 2026-01-05\ntopics: [Bread, 'Größe']",
    "episodes/E002": "id: E002\ntitle: Loss\ndate: 2026-02-10\ntopics: [training]",
    "reviews/one": "title: One\ndate: 2026-03-01\ntopics: [bread, training]",
    "reviews/two": f"title: Two\ntopics: ['{HOSTILE}']",
}
TEXTS = {
    "episodes/E001": "Bread rises because yeast makes gas. The dough doubles in two hours.\n\n"
    "## Later\n\nThe review costs 3.8 hours.",
    "episodes/E002": "A contrastive loss on 50 problems costs $25. It matches full training.",
    "reviews/one": "Yeast and training have little in common E002. The other one rises E001.",
    "reviews/two": "Nothing else is known of the contrastive loss E002.",
}
SAME = 12
QUESTIONS = ("What does the contrastive loss cost?", "yeast makes the dough rise", "3.8 hours", "the same words")
FILTERS = (
    Filters(),
    Filters(kinds=("review",)),
    Filters(kinds=("review", "episode"), episodes=("E001",)),
    Filters(topics=("BREAD",)),
    Filters(topics=("größe", "no such topic")),
    Filters(topics=(HOSTILE,)),
    Filters(since="2026-02-01"),
    Filters(until="2026-02-10", kinds=("episode",)),
    Filters(kinds=('review"] or born > 0 or kind in ["',)),
    Filters(episodes=("E999",)),
)


def write(corpus: Path) -> Path:
    for name, front in PAGES.items():
        path = corpus / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"---\n{front}\n---\n{TEXTS[name]}\n", encoding="utf-8")
    for number in range(SAME):
        path = corpus / f"concepts/same-{number:02d}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("---\ntitle: Same\n---\nThese are the same words of the same loss.\n", encoding="utf-8")
    asked = "questions:\n  - ask: 'how big does my pizza base get?'\n    answer: 'The dough doubles'"
    path = corpus / "episodes/E001.md"
    path.write_text(path.read_text().replace("id: E001", f"id: E001\n{asked}"), encoding="utf-8")
    return corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus"))


def built(settings: Settings) -> Settings:
    with tiny_encoder():
        build_index(settings, rebuild=False, progress=silent, say=lambda _: None, on_bad=None)
    return settings


@pytest.fixture(scope="module")
def embedded(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return built(Settings(corpus=corpus, index=tmp_path_factory.mktemp("index")))


@pytest.fixture(scope="module")
def in_milvus(corpus: Path, tmp_path_factory: pytest.TempPathFactory, milvus_uri: str) -> Iterator[Settings]:
    settings = built(settings_for(milvus_uri, tmp_path_factory.mktemp("milvus"), corpus=corpus))
    yield settings
    dropped(settings)


@pytest.fixture(scope="module", params=ENGINES)
def settings(request: pytest.FixtureRequest) -> Settings:
    name = "embedded" if request.param == "embedded" else "in_milvus"
    chosen: Settings = request.getfixturevalue(name)
    return chosen


@pytest.fixture(scope="module")
def service(settings: Settings) -> Service:
    return open_service(settings)


def retriever_of(settings: Settings, name: str) -> Retriever:
    assert name in get_args(get_type_hints(SearchSettings)["retriever"])
    search = SearchSettings(retriever=name)  # type: ignore[arg-type]
    return open_service(structs.replace(settings, search=search), distinct=False).retriever


@pytest.fixture(scope="module", params=RETRIEVERS)
def retriever(request: pytest.FixtureRequest, settings: Settings) -> Retriever:
    return retriever_of(settings, request.param)


def leaves(filters: Filters, passage: Passage) -> bool:
    """What a filter says, from its own words."""
    date, topics = passage.date or "", {t.casefold() for t in passage.topics}
    return (
        (not filters.kinds or passage.kind in filters.kinds)
        and (not filters.topics or not topics.isdisjoint(t.casefold() for t in filters.topics))
        and (not filters.episodes or not {*filters.episodes}.isdisjoint(passage.episodes))
        and (not filters.since or date >= filters.since)
        and (not filters.until or "" < date <= filters.until)
    )


def test_the_best_come_first_each_once_and_of_equal_ones_the_first_by_id(retriever: Retriever) -> None:
    for text, k in product(QUESTIONS, (1, 3, 10, 100)):
        hits = retriever.retrieve(Question(text), k)
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert len({hit.passage.id for hit in hits}) == len(hits) <= k
        assert all((-a.score, a.passage.id) < (-b.score, b.passage.id) for a, b in pairwise(hits))
        assert hits == retriever.retrieve(Question(text), 100)[:k]


def test_nothing_found_is_an_empty_ranking(retriever: Retriever) -> None:
    assert retriever.retrieve(Question("yeast"), 0) == ()
    assert retriever.retrieve(Question("yeast", Filters(kinds=("no such kind",))), 5) == ()
    if retriever.name == "bm25":
        assert retriever.retrieve(Question("xylophone"), 5) == ()
        assert retriever.retrieve(Question("of the"), 5) == ()


@pytest.mark.parametrize("filters", FILTERS)
def test_a_filter_holds_for_every_hit_and_loses_none_of_the_best(
    retriever: Retriever, filters: Filters, service: Service
) -> None:
    for text in QUESTIONS:
        every = retriever.retrieve(Question(text), len(service.library))
        wanted = [hit.passage.id for hit in every if leaves(filters, hit.passage)]
        found = [hit.passage.id for hit in retriever.retrieve(Question(text, filters), len(service.library))]
        if "hybrid" in retriever.name:  # what is fused are lists, and a filter makes them shorter
            assert set(found) == set(wanted)
        else:
            assert found == wanted


def test_every_engine_finds_the_same(embedded: Settings, in_milvus: Settings) -> None:
    for name, text, filters in product(RETRIEVERS, QUESTIONS, FILTERS):
        ours, theirs = (retriever_of(s, name).retrieve(Question(text, filters), 8) for s in (embedded, in_milvus))
        assert [hit.passage for hit in theirs] == [hit.passage for hit in ours], (name, text, filters)
        assert [hit.found_by for hit in theirs] == [hit.found_by for hit in ours]
        assert [hit.score for hit in theirs] == pytest.approx([hit.score for hit in ours], rel=1e-4)


def test_a_question_that_a_passage_is_said_to_answer_speaks_for_it(settings: Settings) -> None:
    for name in ("dense", "bm25"):
        best = retriever_of(settings, name).retrieve(Question("how big does my pizza base get?"), 1)[0]
        assert best.passage.document == "episodes/E001"
        assert best.passage.sentences[1].asked == ("how big does my pizza base get?",)
        assert name == "bm25" or best.score == pytest.approx(1, abs=1e-5)


def test_every_library_holds_the_same(embedded: Settings, in_milvus: Settings) -> None:
    ours, theirs = (open_service(s).library for s in (embedded, in_milvus))
    assert len(theirs) == len(ours)
    assert sorted(theirs.documents(), key=lambda d: d.id) == list(ours.documents())
    assert sorted(theirs.all_passages(), key=lambda p: p.id) == list(ours.all_passages())
    assert list(theirs.episodes()) == list(ours.episodes()) == ["E001", "E002"]
    assert dict(theirs.citing_counts()) == dict(ours.citing_counts())
    for episode in (*ours.episodes(), "E999"):
        assert theirs.about(episode) == ours.about(episode)
        assert list(theirs.citing(episode)) == list(ours.citing(episode))
    for passage in ours.all_passages():
        for n in (1, 2):
            assert list(theirs.neighbours(passage, n)) == list(ours.neighbours(passage, n))


def test_what_a_library_lacks_is_said(service: Service) -> None:
    with pytest.raises(NotFound, match="no document 'reviews/three'"):
        service.library.document("reviews/three")
    passage = next(service.library.all_passages())
    assert list(service.library.neighbours(replace(passage, id="of another index"))) == []


def test_how_rare_a_term_is_is_the_same_from_every_engine(embedded: Settings, in_milvus: Settings) -> None:
    from rag.index.milvus.retrieve import MilvusSparse
    from rag.index.sparse import TantivyRetriever

    statistics = []
    for settings, kind in ((embedded, TantivyRetriever), (in_milvus, MilvusSparse)):
        sparse = retriever_of(settings, "bm25")
        assert isinstance(sparse, kind)
        statistics.append(sparse)
    ours, theirs = statistics
    for term in ("loss", "yeast", "3.8", "never", ""):
        assert theirs.idf(term) == pytest.approx(ours.idf(term))
    assert theirs.terms("The losses of 3.8%") == ours.terms("The losses of 3.8%") == ["loss", "3.8"]


def test_our_questions_find_the_same_from_every_engine(tmp_path: Path, milvus_uri: str) -> None:
    lines = (ROOT / "evals/questions.jsonl").read_text(encoding="utf-8").splitlines()[::50]
    questions = [json.loads(line)["question"] for line in lines]
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "corpus").rglob("*.md")]
    chosen = Settings(corpus=ROOT / "corpus", index=tmp_path / "index")
    there = settings_for(milvus_uri, tmp_path / "milvus", corpus=ROOT / "corpus")
    for settings in (chosen, there):
        with tiny_encoder((*texts, *questions), 128):
            build_index(settings, rebuild=False, progress=silent, say=lambda _: None, on_bad=None)
    try:
        for name in RETRIEVERS:
            ours, theirs = (retriever_of(settings, name) for settings in (chosen, there))
            shares = []
            for text in questions:
                wanted, found = ({h.passage.id for h in r.retrieve(Question(text), 10)} for r in (ours, theirs))
                shares.append(len(wanted & found) / len(wanted | found) if wanted | found else 1.0)
            assert sum(shares) / len(shares) >= 0.95, name
    finally:
        dropped(there)


def test_answers_are_the_same_from_every_engine(embedded: Settings, in_milvus: Settings) -> None:
    for text in QUESTIONS:
        ours, theirs = (open_service(s).answerer.ask(text) for s in (embedded, in_milvus))
        assert theirs.sentences == ours.sentences
        assert theirs.reason == ours.reason
