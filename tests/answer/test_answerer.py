"""What is shown stands up to its quote, and what the corpus lacks is said."""

from pathlib import Path

from fakes import CORPUS, one_episode
from rag.answer.extract import Candidate, shown
from rag.answer.verify import verify
from rag.corpus.load import load
from rag.corpus.split import SplitValues, split


def test_every_sentence_of_the_corpus_stands_up_to_its_own_quote() -> None:
    for document in load(CORPUS):
        for passage in split(document, SplitValues()):
            for sentence in passage.sentences:
                text = shown(Candidate(passage, sentence, 1, 1.0, 1.0, frozenset())).text
                assert verify(text, [sentence.text]).verdict == "supported", text


def test_an_episode_that_is_not_there_is_said_to_be_missing_even_beside_one_that_is(tmp_path: Path) -> None:
    answerer = one_episode(tmp_path, estimating=False)
    both = answerer.ask("what do E026 and E999 say about random tokens")
    assert (both.sentences, both.reason) == ((), "the corpus has no episode E999")
    assert both.hits
    alone = answerer.ask("what does E026 say about random tokens")
    assert "Random tokens" in alone.sentences[0].text


def test_every_answer_has_a_confidence_where_one_is_estimated(tmp_path: Path) -> None:
    answerer = one_episode(tmp_path, estimating=True)
    told = answerer.ask("do random tokens put in at the same places bring a gain in E026")
    absent = answerer.ask("how much did random tokens cost")
    unknown = answerer.ask("what does E999 say about random tokens")
    assert not told.abstained
    assert absent.abstained
    assert unknown.abstained
    assert (told.confidence or 0) > (absent.confidence or 0) > (unknown.confidence or 0) == 0.0
    (other := tmp_path / "other").mkdir()
    assert one_episode(other, estimating=False).ask("random tokens").confidence is None
