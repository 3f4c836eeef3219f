"""What is shown stands up to its quote, and what the corpus lacks is said."""

from pathlib import Path

from fakes import HashedWords
from rag.answer.answerer import Answerer
from rag.answer.extract import Candidate, shown
from rag.answer.verify import verify
from rag.corpus.load import load
from rag.corpus.split import SplitValues, split
from rag.index.library import IndexLibrary, write_library
from rag.index.sparse import RankBM25Retriever
from rag.records import IndexInfo

CORPUS = Path(__file__).resolve().parents[2] / "corpus"


def test_every_sentence_of_the_corpus_stands_up_to_its_own_quote() -> None:
    for document in load(CORPUS):
        for passage in split(document, SplitValues()):
            for sentence in passage.sentences:
                text = shown(Candidate(passage, sentence, 1, 1.0, 1.0, frozenset())).text
                assert verify(text, [sentence.text]).verdict == "supported", text


def test_an_episode_that_is_not_there_is_said_to_be_missing_even_beside_one_that_is(tmp_path: Path) -> None:
    documents = list(load(CORPUS / "episodes" / "E026.md"))
    passages = [p for d in documents for p in split(d, SplitValues())]
    write_library(documents, passages, tmp_path)
    library = IndexLibrary(tmp_path, IndexInfo("g", len(passages), "e"))
    sparse = RankBM25Retriever((p.text for p in passages), library)
    answerer = Answerer(sparse, HashedWords(), sparse, library)
    both = answerer.ask("what do E026 and E999 say about random tokens")
    assert (both.sentences, both.reason) == ((), "the corpus has no episode E999")
    assert both.hits
    alone = answerer.ask("what does E026 say about random tokens")
    assert "Random tokens" in alone.sentences[0].text
