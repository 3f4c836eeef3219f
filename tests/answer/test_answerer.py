"""Whatever is chosen, only what its quote supports is shown: over every sentence of the corpus."""

from pathlib import Path

from rag.answer.extract import Candidate, shown
from rag.answer.verify import verify
from rag.corpus.load import load
from rag.corpus.split import SplitValues, split

CORPUS = Path(__file__).resolve().parents[2] / "corpus"


def test_every_sentence_of_the_corpus_stands_up_to_its_own_quote() -> None:
    for document in load(CORPUS):
        for passage in split(document, SplitValues()):
            for sentence in passage.sentences:
                text = shown(Candidate(passage, sentence, 1, 1.0, 1.0, frozenset())).text
                assert verify(text, [sentence.text]).verdict == "supported", text
