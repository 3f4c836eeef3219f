"""BM25 against an implementation written apart, over the corpus of this repository."""

import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.corpus.load import load
from rag.corpus.split import SplitValues, index_text, split
from rag.index import sparse
from rag.index.library import IndexLibrary, write_library
from rag.index.sparse import RankBM25Retriever, TantivyRetriever, write_terms
from rag.index.terms import terms
from rag.records import Document, Filters, IndexInfo, Paragraph, Passage, Question

CORPUS = Path(__file__).resolve().parents[2] / "corpus"
QUESTIONS = [
    "How much did it cost to match full RL on a 32B model?",
    "which failure hurts GRPO more",
    "sycophancy circuit survives alignment training",
    "zero-days in windows",
    "agents agents memory",
]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], TantivyRetriever, RankBM25Retriever]:
    folder = tmp_path_factory.mktemp("sparse")
    documents = list(load(CORPUS))
    passages = sorted((p for d in documents for p in split(d, SplitValues())), key=lambda p: p.id)
    texts = [index_text(p) for p in passages]
    write_library(documents, passages, folder)
    write_terms(passages, index_text, folder / "bm25")
    library = IndexLibrary(folder, IndexInfo("g", len(passages), "e"))
    return texts, TantivyRetriever(folder / "bm25", library), RankBM25Retriever(texts, library)


def lucene(texts: list[str], question: str) -> list[float]:
    """Lucene's BM25 from the formula, with exact lengths."""
    cut = [Counter(terms(text)) for text in texts]
    average = sum(c.total() for c in cut) / len(cut)
    scores = [0.0] * len(cut)
    for term in terms(question):
        n = sum(term in c for c in cut)
        idf = math.log(1 + (len(cut) - n + 0.5) / (n + 0.5))
        for row, c in enumerate(cut):
            tf = c[term]
            scores[row] += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * c.total() / average)) if tf else 0.0
    return scores


@pytest.mark.parametrize("question", QUESTIONS)
def test_tantivy_scores_as_the_formula_does_but_for_one_byte_lengths(
    engines: tuple[list[str], TantivyRetriever, RankBM25Retriever], question: str
) -> None:
    texts, tantivy, _ = engines
    wanted = sorted(lucene(texts, question), reverse=True)[:10]
    found = [hit.score for hit in tantivy.retrieve(Question(question), 10)]
    assert found == pytest.approx(wanted, rel=0.08)


@pytest.mark.parametrize("question", QUESTIONS)
def test_rank_bm25_agrees_on_the_best_passages(
    engines: tuple[list[str], TantivyRetriever, RankBM25Retriever], question: str
) -> None:
    _, tantivy, oracle = engines
    ours = [hit.passage.id for hit in tantivy.retrieve(Question(question), 10)]
    theirs = [hit.passage.id for hit in oracle.retrieve(Question(question), 10)]
    assert len(set(ours) & set(theirs)) >= 7


@pytest.mark.parametrize("looked_through", [0, 1_000_000])
@pytest.mark.parametrize(
    "filters",
    [
        Filters(kinds=("review", "concept")),
        Filters(episodes=("E026", "E009")),
        Filters(topics=("SECURITY", "no such topic")),
        Filters(kinds=("episode",), since="2026-01-01", until="2026-06-30"),
        Filters(until="1999-12-31"),
    ],
)
def test_a_filter_leaves_of_a_ranking_what_it_says_whether_the_engine_filters_or_we_do(
    engines: tuple[list[str], TantivyRetriever, RankBM25Retriever],
    filters: Filters,
    looked_through: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse, "_LOOKED_THROUGH", looked_through)
    texts, tantivy, oracle = engines
    for question in QUESTIONS:
        every = tantivy.retrieve(Question(question), len(texts))
        allowed = {hit.passage.id for hit in oracle.retrieve(Question(question, filters), len(texts))}
        wanted = [(hit.passage.id, hit.score) for hit in every if hit.passage.id in allowed]
        for k in (3, len(texts)):
            hits = tantivy.retrieve(Question(question, filters), k)
            assert [hit.score for hit in hits] == pytest.approx([score for _, score in wanted[:k]])
            assert [hit.passage.id for hit in hits] == [id for id, _ in wanted[:k]]


def test_a_term_of_most_passages_counts_where_they_are_few_else_only_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Podcast on {word} and {other}." for word in ("yeast", "bread") for other in map(str, range(150))]
    passages = [Passage(f"d/{at:03d}", "d", text, 0, len(text)) for at, text in enumerate(texts)]
    write_library([], passages, tmp_path)
    write_terms(passages, lambda p: p.text, tmp_path / "bm25")
    tantivy = TantivyRetriever(tmp_path / "bm25", IndexLibrary(tmp_path, IndexInfo("g", len(passages), "e")))
    for few, question in ((len(texts), "a podcast on yeast and 17"), (len(texts) - 1, "yeast and 17")):
        monkeypatch.setattr(sparse, "_FEW", few)
        found = tantivy.scores(Question("a podcast on yeast and 17"), 400)
        assert len(found) == sum(score > 0 for score in lucene(texts, question))
        assert [score for _, score in found] == pytest.approx(
            sorted(lucene(texts, question), reverse=True)[: len(found)], rel=0.08
        )
        assert len(tantivy.scores(Question("podcast"), 400)) == len(passages)


def test_idf_is_the_same_from_either(engines: tuple[list[str], TantivyRetriever, RankBM25Retriever]) -> None:
    _, tantivy, oracle = engines
    for term in ("grpo", "agent", "nowher"):
        assert tantivy.idf(term) == pytest.approx(oracle.idf(term))


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A library of one passage that nobody may write to, where any user can reach it."""
    folder = Path(tempfile.mkdtemp())
    text = "Yeast makes gas E001."
    passages = split(Document("reviews/r", "review", "R", text, (Paragraph(0, len(text)),)), SplitValues())
    write_library([], passages, folder)
    write_terms(passages, lambda p: p.text, folder / "bm25")
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in (folder, folder / "bm25"):
        path.chmod(0o755)
    shutil.rmtree(folder)


ASK = """
import os, sys
from pathlib import Path
from rag.index import sparse
from rag.index.library import IndexLibrary
from rag.index.sparse import TantivyRetriever
from rag.index.terms import terms
from rag.records import IndexInfo, Question
folder = Path(sys.argv[1])
library = IndexLibrary(folder, IndexInfo("g", 1, "e"))
terms("imported")  # whoever comes next may not read this environment
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
assert not os.access(folder / "bm25", os.W_OK)
retriever = TantivyRetriever(folder / "bm25", library)
print(retriever.retrieve(Question("yeast"), 1)[0].passage.document, len(os.listdir(os.environ["TMPDIR"])))
"""


def test_an_index_that_may_only_be_read_answers_and_leaves_no_link(read_only: Path) -> None:
    with tempfile.TemporaryDirectory() as links:
        Path(links).chmod(0o777)
        command = [sys.executable, "-c", ASK, str(read_only)]
        environment = {"TMPDIR": links, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["reviews/r", "0"], done.stderr


def test_links_are_removed_though_a_lock_is_written_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links, removed = tmp_path / "links", os.rmdir
    links.mkdir()
    locks = iter([links / ".tantivy-meta.lock"])

    def rmdir(path: str, **directory: int) -> None:
        for lock in locks:
            lock.touch()
        removed(path, **directory)

    monkeypatch.setattr(os, "rmdir", rmdir)
    sparse._remove(links)
    assert not links.exists()


@given(
    st.text(),
    st.lists(st.sampled_from(["1,000", "é", "ﬁ", "Ⅻ", "the", "12,3456", "e\u0301", "Straße", "3.8%", "\U0001d400"])),
)
def test_terms_are_those_of_the_text_without_its_marks_and_thousands(text: str, more: list[str]) -> None:
    text = " ".join([text, *more])
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    assert terms(text) == terms(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain))
