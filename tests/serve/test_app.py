"""The HTTP edge, over a real library and a retriever and answerer that count words."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from pydantic import BaseModel

from rag.answer.answerer import Answerer
from rag.assemble import Service
from rag.corpus.markers import DEFAULT_PATTERN
from rag.corpus.split import SplitValues, split
from rag.errors import IndexUnusable
from rag.index.library import IndexLibrary, write_library
from rag.records import (
    Answer,
    AnswerSentence,
    Citation,
    Document,
    Event,
    Evidence,
    Filters,
    Found,
    Hit,
    IndexInfo,
    Paragraph,
    Question,
    Ranking,
)
from rag.search.query import understand
from rag.serve.app import create_app
from rag.serve.edge import MAX_BODY, MAX_CONVERSATION
from rag.serve.models import AnswerOut, DocumentOut, EpisodeOut, EpisodesOut, SearchOut


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def document(id: str, text: str, **changes: Any) -> Document:
    values = {"kind": "review", "title": f"Title of {id}", "paragraphs": (Paragraph(0, len(text)),)}
    return Document(id=id, text=text, **{**values, **changes})


DOCUMENTS = [
    document("episodes/E026", "The training run cost $25.", kind="episode", episode="E026", date="2026-05-01"),
    document("reviews/rl", "Calibration explains the gain E026.", topics=("RL",), date="2026-06-01"),
    document("reviews/vision", "Patches carry the picture E030.", topics=("Vision",)),
]


class WordRetriever:
    name = "words"

    def __init__(self, library: IndexLibrary) -> None:
        self._library = library

    def retrieve(self, question: Question, k: int) -> Ranking:
        if "explode" in question.text:
            raise RuntimeError("secret internals")
        rows = self._library.select(question.filters)
        passages = [self._library.passage(row) for row in (range(len(self._library)) if rows is None else rows)]
        scored = [(float(len(words(question.text) & words(p.text))), p) for p in passages]
        best = sorted(((s, p) for s, p in scored if s), key=lambda sp: (-sp[0], sp[1].id))[:k]
        return tuple(Hit(p, s, rank, ("words",)) for rank, (s, p) in enumerate(best, start=1))


class FirstSentence:
    def __init__(self, library: IndexLibrary, retriever: WordRetriever) -> None:
        self._library, self._retriever = library, retriever
        self.threads: set[int] = set()

    def stream(self, text: str, k: int = 10, filters: Filters = Filters(), **_: Any) -> Iterator[Event]:
        answer = self.ask(text, k, filters)
        yield Found(answer.question, answer.hits, self._library.info)
        yield from answer.sentences
        yield answer

    def ask(self, text: str, k: int = 10, filters: Filters = Filters()) -> Answer:
        self.threads.add(threading.get_ident())
        question = understand(text, self._library.episodes(), filters)
        hits = self._retriever.retrieve(question, k)
        if not hits:
            return Answer(question, (), "the corpus does not say", (), (), self._library.info, {})
        p, s = hits[0].passage, hits[0].passage.sentences[0]
        evidence = Evidence(p.document, p.title, "", s.start, s.end, s.text, s.episodes, s.attribution, 1.0)
        citation = Citation(s.episodes[0], p.title, p.document, None)
        return Answer(question, (AnswerSentence(s.text, (evidence,)),), None, hits, (citation,), self._library.info, {})


@pytest.fixture
def service(tmp_path: Path) -> Service:
    passages = sorted((p for d in DOCUMENTS for p in split(d, SplitValues())), key=lambda p: p.id)
    write_library(DOCUMENTS, passages, tmp_path)
    library = IndexLibrary(tmp_path, IndexInfo("g1", len(passages), "words"))
    retriever = WordRetriever(library)
    return Service(library, retriever, cast(Answerer, FirstSentence(library, retriever)), DEFAULT_PATTERN)


class Client:
    """Requests to an application from outside its event loop."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._app, self._portal = app, portal

    def __call__(self, method: str, path: str, **values: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **values)

        return self._portal.call(send)

    def loop_thread(self) -> int:
        return self._portal.call(threading.get_ident)

    def settled(self) -> httpx.Response:
        for _ in range(500):
            response = self("GET", "/readyz")
            if "retry-after" not in response.headers:
                return response
            time.sleep(0.01)
        raise AssertionError("the index is still loading")

    def generation(self) -> str | None:
        response = self("GET", "/readyz")
        return response.json()["index"]["generation"] if response.status_code == 200 else None


@contextmanager
def serving(open_service: Callable[[], Service], changed: Callable[[], object] = lambda: None) -> Iterator[Client]:
    app = create_app(open_service, changed)
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        stack.enter_context(portal.wrap_async_context_manager(app.router.lifespan_context(app)))
        yield Client(app, portal)


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with serving(lambda: service) as client:
        assert client.settled().status_code == 200
        yield client


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    value: dict[str, Any] = response.json()
    assert value["status"] == status
    assert value["type"]
    assert value["title"]
    assert value["detail"]
    return value


def test_ask_answers_with_evidence_off_the_event_loop(client: Client, service: Service) -> None:
    response = client("POST", "/v1/ask", json={"question": "what explains calibration"})
    assert response.status_code == 200
    value = response.json()
    assert value["question"] == "what explains calibration"
    assert value["sentences"][0]["citations"] == ["E026"]
    quoted = value["sentences"][0]["evidence"][0]
    assert quoted["document"] == "reviews/rl"
    assert DOCUMENTS[1].text[quoted["start"] : quoted["end"]] == quoted["quote"]
    assert value["index"] == {"generation": "g1", "passages": 3, "encoder": "words"}
    threads = cast(FirstSentence, service.answerer).threads
    assert threads
    assert client.loop_thread() not in threads


def test_an_abstention_is_an_answer(client: Client) -> None:
    value = client("POST", "/v1/ask", json={"question": "zebra"}).json()
    assert value["abstained"]
    assert value["reason"] == "the corpus does not say"


def found(client: Client, **body: Any) -> list[str]:
    response = client("POST", "/v1/search", json={"query": "the", **body})
    assert response.status_code == 200, response.text
    return [hit["document"] for hit in response.json()["hits"]]


def test_search_honours_k_and_every_filter(client: Client) -> None:
    assert found(client) == ["episodes/E026", "reviews/rl", "reviews/vision"]
    assert found(client, filters=None, k=1) == ["episodes/E026"]
    assert found(client, k=None) == ["episodes/E026", "reviews/rl", "reviews/vision"]
    assert found(client, filters={"kinds": ["review"]}) == ["reviews/rl", "reviews/vision"]
    assert found(client, filters={"topics": ["vision"]}) == ["reviews/vision"]
    assert found(client, filters={"episodes": ["e030"]}) == ["reviews/vision"]
    assert found(client, filters={"since": "2026-05-02"}) == ["reviews/rl"]
    assert found(client, filters={"until": "2026-05-01"}) == ["episodes/E026"]


def test_without_k_the_settings_say_how_many(service: Service) -> None:
    with serving(lambda: replace(service, k=2)) as client:
        assert client.settled().status_code == 200
        assert found(client) == ["episodes/E026", "reviews/rl"]
        assert found(client, k=1) == ["episodes/E026"]


def test_an_id_scheme_may_be_lower_case(service: Service) -> None:
    library = cast(IndexLibrary, SimpleNamespace(episodes=lambda: ["ep-26"]))
    assert replace(service, library=library).known(Filters(episodes=("EP-26",))) == Filters(episodes=("ep-26",))


def test_an_episode_nobody_knows_is_named(client: Client) -> None:
    for path, text in (("/v1/ask", "question"), ("/v1/search", "query")):
        response = client("POST", path, json={text: "cost", "filters": {"episodes": ["e026", "E999"]}})
        assert problem(response, 400)["detail"] == "the corpus has no episode E999"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"question": ""}, "question"),
        ({"question": "x" * 1001}, "question"),
        ({"question": None}, "question"),
        ({"colour": "red"}, "colour"),
        ({"k": 0}, "k"),
        ({"k": 101}, "k"),
        ({"k": True}, "k"),
        ({"filters": {"speaker": ["x"]}}, "filters.speaker"),
        ({"filters": {"since": "yesterday"}}, "filters.since"),
        ({"filters": {"until": "2026-02-30"}}, "filters.until"),
        ({"filters": {"until": 0}}, "filters.until"),
    ],
)
def test_a_bad_body_is_422_and_names_the_field(client: Client, change: dict[str, Any], field: str) -> None:
    value = problem(client("POST", "/v1/ask", json={"question": "cost", **change}), 422)
    assert [e["field"] for e in value["errors"]] == [f"body.{field}"]


def test_the_limits_themselves_are_allowed(client: Client) -> None:
    assert client("POST", "/v1/ask", json={"question": "x" * 1000, "k": 100}).status_code == 200
    assert client("POST", "/v1/search", json={"query": "x", "k": 1}).status_code == 200


def test_what_only_the_search_can_refuse_is_422_too(client: Client) -> None:
    assert "no words" in problem(client("POST", "/v1/ask", json={"question": "?!"}), 422)["detail"]
    assert "empty" in problem(client("POST", "/v1/search", json={"query": "  "}), 422)["detail"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"question": "\\ud800"}', b'{"\\ud800": 1}'])
def test_what_is_no_question_is_422(client: Client, body: bytes) -> None:
    problem(client("POST", "/v1/ask", content=body, headers={"content-type": "application/json"}), 422)


def test_documents_and_episodes(client: Client) -> None:
    value = client("GET", "/v1/documents/reviews/rl").json()
    assert set(value) == {"id", "kind", "title", "text", "metadata", "sentences"}
    assert (value["id"], value["text"]) == ("reviews/rl", DOCUMENTS[1].text)
    assert value["sentences"][0]["episodes"] == ["E026"]

    value = client("GET", "/v1/episodes/e026").json()
    assert value["id"] == "episodes/E026"
    assert [(s["document"], s["attribution"]) for s in value["cited_by"]] == [("reviews/rl", "explicit")]
    mentioned = client("GET", "/v1/episodes/E030").json()
    assert (mentioned["id"], mentioned["text"], mentioned["sentences"]) == ("E030", "", [])
    assert [s["document"] for s in mentioned["cited_by"]] == ["reviews/vision"]

    listed = client("GET", "/v1/episodes").json()["episodes"]
    assert [(e["id"], e["document"]) for e in listed] == [("E026", "episodes/E026"), ("E030", None)]


def test_what_is_not_there_is_404_and_a_wrong_method_405(client: Client) -> None:
    assert "reviews/none" in problem(client("GET", "/v1/documents/reviews/none"), 404)["detail"]
    assert "E999" in problem(client("GET", "/v1/episodes/E999"), 404)["detail"]
    problem(client("GET", "/nowhere"), 404)
    refused = client("GET", "/v1/ask")
    problem(refused, 405)
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 64])
def test_a_request_id_is_echoed(client: Client, given: str) -> None:
    assert client("GET", "/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "é", "a;b"])
def test_another_request_id_is_replaced(client: Client, given: str) -> None:
    headers = {"X-Request-ID": given.encode()}
    ids = {client("GET", "/nowhere", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)


def test_an_unforeseen_error_is_500_without_internals(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    response = client("POST", "/v1/ask", json={"question": "explode"}, headers={"X-Request-ID": "r-1"})
    problem(response, 500)
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "r-1"
    assert "secret internals" in caplog.text


def test_a_body_above_64_kib_is_413_declared_or_not(client: Client) -> None:
    body = json.dumps({"query": "cost"}).encode()
    headers = {"content-type": "application/json"}
    exact = body + b" " * (MAX_BODY - len(body))
    assert client("POST", "/v1/search", content=exact, headers=headers).status_code == 200
    problem(client("POST", "/v1/search", content=exact + b" ", headers=headers), 413)

    async def chunks(*parts: bytes) -> Any:
        for part in parts:
            yield part

    assert client("POST", "/v1/search", content=chunks(exact[:9], exact[9:]), headers=headers).status_code == 200
    refused = client("POST", "/v1/search", content=chunks(exact, b" "), headers=headers)
    problem(refused, 413)
    assert refused.headers["x-request-id"]


def test_a_conversation_within_its_limits_is_not_too_large(client: Client) -> None:
    history = [{"question": "q" * 1000, "answer": "a" * 8000}] * 20
    assert client("POST", "/v1/ask", json={"question": "cost", "history": history}).status_code == 200
    problem(client("POST", "/v1/ask", content=b" " * (MAX_CONVERSATION + 1)), 413)


def test_a_body_that_does_not_arrive_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.serve.edge.BODY_SECONDS", 0.05)

    async def chunks() -> Any:
        yield b'{"question"'
        await anyio.sleep(5)

    problem(client("POST", "/v1/ask", content=chunks(), headers={"content-type": "application/json"}), 408)


def test_ready_once_the_index_is_loaded_and_healthy_before(service: Service) -> None:
    gate = threading.Event()

    def slow() -> Service:
        gate.wait(10)
        return service

    with serving(slow) as client:
        try:
            assert client("GET", "/healthz").status_code == 200
            assert "loading" in problem(client("GET", "/readyz"), 503)["detail"]
            problem(client("POST", "/v1/ask", json={"question": "cost"}), 503)
        finally:
            gate.set()
        ready = client.settled()
        assert ready.status_code == 200
        assert ready.json()["index"] == {"generation": "g1", "passages": 3, "encoder": "words"}


def of_generation(service: Service, name: str) -> Service:
    library = copy(service.library)
    library.info = replace(library.info, generation=name)
    return replace(service, library=library)


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.serve.state.LOOK_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
def test_a_new_index_is_served_and_the_old_one_until_then(service: Service) -> None:
    current, gate, threads = ["g1"], threading.Event(), set[int]()

    def open_service() -> Service:
        threads.add(threading.get_ident())
        opening = current[0]
        assert opening == "g1" or gate.wait(10)
        return of_generation(service, opening)

    with serving(open_service, lambda: current[0]) as client:
        eventually(lambda: client.generation() == "g1")
        current[0] = "g2"
        time.sleep(0.1)
        assert client.generation() == "g1"
        assert found(client, k=1) == ["episodes/E026"]
        gate.set()
        eventually(lambda: client.generation() == "g2")
        assert client.loop_thread() not in threads


@pytest.mark.usefixtures("impatient")
def test_a_new_index_that_does_not_open_leaves_the_old_one(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    current = ["g1"]

    def open_service() -> Service:
        if current[0] == "bad":
            raise IndexUnusable("passages.jsonl is damaged")
        return of_generation(service, current[0])

    with serving(open_service, lambda: current[0]) as client:
        eventually(lambda: client.generation() == "g1")
        current[0] = "bad"
        eventually(lambda: "the index before still answers: passages.jsonl is damaged" in caplog.text)
        time.sleep(0.1)
        assert client.generation() == "g1"
        assert caplog.text.count("damaged") == 1
        current[0] = "g3"
        eventually(lambda: client.generation() == "g3")


@pytest.mark.usefixtures("impatient")
def test_what_is_found_damaged_once_it_is_read_whole_answers_no_more_until_another_is_there(service: Service) -> None:
    current, opened = ["bad"], []

    def check() -> None:
        if current[0] == "bad":
            raise IndexUnusable("vectors.npy is damaged; mend it with `rag index --rebuild`")

    def open_service() -> Service:
        opened.append(current[0])
        return replace(of_generation(service, current[0]), check=check)

    with serving(open_service, lambda: current[0]) as client:
        eventually(lambda: "damaged" in client("GET", "/readyz").text)
        time.sleep(0.1)
        asked = problem(client("POST", "/v1/ask", json={"question": "what explains calibration"}), 503)
        assert "vectors.npy is damaged" in asked["detail"]
        assert opened == ["bad"]
        current[0] = "good"
        eventually(lambda: client.generation() == "good")


@pytest.mark.usefixtures("impatient")
def test_opening_is_tried_again_after_it_failed(service: Service) -> None:
    tries = iter([IndexUnusable("no index; build it with `rag index`"), OSError("too many open files")])

    def open_service() -> Service:
        if error := next(tries, None):
            raise error
        return service

    with serving(open_service) as client:
        eventually(lambda: client.generation() == "g1")


@pytest.mark.usefixtures("impatient")
def test_an_index_that_has_not_changed_is_opened_once(service: Service) -> None:
    opened = []

    def open_service() -> Service:
        opened.append(1)
        return service

    with serving(open_service) as client:
        eventually(lambda: client.generation() == "g1")
        time.sleep(0.1)
    assert len(opened) == 1


def test_an_unusable_index_is_503_with_its_message() -> None:
    def broken() -> Service:
        raise IndexUnusable("index/ was built with another encoder; build it with `rag index`")

    with serving(broken) as client:
        assert "`rag index`" in problem(client.settled(), 503)["detail"]
        assert "`rag index`" in problem(client("POST", "/v1/search", json={"query": "cost"}), 503)["detail"]
        assert client("GET", "/healthz").status_code == 200


def test_an_index_that_fails_unforeseen_is_503_without_internals() -> None:
    def broken() -> Service:
        raise OSError("/secret/path")

    with serving(broken) as client:
        assert "secret" not in problem(client.settled(), 503)["detail"]


def test_metrics_count_by_route_and_belong_to_one_app(client: Client, service: Service) -> None:
    for name in ("rl", "vision"):
        client("GET", f"/v1/documents/reviews/{name}")
    client("GET", "/v1/documents/none")
    client("BREW", "/nowhere")
    text = client("GET", "/metrics").text
    route = 'method="GET",route="/v1/documents/{id:path}"'
    assert f'rag_http_requests_total{{{route},status="200"}} 2.0' in text
    assert f'rag_http_requests_total{{{route},status="404"}} 1.0' in text
    assert f"rag_http_request_seconds_count{{{route}}} 3.0" in text
    assert 'rag_http_requests_total{method="OTHER",route="unmatched",status="404"} 1.0' in text
    with serving(lambda: service) as other:
        assert "documents" not in other("GET", "/metrics").text


def test_the_schema_names_every_route(client: Client) -> None:
    paths = client("GET", "/openapi.json").json()["paths"]
    assert {"/v1/ask", "/v1/search", "/v1/episodes", "/v1/episodes/{id}", "/healthz", "/readyz"} <= set(paths)


SNAPSHOT = Path(__file__).with_name("openapi.json")


def test_the_openapi_description_is_the_one_agreed(service: Service) -> None:
    """A change here is a change of the API: write the file anew from `create_app(...).openapi()` and say so."""
    found = create_app(lambda: service).openapi()
    assert {name: found[name] for name in ("paths", "components")} == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("method", "path", "body", "model"),
    [
        ("POST", "/v1/ask", {"question": "what explains calibration"}, AnswerOut),
        ("POST", "/v1/ask", {"question": "zebra"}, AnswerOut),
        ("POST", "/v1/search", {"query": "calibration", "neighbours": 2}, SearchOut),
        ("GET", "/v1/episodes", None, EpisodesOut),
        ("GET", "/v1/episodes/E026", None, EpisodeOut),
        ("GET", "/v1/episodes/E030", None, EpisodeOut),
        ("GET", "/v1/documents/reviews/rl", None, DocumentOut),
    ],
)
def test_what_is_answered_has_the_shape_described(
    client: Client, method: str, path: str, body: object, model: type[BaseModel]
) -> None:
    model.model_validate(client(method, path, json=body).json())
