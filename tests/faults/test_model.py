"""A language model's endpoint that fails or lies; tests/answer holds more of either, without a row each."""

from __future__ import annotations

import socket

import pytest

from endpoint import (
    Behaviour,
    drip,
    drips_headers,
    endless,
    endless_bytes,
    endpoint,
    half_event,
    hangs,
    not_sse,
    redirects,
    resets,
    retry_after,
    says,
    status,
)
from fakes import one_episode
from faults.conftest import Record
from rag.answer.answerer import Answerer
from rag.answer.generate import OpenAIGenerator
from rag.evals.drafts import is_founded
from rag.records import Answer

QUESTION = "do random tokens put in at the same places bring a gain in E026"
OWN, DRAFTED = "the corpus's own answer", "what of the draft the corpus supports"


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return one_episode(tmp_path_factory.mktemp("index"), estimating=False)


def served(answerer: Answerer, answer: Answer) -> str:
    """Whose answer it is; each sentence of it stands on the corpus, or the test fails."""
    own = [sentence.text for sentence in answerer.ask(QUESTION).sentences]
    assert answer.sentences
    assert all(is_founded(sentence) for sentence in answer.sentences)
    assert {name for sentence in answer.sentences for name in sentence.citations} == {"E026"}
    if any(sentence.drafted for sentence in answer.sentences):
        return DRAFTED
    assert [sentence.text for sentence in answer.sentences] == own
    return OWN


FAILURES: dict[str, Behaviour] = {
    "hangs before its headers": hangs(),
    "sends headers for ever": drips_headers(),
    "hangs in its stream": hangs("Random"),
    "drips for ever": drip(text="Random"),
    "closes in the middle of JSON": half_event("Random"),
    "resets the connection": resets("Random"),
    "answers 500": status(500),
    "answers 429": retry_after("1"),
    "answers 401": status(401),
    "sends a page of HTML": not_sse("<html>Random</html>"),
    "sends bytes that are no UTF-8": endless_bytes(b"data: \xff\xfe\xfa\n\n"),
    "sends a line without end": endless_bytes(b"x" * 65_536),
    "redirects elsewhere": redirects("http://127.0.0.1:9/v1/chat/completions"),
}


def test_an_endpoint_that_fails(answerer: Answerer, record: Record) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        refuses = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    answer = answerer.ask(QUESTION, generator=OpenAIGenerator(refuses, "m", None, timeout=1, retries=0))
    keep(record, answerer, "refuses the connection", answer)
    for name, behaviour in FAILURES.items():
        with endpoint(behaviour) as there:
            timeout = 0.7 if "hangs" in name or "for ever" in name else 10
            generator = OpenAIGenerator(there.url, "m", None, timeout=timeout, retries=0)
            keep(record, answerer, name, answerer.ask(QUESTION, generator=generator))


def keep(record: Record, answerer: Answerer, name: str, answer: Answer) -> None:
    assert answer.draft is not None, name
    assert answer.draft.failed, name
    record("a model's endpoint", name, sees=answer.draft.failed, lost="the draft", served=served(answerer, answer))


LIES = {
    "changes a number": "{true} by 12%. [E026]",
    "changes an ID": "{true}. [E999]",
    "turns it round": "It is not true that {true}. [E026]",
}


def test_an_endpoint_that_lies(answerer: Answerer, record: Record) -> None:
    true = answerer.ask(QUESTION).sentences[0].text.rstrip(".")
    for name, text in LIES.items():
        with endpoint(says(text.format(true=true))) as there:
            answer = answerer.ask(QUESTION, generator=OpenAIGenerator(there.url, "m", None, timeout=5, retries=0))
        shown = " ".join(sentence.text for sentence in answer.sentences)
        assert not [lie for lie in ("12%", "E999", "not true") if lie in shown], name
        whose = served(answerer, answer)
        drafted = "the sentence, cited as the corpus attributes it"
        sees = {OWN: "the corpus's own answer in its place", DRAFTED: drafted}[whose]
        record("a model that lies", name, sees=sees, lost="the lie", served=whose)


def test_an_endpoint_without_end(answerer: Answerer, record: Record) -> None:
    with endpoint(endless("Random tokens bring a gain of 12%. ")) as there:
        answer = answerer.ask(QUESTION, generator=OpenAIGenerator(there.url, "m", None, timeout=5, retries=0))
    assert "12%" not in " ".join(sentence.text for sentence in answer.sentences)
    record(
        "a model that lies",
        "says the same for ever",
        sees="the corpus's own answer, once it repeats itself",
        lost="the lie",
        served=served(answerer, answer),
    )
