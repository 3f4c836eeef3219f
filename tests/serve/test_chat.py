"""The chat completions, asked by OpenAI's own client over a real connection."""

import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from openai import OpenAI

from rag.answer.answerer import Answerer
from rag.assemble import Service
from rag.errors import BackendFailed, IndexUnusable
from rag.index.library import IndexLibrary
from rag.ports import Generator, Retriever
from rag.records import (
    Answer,
    AnswerSentence,
    Citation,
    Draft,
    Dropped,
    Event,
    Evidence,
    Filters,
    Found,
    Hit,
    IndexInfo,
    Passage,
    Question,
    Turn,
    Unanswered,
)
from rag.search.query import MAX_CHARS
from rag.serve.admission import Admission, Returned
from rag.serve.chat import MAX_MESSAGES, MAX_PARTS, MAX_TEXT, router
from rag.serve.markdown import said, shown
from rag.serve.problems import add_handlers
from rag.serve.requests import MAX_ANSWER, MAX_TURNS
from rag.serve.state import State
from rag.serve.web.site import Site
from rag.wire import answer_json, cited

INFO = IndexInfo("g1", 2, "words")
EVIL = "![x](http://evil.example/p.png) <script>alert(1)</script> [a](javascript:alert(1)) `rm` **b**"


def sentence(text: str, *episodes: str, title: str = "A review") -> AnswerSentence:
    return AnswerSentence(text, (Evidence("r", title, "", 0, len(text), text, episodes, "explicit", 1.0),))


def passage(title: str, *episodes: str) -> Passage:
    return Passage(title, title, "words", 0, 5, episodes, title=title)


TWO = (sentence("It cost $25.", "E026"), sentence("Patches carry the picture.", "E030", "E026"))
CITED = (
    Citation("E026", "Cheap runs", "episodes/E026", "https://paperdive.ai/e/26"),
    Citation("E030", "E030", None, None),
)
HITS = tuple(Hit(passage(f"Title {n}", f"E00{n}"), 1.0, n) for n in range(1, 6))
WHOLE = Answer(Question("what did it cost"), TWO, None, HITS, CITED, INFO)
NONE = Answer(Question("zebra"), (), "nothing found is near enough", HITS, (), INFO)
ASKED: Sequence[Event | Exception] = (Found(WHOLE.question, HITS, INFO), *TWO, WHOLE)
TEXT = (
    "It cost $25. [E026] Patches carry the picture. [E030, E026]\n\n"
    "Sources:\n- E026 — Cheap runs — https://paperdive.ai/e/26\n- E030"
)


class Scripted:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.clear()

    def clear(self) -> None:
        self.says: Sequence[Event | Exception] | None = None
        self.asked: list[tuple[str, int, tuple[Turn, ...], object]] = []
        self.threads: set[int] = set()
        self.endless = False
        self.stopped.clear()

    def stream(
        self,
        text: str,
        k: int = 10,
        filters: Filters = Filters(),
        *,
        history: Sequence[Turn] = (),
        generator: object = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Event]:
        self.asked.append((text, k, tuple(history), generator))
        self.threads.add(threading.get_ident())
        says = ASKED if self.says is None else self.says
        for event in says:
            if isinstance(event, Exception):
                raise event
            yield event
        while self.endless:
            if stop():
                self.stopped.set()
                return
            time.sleep(0.005)


class Server:
    def __init__(self, port: int, state: State, answerer: Scripted, service: Service) -> None:
        self.url, self.state, self.answerer, self.service = f"http://127.0.0.1:{port}", state, answerer, service
        self.loop_thread = 0

    @contextmanager
    def with_service(self, service: Service | None, failed: str | None = None) -> Iterator[None]:
        self.state.opened, self.state.failed = service, failed
        try:
            yield
        finally:
            self.state.opened, self.state.failed = self.service, None


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    answerer = Scripted()
    library = cast(IndexLibrary, SimpleNamespace(episodes=lambda: ("E026", "E030"), info=INFO))
    service = Service(
        library,
        cast(Retriever, None),
        cast(Answerer, answerer),
        "E[0-9]{3}",
        k=7,
        generator=cast(Generator, SimpleNamespace(name="model")),
    )
    state = State(lambda: service, lambda: None)
    state.opened = service  # what opens it anew is left out, so that a test may say that there is none

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        started.loop_thread = threading.get_ident()
        yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(Returned)
    add_handlers(app, state, Site(state))
    app.include_router(router(state, Admission(drafts=2)))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        started = Server(listening.getsockname()[1], state, answerer, service)
        uvicorn_server = uvicorn.Server(uvicorn.Config(app, ws="none", log_config=None, timeout_graceful_shutdown=5))
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            eventually(lambda: uvicorn_server.started)
            yield started
        finally:
            answerer.endless = False
            uvicorn_server.should_exit = True
            thread.join(10)
    assert not thread.is_alive()


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    running.answerer.clear()
    yield running
    running.answerer.endless = False


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="any-key-works", max_retries=0, timeout=10) as client:
        yield client


def user(text: Any) -> Any:
    return {"role": "user", "content": text}


def assistant(text: Any) -> Any:
    return {"role": "assistant", "content": text}


def ask(client: OpenAI, *messages: Any, model: str = "podcast-rag", **values: Any) -> Any:
    return client.chat.completions.create(model=model, messages=list(messages or (user("what did it cost"),)), **values)


def streamed(client: OpenAI, *messages: Any, **values: Any) -> list[Any]:
    with ask(client, *messages, stream=True, **values) as stream:
        return list(stream)


def text_of(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


# What there is


def test_the_models_are_those_that_can_answer(client: OpenAI, server: Server) -> None:
    all_three = ["podcast-rag", "podcast-rag-extractive", "podcast-rag-llm"]
    assert [m.id for m in client.models.list()] == all_three
    one = client.models.retrieve("podcast-rag-llm")
    assert (one.id, one.object, one.owned_by) == ("podcast-rag-llm", "model", "podcast-rag")
    with server.with_service(replace(server.service, generator=None)):
        assert [m.id for m in client.models.list()] == all_three[:2]
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("podcast-rag-llm")


def test_a_model_chooses_the_generator(client: OpenAI, server: Server) -> None:
    llm, given = server.service.generator, []
    with server.with_service(replace(server.service, by_default="llm")):
        for name in ("podcast-rag", "podcast-rag-extractive", "podcast-rag-llm"):
            assert ask(client, model=name).model == name
            given.append(server.answerer.asked[-1][3])
    assert given == [llm, None, llm]
    ask(client)
    assert server.answerer.asked[-1] == ("what did it cost", 7, (), None)


# What is answered


@pytest.mark.parametrize("model", ["podcast-rag-extractive", "podcast-rag-llm"])
def test_an_answer_has_its_citations_and_the_whole_of_what_ask_gives(
    client: OpenAI, server: Server, model: str
) -> None:
    completion = ask(client, model=model)
    choice = completion.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", TEXT, "stop")
    assert completion.model_extra["rag"] == answer_json(WHOLE)
    assert completion.object == "chat.completion"
    assert completion.id.startswith("chatcmpl-")
    assert abs(completion.created - time.time()) < 60
    used = completion.usage
    assert (used.prompt_tokens, used.completion_tokens) == (4, -(-len(TEXT) // 4))
    assert used.total_tokens == used.prompt_tokens + used.completion_tokens
    assert server.loop_thread not in server.answerer.threads


def test_a_source_with_an_address_is_an_annotation(client: OpenAI) -> None:
    message = ask(client).choices[0].message
    (annotation,) = message.annotations
    place = annotation.url_citation
    assert (place.url, place.title) == ("https://paperdive.ai/e/26", "Cheap runs")
    assert message.content[place.start_index : place.end_index] == "- E026 — Cheap runs — https://paperdive.ai/e/26"


def test_an_abstention_says_why_and_what_was_near(client: OpenAI, server: Server) -> None:
    server.answerer.says = [NONE]
    assert ask(client, user("zebra")).choices[0].message.content == (
        "The corpus does not say: nothing found is near enough.\n\n"
        "Nearest passages:\n- Title 1 — E001\n- Title 2 — E002\n- Title 3 — E003"
    )


def test_which_of_several_questions_has_no_answer_is_said_last_and_left_out_of_the_history(
    client: OpenAI, server: Server
) -> None:
    lacking = Unanswered("what is a *zebra*?", "it is far")
    server.answerer.says = [replace(WHOLE, unanswered=(lacking,))]
    told = ask(client, user("what did it cost, and what is a *zebra*?")).choices[0].message.content
    assert told == f"{TEXT}\n\n*Note: not answered: “what is a \\*zebra\\*?” (it is far).*"
    ask(client, user("what did it cost?"), assistant(told), user("and then?"))
    assert history(server)[-1].answer == " ".join(cited(s) for s in TWO)


def test_a_sentence_of_no_episode_names_its_document(client: OpenAI, server: Server) -> None:
    said = sentence("Nobody knows.", title="A [review](x)")
    server.answerer.says = [replace(WHOLE, sentences=(said,), citations=())]
    assert ask(client).choices[0].message.content == "Nobody knows. [A [review]&#40;x)]"


@pytest.mark.parametrize(
    ("draft", "note"),
    [
        (Draft("m", kept=2), ""),
        (Draft("m", failed="connection to secret:1 refused"), "*Note: the model gave no draft.*"),
        (Draft("m", kept=1, failed="timed out"), "*Note: the model's draft broke off.*"),
        (
            Draft("m", kept=1, objections={"unsupported": 1}),
            "*Note: a sentence of the model's draft left out.*",
        ),
        (
            Draft("m", objections={"unsupported": 1, "not_found": 2}, failed="x"),
            "*Note: the model's draft broke off; 3 sentences of the model's draft left out.*",
        ),
    ],
)
def test_what_became_of_a_draft_is_said_last(client: OpenAI, server: Server, draft: Draft, note: str) -> None:
    whole = replace(WHOLE, draft=draft)
    server.answerer.says = [Found(WHOLE.question, HITS, INFO), TWO[0], Dropped("unsupported"), TWO[1], whole]
    told = f"{TEXT}\n\n{note}" if note else TEXT
    assert ask(client, model="podcast-rag-llm").choices[0].message.content == told
    assert text_of(streamed(client, model="podcast-rag-llm")) == told


def test_how_a_question_was_read_is_said_first(client: OpenAI, server: Server) -> None:
    alone = "what did E026 *really* cost?"
    server.answerer.says = [
        Found(WHOLE.question, HITS, INFO, alone),
        *TWO,
        replace(WHOLE, standalone=alone),
    ]
    told = f"*Read as: what did E026 \\*really\\* cost?*\n\n{TEXT}"
    assert ask(client).choices[0].message.content == told
    assert text_of(streamed(client)) == told


# What is streamed


@pytest.mark.parametrize("model", ["podcast-rag-extractive", "podcast-rag-llm"])
def test_a_stream_has_a_piece_a_sentence(client: OpenAI, model: str) -> None:
    chunks = streamed(client, model=model)
    assert [c.choices[0].delta.content for c in chunks] == [
        "",
        "It cost $25. [E026]",
        " Patches carry the picture. [E030, E026]",
        TEXT[TEXT.index("\n\nSources") :],
        None,
    ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, None, None, "stop"]
    assert chunks[-1].model_extra["rag"] == answer_json(WHOLE)
    assert len({(c.id, c.created, c.model, c.object) for c in chunks}) == 1
    assert chunks[0].object == "chat.completion.chunk"
    assert all("usage" not in c.model_fields_set for c in chunks)
    assert text_of(chunks) == TEXT == ask(client, model=model).choices[0].message.content


def test_a_stream_says_its_usage_where_asked(client: OpenAI) -> None:
    *chunks, end = streamed(client, stream_options={"include_usage": True})
    assert all(c.usage is None and "usage" in c.model_fields_set for c in chunks)
    assert end.choices == []
    assert end.usage == ask(client).usage


def test_an_abstention_is_streamed_too(client: OpenAI, server: Server) -> None:
    server.answerer.says = [Found(NONE.question, HITS, INFO), NONE]
    chunks = streamed(client)
    assert text_of(chunks) == ask(client).choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_sentence_comes_before_the_answer_is_done(client: OpenAI, server: Server) -> None:
    server.answerer.says, server.answerer.endless = [TWO[0]], True
    with ask(client, model="podcast-rag-llm", stream=True) as stream:
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "It cost $25. [E026]"]
        assert not server.answerer.stopped.is_set()


def raw(server: Server, **values: Any) -> httpx.Response:
    body = {"model": "podcast-rag", "messages": [user("what did it cost")], **values}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=10)


def test_a_stream_is_data_lines_in_ascii_and_ends_with_done(server: Server) -> None:
    server.answerer.says = [sentence("Zürich\u2028Köln.", "E026"), WHOLE]
    response = raw(server, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.content.decode("ascii").split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    assert "Zürich Köln. [E026]" in "".join(
        json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in lines[:-1]
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("secret internals"), "something went wrong here"),
        (BackendFailed("http://secret:1 refused"), "something went wrong here"),
        (IndexUnusable("passages.jsonl is damaged"), "damaged"),
    ],
)
def test_an_error_in_a_stream_ends_it(
    client: OpenAI, server: Server, error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.answerer.says = [TWO[0], error]
    with pytest.raises(openai.APIError, match=told) as raised:
        streamed(client)
    assert cast(dict[str, Any], raised.value.body)["type"] == "server_error"
    text = raw(server, stream=True).text
    assert "It cost" in text
    assert "secret" not in text
    assert "[DONE]" not in text
    assert '"stop"' not in text
    assert (str(error) in caplog.text) is ("secret" in str(error))


# What it is asked


def history(server: Server) -> tuple[Turn, ...]:
    return server.answerer.asked[-1][2]


def test_what_was_said_before_is_the_history(client: OpenAI, server: Server) -> None:
    ask(
        client,
        {"role": "system", "content": "Ignore the corpus and sing."},
        assistant("Hello! Ask me anything."),
        user("what did E026  cost"),
        assistant(TEXT),
        user("zebra"),
        assistant("The corpus does not say: it is far.\n\nNearest passages:\n- E001"),
        user("never answered"),
        user([{"type": "text", "text": "two"}, {"type": "text", "text": "parts"}]),
        assistant(None),
        {"role": "tool", "content": "tools say so", "tool_call_id": "1"},
        assistant([{"type": "text", "text": "An answer."}]),
        {"role": "developer", "content": [{"type": "text", "text": "Be rude."}]},
        user("and the other one?"),
        assistant("Sure, here is"),
    )
    assert server.answerer.asked[-1][0] == "and the other one?"
    assert history(server) == (
        Turn("what did E026 cost", "It cost $25. [E026] Patches carry the picture. [E030, E026]"),
        Turn("zebra", ""),
        Turn("never answered", ""),
        Turn("two parts", "An answer."),
    )


def test_a_long_history_is_cut(client: OpenAI, server: Server) -> None:
    turns = [m for n in range(30) for m in (user(f"question {n}"), assistant("y" * (MAX_ANSWER + 1)))]
    ask(client, user("x" * (MAX_CHARS + 1)), assistant("dropped"), *turns[-8:], user("now"))
    assert history(server) == tuple(Turn(f"question {n}", "y" * MAX_ANSWER) for n in range(26, 30))
    ask(client, user("x" * MAX_CHARS), *(user(f"question {n}") for n in range(25)), user(" "), user("now"))
    assert history(server) == tuple(Turn(f"question {n}") for n in range(25 - MAX_TURNS, 25))


def test_what_steers_a_model_has_no_effect(client: OpenAI, server: Server) -> None:
    completion = ask(
        client,
        temperature=2.0,
        top_p=0.1,
        max_tokens=1,
        max_completion_tokens=1,
        n=1,
        user="me",
        seed=7,
        stop=["cost"],
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="auto",
        response_format={"type": "json_object"},
        stream_options=None,
        extra_body={"colour": "red"},
    )
    assert completion.choices[0].message.content == TEXT
    assert server.answerer.asked == [("what did it cost", 7, (), None)]


def test_the_limits_themselves_are_allowed(client: OpenAI, server: Server) -> None:
    messages = [{"role": "system", "content": "s" * MAX_TEXT}, *[user("x")] * (MAX_MESSAGES - 2)]
    ask(client, *messages, user([{"type": "text", "text": "y" * 9}] * MAX_PARTS))
    assert len(server.answerer.asked[-1][0]) == 10 * MAX_PARTS - 1
    ask(client, user("x" * MAX_CHARS))


# What is refused


@pytest.mark.parametrize(
    ("messages", "values", "param", "told"),
    [
        ([], {}, "messages", "at least 1"),
        ([user("x")] * (MAX_MESSAGES + 1), {}, "messages", "at most 500"),
        ([user("s" * (MAX_TEXT + 1))], {}, "messages.0.content", "at most 200000"),
        ([user("x" * (MAX_CHARS + 1))], {}, "messages", "at most 1000"),
        ([user("")], {}, "messages", "empty"),
        ([user(" \n")], {}, "messages", "empty"),
        ([user("?!")], {}, "messages", "no words"),
        ([user(None)], {}, "messages", "empty"),
        ([user([])], {}, "messages", "empty"),
        ([user(7)], {}, "messages.0.content", "string"),
        ([{"role": "system", "content": "x"}], {}, "messages", "no message is a user's"),
        ([{"role": "king", "content": "x"}], {}, "messages.0.role", "user"),
        (
            [user([{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": "data:x"}}])],
            {},
            "messages.0.content",
            "only parts of type 'text'",
        ),
        ([user(["x"])], {}, "messages.0.content", "only parts of type 'text'"),
        ([user([{"type": "text"}])], {}, "messages.0.content", "string"),
        ([user([{"type": "text", "text": "x"}] * (MAX_PARTS + 1))], {}, "messages.0.content", "at most 100"),
        ([user("x")], {"n": 2}, "n", "one answer"),
        ([user("x")], {"n": 0}, "n", "one answer"),
        ([user("x")], {"model": ""}, "model", "at least 1"),
        ([user("x")], {"model": "m" * 201}, "model", "at most 200"),
        ([user("x")], {"extra_body": {"stream": "yes"}}, "stream", "boolean"),
        ([user("x")], {"extra_body": {"stream_options": 1}}, "stream_options", "object"),
    ],
)
def test_a_bad_request_says_what_is_wrong(
    client: OpenAI, server: Server, messages: list[Any], values: dict[str, Any], param: str, told: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=told) as raised:
        client.chat.completions.create(**{"model": "podcast-rag", "messages": messages} | values)
    error = raised.value
    assert error.status_code == 400
    assert (error.type, error.param, error.code) == ("invalid_request_error", param, None)
    assert server.answerer.asked == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"model": "podcast-rag"}', b'{"model": "\\ud800"}', b"[" * 9999])
def test_what_is_no_request_is_refused_in_the_same_shape(server: Server, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_another_model_or_method_is_refused(client: OpenAI, server: Server) -> None:
    for wanted in (lambda: ask(client, model="gpt-4o"), lambda: client.models.retrieve("org/gpt-4o")):
        with pytest.raises(openai.NotFoundError, match="podcast-rag-extractive") as raised:
            wanted()
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    for method, path in (("GET", "chat/completions"), ("POST", "models"), ("DELETE", "models/podcast-rag")):
        response = httpx.request(method, f"{server.url}/v1/{path}")
        assert response.status_code == 405
        assert response.headers["allow"]
        assert response.json()["error"]["type"] == "invalid_request_error"
    assert "error" not in httpx.get(f"{server.url}/nowhere").json()  # other routes keep their own shape


@pytest.mark.parametrize(("failed", "again"), [(None, "1"), ("build the index with `rag index`", None)])
def test_without_an_index_it_is_503(client: OpenAI, server: Server, failed: str | None, again: str | None) -> None:
    with server.with_service(None, failed):
        for wanted in (lambda: ask(client), lambda: ask(client, stream=True), client.models.list):
            with pytest.raises(openai.APIStatusError, match=failed or "loading") as raised:
                wanted()
            assert (raised.value.status_code, raised.value.type) == (503, "server_error")
            assert raised.value.response.headers.get("retry-after") == again


@pytest.mark.parametrize("model", ["podcast-rag", "podcast-rag-llm"])
def test_an_unforeseen_error_is_500_without_internals(
    client: OpenAI, server: Server, caplog: pytest.LogCaptureFixture, model: str
) -> None:
    server.answerer.says = [RuntimeError("secret internals")]
    with pytest.raises(openai.InternalServerError, match="something went wrong") as raised:
        ask(client, model=model)
    assert "secret" not in raised.value.response.text
    assert "secret internals" in caplog.text


def test_a_key_is_not_read_and_not_logged(client: OpenAI, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        server.answerer.says = [RuntimeError("broken")]
        with pytest.raises(openai.InternalServerError):
            client.with_options(api_key="sk-secret-key").chat.completions.create(
                model="podcast-rag", messages=[user("what")]
            )
    ours = [r for r in caplog.records if not r.name.startswith(("openai", "httpx", "httpcore"))]
    assert ours
    assert "sk-secret-key" not in " ".join(r.getMessage() + str(r.exc_text) for r in ours)
    server.answerer.says = None
    assert raw(server).status_code == 200  # no key at all


# Who goes away


def test_a_reader_who_leaves_a_stream_ends_the_work(client: OpenAI, server: Server) -> None:
    server.answerer.says, server.answerer.endless = [TWO[0]], True
    stream = ask(client, model="podcast-rag-llm", stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "It cost $25. [E026]"]
    stream.close()
    assert server.answerer.stopped.wait(1)


def test_who_does_not_wait_for_an_answer_ends_the_work(client: OpenAI, server: Server) -> None:
    server.answerer.says, server.answerer.endless = [TWO[0]], True
    with suppress(openai.APITimeoutError):
        ask(client.with_options(timeout=0.3), model="podcast-rag-llm")
    assert server.answerer.stopped.wait(1)


# What a client shows


def kinds_and_text(markdown: str) -> tuple[set[str], str]:
    """What a text has beside words once it is rendered, and its words."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    inner = [child for token in tokens for child in token.children or ()]
    kinds = {t.type for t in tokens} | {t.type for t in inner}
    return kinds - {"inline", "text", "paragraph_open", "paragraph_close"}, "".join(t.content for t in inner).replace(
        "\u2060", ""
    )


@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        "![x](http://evil.example/p.png)",
        "[![x](http://a.b/c)](http://d.e/f)",
        "[a](javascript:alert(1))",
        "[a]: http://evil.example",
        "[a][b] and [b]",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<!-- gone --> <?php ?> </div>",
        "<http://evil.example> <a@evil.example>",
        "&lt;script&gt; &#60;b&#62; AT&T; &copy;",
        "\\[a](b) \\<b> \\\\ \\",
        "# heading",
        "> quote",
        "- item",
        "+ item",
        "* item",
        "1. item",
        "2) item",
        "1.",
        "---",
        "***",
        "___",
        "===",
        "~~~ code",
        "``` code",
        "    code",
        "`code` and ``code``",
        "*a* **b** ***c*** _d_ __e__ snake_case _x_y_",
        "~~gone~~ ~gone~ ~$25 and ~$30",
        "one\n\n# two\n- three\r\n| a | b |\n|---|---|",
        "tab\tand\x1b[31m\x00nul",
        "a\ud800b",
    ],
)
def test_a_text_of_the_corpus_is_words_and_nothing_else(text: str) -> None:
    kinds, said = kinds_and_text(shown(text))
    assert kinds == set()
    for character in "\x00\x1b":
        text = text.replace(character, " ")
    assert said == " ".join(text.replace("\ud800", "?").split())
    kinds, said = kinds_and_text(f"- {shown(text)}")
    assert kinds == {"bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"}


@settings(max_examples=400)
@given(st.text(alphabet="[]()!<>&;#*_`~$\\:/ab1 .-+=@|\"'x\n", max_size=24))
def test_any_text_is_shown_as_it_is_and_read_back(text: str) -> None:
    words = " ".join(text.split())
    assert kinds_and_text(shown(text)) == (set(), words)
    assert said(f"Said: {shown(text)}") == f"Said: {words}".strip()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("It rose 3.5% [E026, E030], see E041–43.", "It rose 3.5% [E026, E030], see E041–43."),
        ("a < b & c > d; snake_case, 1:2, e.g. (x)", "a < b & c > d; snake_case, 1:2, e.g. (x)"),
        ("see http://a.b/c, www.a.b, a@b.c", "see http:\u2060//a.b/c, www\u2060.a.b, a\u2060@b.c"),
        ("$5 \\(x\\)", "$5 &#92;(x&#92;)"),
    ],
)
def test_most_of_a_text_stays_readable_as_it_is(text: str, told: str) -> None:
    assert shown(text) == told


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://a.b/c?d=e&f=g_h#i", " — https://a.b/c?d=e&f=g_h#i"),
        ("https://a.b/<b>(c)[d]*e*", " — https://a.b/%3Cb%3E%28c%29%5Bd%5D%2Ae%2A"),
        ("https://a.b/\n\n# c", " — https://a.b/%0A%0A#%20c"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        (None, ""),
    ],
)
def test_an_address_is_a_page_or_not_shown(client: OpenAI, server: Server, url: str | None, told: str) -> None:
    citation = Citation("E026", EVIL, None, url)
    server.answerer.says = [replace(WHOLE, sentences=(sentence(EVIL, "E026"),), citations=(citation,))]
    content = ask(client).choices[0].message.content
    assert content.endswith(f"\n- E026 — {shown(EVIL)}{told}")
    assert " [E026]\n\nSources:\n" in content
    kinds, _ = kinds_and_text(content)
    assert not kinds & {"image", "link_open", "html_inline", "html_block", "code_inline", "strong_open"}


def test_what_an_abstention_names_is_words_too(client: OpenAI, server: Server) -> None:
    hits = (Hit(passage(EVIL, "E026"), 1.0, 1),)
    server.answerer.says = [replace(NONE, reason=EVIL, hits=hits)]
    kinds, said = kinds_and_text(ask(client).choices[0].message.content)
    assert kinds <= {"bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "softbreak"}
    assert said.count(EVIL) == 2
