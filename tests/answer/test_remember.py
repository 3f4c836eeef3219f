"""Answers that are kept: the same as those that are made, and only for the same question of the same index."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import Writes, one_episode
from faults.tiny import AFTER, ANSWER, NEW_ANSWER, QUESTION, build_tiny, write_corpus
from live import eventually, live
from rag.answer.answerer import Answerer
from rag.answer.remember import RememberingAnswerer
from rag.assemble import index_token, open_service
from rag.ports import Retriever
from rag.records import Answer, Filters, Question, Ranking, Turn
from rag.serve.app import create_app
from rag.settings import Settings

ASKED = "do random tokens bring a gain"


class Counting:
    """A retriever that counts how often it is asked."""

    name = "counting"

    def __init__(self, inner: Retriever) -> None:
        self._inner, self.asked = inner, 0

    def retrieve(self, question: Question, k: int) -> Ranking:
        self.asked += 1
        return self._inner.retrieve(question, k)


Pair = tuple[RememberingAnswerer, Counting, Answerer]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """One that keeps two answers, what it asks, and one like it that keeps none."""
    plain = one_episode(tmp_path, estimating=False)
    counting = Counting(plain._retriever)
    inner = counting, plain._encoder, plain._statistics, plain._library
    return RememberingAnswerer(*inner, most=2), counting, plain


def untimed(answer: Answer) -> dict[str, object]:
    return {name: getattr(answer, name) for name in Answer.__slots__ if name != "timings_ms"}


@pytest.mark.parametrize("question", [ASKED, "who won the cup in 1966", "what does E999 say"])
def test_what_is_kept_is_what_would_be_made(pair: Pair, question: str) -> None:
    keeping, counting, plain = pair
    made, kept = keeping.ask(question), keeping.ask(question)
    assert counting.asked == 1
    assert untimed(made) == untimed(kept) == untimed(plain.ask(question))
    assert set(made.timings_ms) == {"retrieve", "answer", "total"}
    assert set(kept.timings_ms) == {"total"}
    assert [type(event) for event in keeping.stream(question)] == [type(event) for event in plain.stream(question)]
    assert (keeping.hits, keeping.misses) == (2, 1)


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda answerer: answerer.ask(f"{ASKED}?"),
        lambda answerer: answerer.ask(ASKED, 3),
        lambda answerer: answerer.ask(ASKED, filters=Filters(kinds=("review",))),
        lambda answerer: answerer.ask(ASKED, history=[Turn("what did E026 cost", "$25")]),
    ],
)
def test_what_is_asked_otherwise_is_answered_for_itself(pair: Pair, otherwise: Callable[[Answerer], Answer]) -> None:
    keeping, counting, plain = pair
    keeping.ask(ASKED)
    assert untimed(otherwise(keeping)) == untimed(otherwise(plain))
    assert counting.asked == 2


def test_a_model_drafts_anew_each_time(pair: Pair) -> None:
    keeping, _, _ = pair
    keeping.ask(ASKED)
    model = Writes("Random tokens bring no gain. [E026]")
    for times in (1, 2):
        assert keeping.ask(ASKED, generator=model).draft
        assert len(model.told) == times
    assert keeping.ask(ASKED).draft is None


def test_an_answer_that_was_broken_off_is_not_kept(pair: Pair) -> None:
    keeping, counting, _ = pair
    broken: Any = keeping.stream(ASKED)
    next(broken)
    broken.close()
    assert not any(isinstance(event, Answer) for event in keeping.stream(ASKED, stop=lambda: True))
    assert keeping.ask(ASKED).sentences
    assert counting.asked == 3


def test_the_least_lately_asked_leaves_first(pair: Pair) -> None:
    keeping, counting, _ = pair
    for question in ("a gain", "tokens", "a gain", "places", "a gain"):
        keeping.ask(question)
    assert counting.asked == 3
    keeping.ask("tokens")
    assert counting.asked == 4


def test_a_new_index_begins_with_none(tmp_path: Path) -> None:
    corpus, settings = tmp_path / "corpus", Settings(index=tmp_path / "index")
    build_tiny(write_corpus(corpus), settings.index)
    app = create_app(partial(open_service, settings, answers=8), partial(index_token, settings))
    with live(app) as url, httpx.Client(base_url=url) as client:
        eventually(lambda: client.get("/readyz").is_success)

        def asked() -> tuple[str, set[str]]:
            found = client.post("/v1/ask", json={"question": QUESTION}).json()
            return found["sentences"][0]["text"], set(found["timings_ms"])

        assert asked() == (ANSWER, {"retrieve", "answer", "total"})
        assert asked() == (ANSWER, {"total"})
        build_tiny(write_corpus(corpus, AFTER), settings.index)
        eventually(lambda: asked()[0] == NEW_ANSWER)
        assert asked() == (NEW_ANSWER, {"total"})
