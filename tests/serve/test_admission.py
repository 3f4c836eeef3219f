"""More questions than can be answered, over real sockets."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from fakes import one_episode
from live import eventually, live
from rag.answer.answerer import Answerer
from rag.assemble import Service
from rag.corpus.markers import DEFAULT_PATTERN
from rag.ports import Retriever
from rag.records import Event
from rag.serve.admission import cores
from rag.serve.app import create_app
from rag.serve.server import listen

QUESTION = "do random tokens put in at the same places bring a gain in E026"
CHAT = {"model": "podcast-rag", "messages": [{"role": "user", "content": QUESTION}]}
WAITING = 1


@dataclass
class Held:
    """An answerer that works only once it is let."""

    inner: Answerer
    let: threading.Event = field(default_factory=threading.Event)
    working: int = 0
    examples: int = 0

    def ask(self, *arguments: Any, **options: Any) -> Any:
        self.examples += 1
        return self.inner.ask(*arguments, **options)  # of the examples on the first page

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Event]:
        self.working += 1
        assert self.let.wait(10)
        yield from self.inner.stream(*arguments, **options)


@dataclass(frozen=True)
class Full:
    """A server with every place taken, and whoever has one."""

    url: str
    answerer: Held
    pool: ThreadPoolExecutor

    def held(self) -> int:
        return int(httpx.get(f"{self.url}/metrics").text.partition("\nrag_questions_held ")[2].partition(".")[0])

    def ask(self) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/ask", json={"question": QUESTION}, timeout=20)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Full]:
    answerer = Held(one_episode(tmp_path, estimating=False))
    library: Any = answerer.inner._library
    service = Service(library, cast(Retriever, None), cast(Answerer, answerer), DEFAULT_PATTERN)
    with (
        live(create_app(lambda: replace(service), waiting=WAITING)) as url,
        ThreadPoolExecutor(cores() + WAITING) as pool,
    ):
        try:
            eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
            server = Full(url, answerer, pool)
            yield server
        finally:
            answerer.let.set()


def fill(full: Full, places: int) -> list[Any]:
    asked = [full.pool.submit(full.ask) for _ in range(places)]
    eventually(lambda: full.held() == places)
    return asked


def test_what_comes_beyond_the_places_is_sent_away_at_once_and_those_who_have_one_are_answered(full: Full) -> None:
    asked = fill(full, cores() + WAITING)
    eventually(lambda: full.answerer.working == cores())
    for path, body in (
        ("/v1/ask", {"question": QUESTION}),
        ("/v1/ask", {"question": QUESTION, "stream": True}),
        ("/v1/search", {"query": QUESTION}),
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "stream": True}),
    ):
        refused = httpx.post(full.url + path, json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), path
        assert "ask again in a moment" in refused.text
    assert full.ask().headers["content-type"] == "application/problem+json"
    for path in ("/healthz", "/readyz", "/metrics", "/v1/episodes", "/"):
        assert httpx.get(full.url + path).status_code == 200, path
    measures = httpx.get(f"{full.url}/metrics").text
    assert "# TYPE rag_questions_shed_total counter\nrag_questions_shed_total 6.0\n" in measures
    assert f"rag_http_requests_in_flight {cores() + WAITING + 1}.0" in measures  # the last one is its own
    full.answerer.let.set()
    assert [response.result().status_code for response in asked] == [200] * len(asked)
    assert full.held() == 0
    eventually(lambda: "rag_http_requests_in_flight 1.0" in httpx.get(f"{full.url}/metrics").text)
    assert full.ask().status_code == 200


def test_a_browser_is_shown_a_page_that_tries_again(full: Full) -> None:
    fill(full, cores() + WAITING)
    page = httpx.get(f"{full.url}/", params={"q": QUESTION}, headers={"accept": "text/html"})
    assert (page.status_code, page.headers["retry-after"]) == (503, "2")
    assert "Too much is asked at once" in page.text


def test_the_examples_of_the_first_page_wait_for_a_core_in_one_place_for_all_its_readers(full: Full) -> None:
    fill(full, cores())
    with ThreadPoolExecutor(3) as pool:
        pages = [pool.submit(httpx.get, full.url, timeout=20) for _ in range(3)]
        eventually(lambda: full.held() == cores() + 1)
        assert full.answerer.examples == 0
        full.answerer.let.set()
        assert all("For example" in page.result().text for page in pages)
    assert full.answerer.examples == 1


def test_the_first_page_comes_without_examples_where_every_place_is_taken_and_sends_nobody_away(full: Full) -> None:
    fill(full, cores() + WAITING)
    assert "For example" not in httpx.get(full.url).text
    assert "rag_questions_shed_total 0.0" in httpx.get(f"{full.url}/metrics").text
    full.answerer.let.set()
    eventually(lambda: "For example" in httpx.get(full.url).text)


def test_examples_that_fail_leave_the_first_page_without_them(full: Full) -> None:
    full.answerer.inner = cast(Answerer, None)
    page = httpx.get(full.url, headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "For example" not in page.text
    assert full.held() == 0


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_one_who_stops_waiting_gives_the_place_up(full: Full, more: dict[str, bool]) -> None:
    fill(full, cores())
    body = {"question": QUESTION, **more}
    with closing(httpx.Client(timeout=0.5)) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{full.url}/v1/ask", json=body)
    eventually(lambda: full.held() == cores())
    assert full.answerer.working <= cores()


def test_a_question_that_fails_gives_its_place_back(full: Full) -> None:
    full.answerer.let.set()
    full.answerer.inner = cast(Answerer, None)
    for _ in range(cores() + WAITING + 1):
        assert full.ask().status_code == 500
    assert full.held() == 0


def test_the_pieces_of_a_response_are_sent_without_delay() -> None:
    async def nodelay() -> int:
        made: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted_socket = writer.get_extra_info("socket")
            made.set_result(accepted_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen("127.0.0.1", 0)
        async with await asyncio.start_server(accepted, sock=listening):
            with socket.create_connection(listening.getsockname()):
                return await made

    assert asyncio.run(nodelay())
