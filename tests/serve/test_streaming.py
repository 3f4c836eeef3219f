"""Answers as they come, over real sockets."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from httpx_sse import connect_sse

from fakes import Writes, one_episode
from live import eventually, live
from rag.answer.answerer import Answerer
from rag.assemble import Service
from rag.corpus.markers import DEFAULT_PATTERN
from rag.errors import BackendFailed
from rag.ports import Retriever
from rag.records import Event
from rag.serve.app import create_app
from rag.serve.models import AnswerOut

QUESTION = "do random tokens put in at the same places bring a gain in E026"


@dataclass
class Watched:
    """An answerer whose streams can be held up, made to fail, and seen to end."""

    inner: Answerer
    held: threading.Event = field(default_factory=threading.Event)
    fails: Exception | None = None
    started: int = 0
    stopped: int = 0
    asked: dict[str, Any] = field(default_factory=dict)

    def ask(self, *arguments: Any, **options: Any) -> Any:
        return self.inner.ask(*arguments, **options)

    def stream(self, *arguments: Any, stop: Callable[[], bool] = lambda: False, **options: Any) -> Iterator[Event]:
        self.started += options["generator"] is not None
        self.asked = options
        events = self.inner.stream(*arguments, stop=stop, **options)
        yield next(events)
        if options["generator"] is not None:
            while not self.held.is_set():
                if stop():
                    self.stopped += 1
                    return
                time.sleep(0.01)
        if self.fails:
            raise self.fails
        yield from events


@dataclass(frozen=True)
class Server:
    url: str
    answerer: Watched

    def events(self, **body: Any) -> list[tuple[str, Any]]:
        with (
            httpx.Client(timeout=20) as client,
            connect_sse(client, "POST", f"{self.url}/v1/ask", json={"stream": True, **body}) as source,
        ):
            return [(event.event, event.json()) for event in source.iter_sse()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    answerer = Watched(one_episode(tmp_path, estimating=False))
    library = answerer.inner._library
    service = Service(
        library,  # type: ignore[arg-type]
        cast(Retriever, None),
        cast(Answerer, answerer),
        DEFAULT_PATTERN,
        generator=Writes("Bananas cost $3.\n", "Random tokens put in at the same places bring no gain [E999]."),
    )
    app = create_app(lambda: service, drafts=1)
    with live(app) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        yield Server(url, answerer)


def test_an_answer_comes_as_hits_sentences_and_the_whole(server: Server) -> None:
    (first, hits), *sentences, (last, done) = server.events(question=QUESTION)
    assert (first, last) == ("hits", "done")
    assert {name for name, _ in sentences} == {"sentence"}
    assert [sentence for _, sentence in sentences] == done["sentences"]
    assert hits["hits"] == done["hits"]
    assert (hits["question"], hits["standalone"]) == (QUESTION, None)
    AnswerOut.model_validate(done)
    plain = httpx.post(f"{server.url}/v1/ask", json={"question": QUESTION}).json()
    assert plain | {"timings_ms": 0} == done | {"timings_ms": 0}


def test_a_draft_comes_as_it_passes_and_what_is_dropped_says_only_why(server: Server) -> None:
    server.answerer.held.set()
    events = server.events(question=QUESTION, generator="llm")
    names = [name for name, _ in events]
    assert names[:2] == ["hits", "dropped"]
    assert set(events[1][1]) == {"objection"}
    assert "Bananas" not in json.dumps(events)
    assert "E999" not in json.dumps([value for name, value in events if name == "sentence"])
    assert events[-1][1]["draft"]["dropped"] >= 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"question": " "}, 422),
        ({"question": QUESTION, "filters": {"episodes": ["E777"]}}, 400),
        ({"question": QUESTION, "generator": "gpt"}, 422),
        ({"question": QUESTION, "history": [{"question": "x"}] * 21}, 422),
        ({"question": QUESTION, "stream": "yes"}, 422),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_streamed(
    server: Server, body: dict[str, Any], status: int
) -> None:
    response = httpx.post(f"{server.url}/v1/ask", json={"stream": True, **body})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "detail"),
    [(BackendFailed("the disk is gone"), "the disk is gone"), (RuntimeError("secret"), "something went wrong here")],
)
def test_a_stream_that_breaks_off_ends_with_an_error(server: Server, error: Exception, detail: str) -> None:
    server.answerer.held.set()
    server.answerer.fails = error
    name, value = server.events(question=QUESTION, generator="llm")[-1]
    assert name == "error"
    assert value["detail"].startswith(detail)
    assert "secret" not in json.dumps(value)


@pytest.mark.parametrize("stream", [True, False])
def test_a_reader_who_leaves_stops_the_model(server: Server, stream: bool) -> None:
    body = {"question": QUESTION, "generator": "llm", "stream": stream}
    with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.3) as client:
        client.post(f"{server.url}/v1/ask", json=body)
    eventually(lambda: server.answerer.stopped == 1, seconds=2)


def test_a_silent_stream_is_kept_open_by_comments(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.serve.streaming.HEARTBEAT", 0.05)
    body = {"question": QUESTION, "generator": "llm", "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/ask", json=body) as response:
        for line in response.iter_lines():
            if line.startswith(":"):
                server.answerer.held.set()
            if line == "event: done":
                break
        else:
            raise AssertionError("the stream ended early")


def test_a_draft_that_takes_its_time_holds_up_neither_other_questions_nor_health(server: Server) -> None:
    body = {"question": QUESTION, "generator": "llm", "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/ask", json=body):  # never read
        eventually(lambda: server.answerer.started == 1)
        with httpx.stream("POST", f"{server.url}/v1/ask", json=body):  # waits for its turn
            for _ in range(3):
                assert httpx.post(f"{server.url}/v1/ask", json={"question": QUESTION}).status_code == 200
                assert httpx.get(f"{server.url}/healthz").status_code == 200
            assert server.answerer.started == 1


def test_a_conversation_and_the_generator_reach_the_answerer(server: Server) -> None:
    history = [{"question": "what is E026 about", "answer": "Tokens. [E026]"}]
    assert server.events(question=QUESTION, history=history, generator="extractive")[-1][0] == "done"
    [turn] = server.answerer.asked["history"]
    assert (turn.question, turn.answer) == ("what is E026 about", "Tokens. [E026]")
    assert server.answerer.asked["generator"] is None


def test_without_a_language_model_asking_for_one_says_what_to_set(tmp_path: Path) -> None:
    answerer = one_episode(tmp_path, estimating=False)
    service = Service(answerer._library, cast(Retriever, None), answerer, DEFAULT_PATTERN)  # type: ignore[arg-type]
    with live(create_app(lambda: service)) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        response = httpx.post(f"{url}/v1/ask", json={"question": QUESTION, "generator": "llm"})
        assert response.status_code == 400
        assert "RAG_LLM_BASE_URL" in response.json()["detail"]
        service_by_default = replace(service, by_default="llm")
        with pytest.raises(Exception, match="no language model"):
            service_by_default.drafter()
