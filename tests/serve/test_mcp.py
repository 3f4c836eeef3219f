"""The Model Context Protocol, by its own client: over stdio in a process of its own, and over HTTP.

As a script, `test_mcp.py FOLDER` serves the same over stdio.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import httpx2
import mcp_types as types
import pytest
import uvicorn
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from fakes import HashedTokens
from rag.answer.answerer import Answerer
from rag.assemble import Service
from rag.corpus.markers import DEFAULT_PATTERN
from rag.corpus.split import SplitValues, split
from rag.errors import IndexUnusable, UserError
from rag.index.library import IndexLibrary, write_library
from rag.index.sparse import RankBM25Retriever
from rag.ports import WholeLibrary
from rag.records import Document, Filters, IndexInfo, Message, Paragraph, Question, Ranking
from rag.search.query import understand
from rag.serve.keys import add_key
from rag.serve.mcp import MAX_BODY, MAX_TURN, MAX_TURNS, UNFORESEEN, create_app, create_server, run_http, run_stdio
from rag.wire import answer_json, document_json, episode_json, search_json

SCRIPT = ["-W", "error", __file__]
WITH_FAKES = {"PYTHONPATH": str(Path(__file__).parents[1])}


def document(id: str, text: str, **changes: Any) -> Document:
    values = {"kind": "review", "title": f"Title of {id}", "paragraphs": (Paragraph(0, len(text)),)}
    return Document(id=id, text=text, **{**values, **changes})


COST = "The training run on random tokens cost $25 in total."
DOCUMENTS = [
    document("episodes/E026", COST, kind="episode", episode="E026", date="2026-05-01"),
    document("reviews/rl", "Calibration explains the whole gain of reinforcement learning E026."),
    document("reviews/vision", "Patches carry the picture through the encoder E030."),
    document("reviews/50% of #1? é", "Odd names \x1b[31m are read too.", title="Odd \x1b[31m\udc80 title"),
]


class Words:
    """What BM25 finds; some questions are special."""

    name = "words"

    def __init__(self, inner: RankBM25Retriever) -> None:
        self._inner = inner

    def retrieve(self, question: Question, k: int) -> Ranking:
        if "explode" in question.text:
            raise RuntimeError("secret internals of /secret/path")
        return self._inner.retrieve(question, k)


class Slow:
    """A language model that writes until it is told to stop."""

    name, context = "slow", 4000

    def __init__(self, folder: Path) -> None:
        self.started, self.stopped = folder / "started", folder / "stopped"

    def tokens(self, text: str) -> int:
        return len(text)

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Any:
        return self._pieces(stop)

    def _pieces(self, stop: Callable[[], bool]) -> Iterator[str]:
        self.started.touch()
        until = time.monotonic() + 10
        while not stop() and time.monotonic() < until:
            time.sleep(0.01)
            yield " "
        if stop():
            self.stopped.touch()


def open_service(folder: Path) -> Service:
    """A service over a library that is written anew."""
    passages = sorted((p for d in DOCUMENTS for p in split(d, SplitValues())), key=lambda p: p.id)
    write_library(DOCUMENTS, passages, folder)
    library = IndexLibrary(folder, IndexInfo("g1", len(passages), "hashed"))
    sparse = RankBM25Retriever((p.text for p in passages), library)
    retriever = Words(sparse)
    answerer = Answerer(retriever, HashedTokens(), sparse, library)
    return Service(library, retriever, answerer, DEFAULT_PATTERN, generator=cast(Any, Slow(folder)))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return open_service(tmp_path_factory.mktemp("index"))


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """A server on a free port; its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=partial(server.run, sockets=[bound]))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def url(service: Service) -> Iterator[str]:
    with listening(create_app(lambda: service)) as address:
        yield f"{address}/mcp"


Connect = Callable[[], Any]


@pytest.fixture(params=["auto", "legacy"])
def connect(url: str, request: pytest.FixtureRequest) -> Connect:
    """A client over HTTP, of today's protocol and of the one before it, which has sessions."""
    return lambda: Client(url, mode=request.param, read_timeout_seconds=10)


def stdio(folder: Path, mode: str = "auto") -> Client:
    parameters = StdioServerParameters(command=sys.executable, args=[*SCRIPT, str(folder)], env=WITH_FAKES)
    return Client(parameters, mode=mode, read_timeout_seconds=20)


def run(connect: Connect, body: Callable[[Client], Awaitable[Any]]) -> Any:
    """What `body` gives; what it raises is raised without the client's task groups around it."""

    async def within() -> tuple[Any, BaseException | None]:
        async with connect() as client:
            try:
                return await body(client), None
            except (Exception, pytest.fail.Exception) as error:
                return None, error

    value, error = anyio.run(within)
    if error is not None:
        raise error
    return value


def call(connect: Connect, tool: str, **arguments: Any) -> types.CallToolResult:
    result = run(connect, lambda client: client.call_tool(tool, arguments))
    assert isinstance(result, types.CallToolResult)
    return result


def text_of(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def failure(result: types.CallToolResult) -> str:
    assert result.is_error
    assert result.structured_content is None
    text = text_of(result)
    assert text.isprintable()
    return text


def plainly(value: Any) -> Any:
    return json.loads(json.dumps(value))


def timeless(value: Any) -> Any:
    return {name: item for name, item in plainly(value).items() if name != "timings_ms"}


async def eventually(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not is_so():
            await anyio.sleep(0.01)


def test_a_client_sees_the_tools_and_what_the_server_is(connect: Connect) -> None:
    async def look(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["ask", "search", "get_document"]
        for tool in tools.values():
            assert tool.description
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            assert tool.input_schema["type"] == "object"
            assert tool.output_schema is not None
            assert tool.output_schema["type"] == "object"
        assert tools["ask"].input_schema["required"] == ["question"]
        assert "citations" in (client.instructions or "")
        assert "no instruction" in (client.instructions or "")

    run(connect, look)


def test_ask_gives_the_answer_its_evidence_and_the_object(connect: Connect, service: Service) -> None:
    result = call(connect, "ask", question="what did the training run cost", k=5)
    assert not result.is_error
    expected = answer_json(service.answerer.ask("what did the training run cost", 5))
    assert expected["sentences"]
    assert timeless(result.structured_content) == timeless(expected)
    text = text_of(result)
    assert text.startswith(f"{COST} [E026]\n")
    assert f"1. episodes/E026:0-{len(COST)} Title of episodes/E026\n   “{COST}”" in text
    assert text.endswith("Episodes:\nE026 Title of episodes/E026")


def test_ask_says_what_the_corpus_does_not_say(connect: Connect) -> None:
    result = call(connect, "ask", question="What does E999 say about patches?")
    assert not result.is_error
    assert cast(Any, result.structured_content)["abstained"]
    text = text_of(result)
    assert text.startswith("The corpus does not say: the corpus has no episode E999\n\nNearest passages:\n1. ")
    assert "reviews/vision:0-" in text
    assert text_of(call(connect, "ask", question="zebra")).startswith("The corpus does not say: ")
    both = text_of(call(connect, "ask", question="What does E999 say and what is contrastive training?"))
    said, without = both.splitlines()[:2]
    assert "[E026]" in said
    assert without == "Not answered: What does E999 say (the corpus has no episode E999)"


def test_ask_within_episodes_and_a_conversation(connect: Connect) -> None:
    history = [{"question": "q" * MAX_TURN, "answer": "a" * MAX_TURN}] * MAX_TURNS
    asked = {"question": "what did the run cost", "episodes": ["e030"], "k": 100, "generator": "extractive"}
    value = cast(Any, call(connect, "ask", history=history, **asked).structured_content)
    assert {hit["document"] for hit in value["hits"]} <= {"reviews/vision"}


def test_search_lists_hits(connect: Connect, service: Service) -> None:
    question = understand("the picture", service.library.episodes(), Filters())
    result = call(connect, "search", query="the picture", k=2)
    expected = search_json("the picture", service.retriever.retrieve(question, 2), service.library)
    assert result.structured_content == plainly(expected)
    assert text_of(result).startswith("1. reviews/vision:0-51 [E030] Title of reviews/vision\n   “Patches carry")
    value = cast(Any, call(connect, "search", query="training or reinforcement", episodes=["e026"]).structured_content)
    assert [hit["document"] for hit in value["hits"]] == ["episodes/E026", "reviews/rl"]
    assert text_of(call(connect, "search", query="zebra")) == "Nothing found."


def test_get_document_gives_documents_and_episodes(connect: Connect, service: Service) -> None:
    result = call(connect, "get_document", id="reviews/rl")
    assert result.structured_content == plainly(document_json(DOCUMENTS[1], DEFAULT_PATTERN))
    assert text_of(result) == f"Title of reviews/rl (reviews/rl)\n\n{DOCUMENTS[1].text}"
    for name in ("E026", "e026", "episode 26", "episodes/E026"):
        result = call(connect, "get_document", id=name)
        value = cast(Any, result.structured_content)
        assert value["text"] == COST
        if name != "episodes/E026":
            assert value == plainly(episode_json(service.library, "E026", DEFAULT_PATTERN))
            assert "Cited by (1 sentences):\nreviews/rl:0-" in text_of(result)


def test_what_has_no_utf8_and_control_characters(connect: Connect) -> None:
    result = call(connect, "get_document", id="reviews/50% of #1? é")
    value = cast(Any, result.structured_content)
    assert (value["title"], value["text"]) == ("Odd \x1b[31m? title", DOCUMENTS[3].text)
    assert text_of(result).splitlines()[0] == "Odd [31m title (reviews/50% of #1? é)"


def test_every_document_is_a_resource(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.serve.mcp.PAGE", 3)

    async def look(client: Client) -> None:
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "rag://documents/{+id}"
        first = await client.list_resources()
        assert len(first.resources) == 3
        last = await client.list_resources(cursor=first.next_cursor)
        assert last.next_cursor is None
        listed = {r.name: r for r in (*first.resources, *last.resources)}
        assert list(listed) == sorted(d.id for d in DOCUMENTS)
        assert listed["reviews/rl"].uri == "rag://documents/reviews/rl"
        assert listed["reviews/rl"].title == "Title of reviews/rl"
        assert listed["reviews/50% of #1? é"].title == "Odd [31m title"
        for held in DOCUMENTS:
            (content,) = (await client.read_resource(listed[held.id].uri)).contents
            assert isinstance(content, types.TextResourceContents)
            assert content.mime_type == listed[held.id].mime_type == "text/markdown"
            assert content.text == held.text

    run(connect, look)


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "reviews/../reviews/rl",
    "reviews/none",
    "a\x00b\x1b[31m\n",
    "%2e%2e/x",
    "é" * 900,
]


def test_a_document_that_is_not_there_is_one_line(connect: Connect) -> None:
    async def look(client: Client) -> None:
        for name in HOSTILE:
            assert "no document" in failure(await client.call_tool("get_document", {"id": name}))
            with pytest.raises(MCPError) as caught:
                await client.read_resource(f"rag://documents/{name}")
            assert caught.value.code == types.INVALID_PARAMS
            assert "no document" in caught.value.message
            assert caught.value.message.isprintable()
        for uri in ("file:///etc/passwd", "rag://documents", "rag:documents/reviews/rl", "", "x" * 100_000):
            with pytest.raises(MCPError, match="no resource"):
                await client.read_resource(uri)

    run(connect, look)


def test_errors_of_ours_are_one_line(connect: Connect) -> None:
    async def look(client: Client) -> None:
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("ask", {"question": "x" * 1001}, "the question has 1001 characters, at most 1000 are taken"),
            ("ask", {"question": " "}, "the question is empty"),
            ("ask", {"question": "cost", "episodes": ["e026", "E999"]}, "the corpus has no episode E999"),
            ("search", {"query": "?!"}, "has no words"),
            ("search", {"query": "cost", "episodes": ["\x1b[31m"]}, "the corpus has no episode [31m"),
            ("get_document", {"id": "E026 and E030"}, "'E026 and E030' names E026 and E030; give one"),
        ]
        for tool, arguments, expected in cases:
            assert expected in failure(await client.call_tool(tool, arguments)), arguments

    run(connect, look)


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        ("ask", {}, "question"),
        ("ask", {"question": None}, "question"),
        ("ask", {"question": "cost", "colour": "red"}, "colour"),
        ("ask", {"question": "cost", "k": 0}, "k"),
        ("ask", {"question": "cost", "k": 101}, "k"),
        ("ask", {"question": "cost", "k": True}, "k"),
        ("ask", {"question": "cost", "generator": "oracle"}, "generator"),
        ("ask", {"question": "cost", "episodes": ["E026"] * 101}, "episodes"),
        ("ask", {"question": "cost", "episodes": ["E" * 201]}, "episodes.0"),
        ("ask", {"question": "cost", "history": [{"question": "x"}] * (MAX_TURNS + 1)}, "history"),
        ("ask", {"question": "cost", "history": [{"question": "x" * (MAX_TURN + 1)}]}, "history.0.question"),
        ("ask", {"question": "cost", "history": [{"question": "x", "answer": "x" * 4001}]}, "history.0.answer"),
        ("search", {"query": "cost", "k": "5"}, "k"),
        ("get_document", {"id": "x" * 1001}, "id"),
        ("get_document", {"id": "x", "\x1b[31m\n": 1}, "[31m"),
        ("get_document", {"id": "x", "y" * 50_000: 1}, "yyy"),
    ],
)
def test_a_bad_argument_is_named(service: Service, tool: str, arguments: dict[str, Any], field: str) -> None:
    text = failure(call(lambda: Client(create_server(lambda: service)), tool, **arguments))
    assert text.startswith(field)
    assert len(text) <= 500


def test_an_unknown_tool_is_an_error_of_the_protocol(connect: Connect) -> None:
    with pytest.raises(MCPError, match="no tool 'delete'; there are ask, search, get_document"):
        call(connect, "delete")


def test_what_nobody_foresaw_is_in_the_log_alone(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    assert failure(call(connect, "ask", question="explode")) == UNFORESEEN
    assert failure(call(connect, "search", query="explode")) == UNFORESEEN
    assert "secret internals" in caplog.text


def test_a_broken_library_is_in_the_log_alone(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    broken = replace(service, library=cast(WholeLibrary, BrokenLibrary()))

    async def look(client: Client) -> None:
        for work in (client.list_resources(), client.read_resource("rag://documents/reviews/rl")):
            with pytest.raises(MCPError) as caught:
                await work
            assert (caught.value.code, caught.value.message) == (types.INTERNAL_ERROR, UNFORESEEN)

    run(lambda: Client(create_server(lambda: broken), mode="legacy"), look)
    assert "/secret/path" in caplog.text


class BrokenLibrary:
    info = IndexInfo("g", 1, "e")

    def all_passages(self, *_: object) -> object:
        raise OSError("/secret/path")

    document = all_passages


def test_a_model_that_is_not_there_is_said(service: Service) -> None:
    alone = replace(service, generator=None)
    text = failure(call(lambda: Client(create_server(lambda: alone)), "ask", question="cost", generator="llm"))
    assert "no language model is configured" in text


async def cancelling(client: Client, slow: Slow) -> None:
    """A call is cancelled while a model drafts; meanwhile, others are answered."""
    slow.started.unlink(missing_ok=True)
    slow.stopped.unlink(missing_ok=True)
    async with anyio.create_task_group() as group:
        asked = {"question": "what did the training run cost", "generator": "llm"}
        group.start_soon(partial(client.call_tool, "ask", asked))
        await eventually(slow.started.exists)
        with anyio.fail_after(5):
            assert not (await client.call_tool("search", {"query": "cost"})).is_error
        assert not slow.stopped.exists()
        group.cancel_scope.cancel()
    await eventually(slow.stopped.exists)
    assert not (await client.call_tool("search", {"query": "cost"})).is_error


def test_a_cancelled_call_stops_the_model(connect: Connect, service: Service) -> None:
    run(connect, lambda client: cancelling(client, cast(Slow, service.generator)))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_stdio(tmp_path: Path, service: Service, mode: str) -> None:
    async def look(client: Client) -> None:
        assert len((await client.list_tools()).tools) == 3
        asked = await client.call_tool("ask", {"question": "what did the training run cost"})
        expected = answer_json(service.answerer.ask("what did the training run cost"))
        assert timeless(asked.structured_content) == timeless(expected)
        odd = await client.call_tool("get_document", {"id": "reviews/50% of #1? é"})
        assert cast(Any, odd.structured_content)["title"] == "Odd \x1b[31m? title"
        assert len((await client.list_resources()).resources) == len(DOCUMENTS)
        (content,) = (await client.read_resource("rag://documents/episodes/E026")).contents
        assert cast(types.TextResourceContents, content).text == COST
        assert failure(await client.call_tool("search", {"query": "explode"})) == UNFORESEEN
        assert "no document" in failure(await client.call_tool("get_document", {"id": "../../etc/passwd"}))
        await cancelling(client, Slow(tmp_path))

    run(lambda: stdio(tmp_path, mode), look)


@pytest.mark.parametrize("interrupted", [False, True])
def test_stdout_has_the_protocol_alone_until_stdin_ends_or_an_interrupt(tmp_path: Path, interrupted: bool) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    requests: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "explode"}}},
        {"id": 3, "method": "tools/call", "params": {"name": "ask", "arguments": {"question": "cost of the run"}}},
    ]
    command = [sys.executable, *SCRIPT, str(tmp_path)]
    pipe, env = subprocess.PIPE, os.environ | WITH_FAKES
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for request in requests:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **request}) + "\n")
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(3)]
        if interrupted:
            process.send_signal(signal.SIGINT)
            process.wait(10)
        rest, complaints = process.communicate(timeout=20)
    assert rest == ""
    assert sorted(json.loads(line)["id"] for line in lines) == [1, 2, 3]
    assert process.returncode == (-signal.SIGINT if interrupted else 0)
    assert "printed while opening" in complaints
    assert "secret internals" in complaints


def of_generation(service: Service, name: str) -> Service:
    library = copy(service.library)
    library.info = replace(library.info, generation=name)
    return replace(service, answerer=copy_of(service, library), library=library)


def copy_of(service: Service, library: WholeLibrary) -> Answerer:
    answerer = copy(service.answerer)
    answerer._library = library
    return answerer


def test_calls_wait_for_the_index_and_a_new_one_is_taken_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.serve.state.LOOK_SECONDS", 0.01)
    current, threads, gate = ["g1"], set[int](), threading.Event()

    def opened() -> Service:
        threads.add(threading.get_ident())
        assert gate.wait(10)
        return of_generation(service, current[0])

    async def look(client: Client) -> None:
        async def generation() -> str:
            result = await client.call_tool("ask", {"question": "cost"})
            return str(cast(Any, result.structured_content)["index"]["generation"])

        with anyio.move_on_after(0.1) as waiting:
            await generation()
        assert waiting.cancelled_caught
        gate.set()
        assert await generation() == "g1"
        current[0] = "g2"
        with anyio.fail_after(10):
            while await generation() != "g2":
                await anyio.sleep(0.01)
        assert threading.get_ident() not in threads

    run(lambda: Client(create_server(opened, lambda: current[0])), look)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (IndexUnusable("no index; build it with `rag index`"), "no index; build it with `rag index`"),
        (OSError("/secret/path"), "the index could not be opened"),
    ],
)
def test_an_index_that_does_not_open(error: Exception, expected: str) -> None:
    def broken() -> Service:
        raise error

    async def look(client: Client) -> None:
        text = failure(await client.call_tool("search", {"query": "cost"}))
        assert text.startswith(expected)
        assert "secret" not in text
        with pytest.raises(MCPError, match=expected):
            await client.list_resources()

    run(lambda: Client(create_server(broken)), look)


def test_only_names_of_this_machine_reach_it_over_http(url: str, service: Service) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"accept": "application/json, text/event-stream"}

    def status(at: str, **headers: str) -> int:
        return httpx.post(at, json=body, headers={**accept, **headers}).status_code

    def refused(at: str, host: str, origin: str | None = None) -> int:
        code = status(at, host=host, **({"origin": origin} if origin else {}))
        return code if code in (403, 421) else 0

    assert refused(url, "evil.example") == 421
    assert refused(url, "evil.example:80") == 421
    assert refused(url, "localhost.evil.example") == 421
    assert refused(url, "localhost", "http://evil.example") == 403
    assert refused(url, "localhost", "null") == 403
    assert refused(url, "localhost:80", "http://localhost:6274") == 0
    assert refused(url, "[::1]:9") == 0
    with listening(create_app(lambda: service, host="0.0.0.0", names=["pod.example"])) as address:  # noqa: S104
        assert refused(f"{address}/mcp", "pod.example:8000") == 0
        assert refused(f"{address}/mcp", "0.0.0.0:8000") == 421
        assert refused(f"{address}/mcp", "evil.example") == 421


def test_over_http_keys_and_rates_hold_as_they_do_for_the_api(service: Service, tmp_path: Path) -> None:
    held = {"authorization": f"Bearer {add_key(tmp_path / 'keys', 'ada')}"}
    with listening(create_app(lambda: service, keys=tmp_path / "keys", rate=20)) as address:

        @asynccontextmanager
        async def connect() -> AsyncIterator[Client]:
            async with (
                httpx2.AsyncClient(headers=held) as http,
                Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
            ):
                yield client

        def pinged(**headers: str) -> int:
            json = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            accept = {"accept": "application/json, text/event-stream"}
            return httpx.post(f"{address}/mcp", json=json, headers=accept | headers).status_code

        assert pinged() == pinged(authorization="Bearer another") == 401
        assert "[E026]" in text_of(call(connect, "ask", question="what did the training run cost"))
        assert 429 in [pinged(**held) for _ in range(20)]


def test_a_body_that_is_too_large_is_refused_over_http(url: str) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    assert httpx.post(url, content=b" " * (MAX_BODY + 1), headers=headers).status_code == 413
    assert httpx.post(url, content=b" " * MAX_BODY, headers=headers).status_code == 400


def test_a_port_that_is_taken_is_said(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="--host or --port"):
        run_http(lambda: service, lambda: None, "127.0.0.1", taken.getsockname()[1])


def test_run_http_serves_and_ends_when_it_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, *SCRIPT, str(tmp_path), str(port)]
    quiet, env = subprocess.DEVNULL, os.environ | WITH_FAKES
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=env) as process:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    with closing(socket.create_connection(("127.0.0.1", port))):
                        break
                except OSError:
                    assert time.monotonic() < until
                    time.sleep(0.05)
            connect = partial(Client, f"http://127.0.0.1:{port}/mcp", read_timeout_seconds=10)
            assert "[E026]" in text_of(call(connect, "ask", question="what did the training run cost"))
        finally:
            process.terminate()
            process.wait(15)


@pytest.mark.parametrize("package", ["mcp", "mcp_types"])
def test_without_the_sdk_it_is_said_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    spec = importlib.util.find_spec("rag.serve.mcp")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(UserError, match=r"pip install 'podcast-rag\[mcp\]'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_http_api_does_not_need_the_sdk() -> None:
    code = "import sys, rag.serve.app; sys.exit(any(n.partition('.')[0] in ('mcp', 'mcp_types') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


if __name__ == "__main__":

    def opening() -> Service:
        print("printed while opening", flush=True)  # noqa: T201
        return open_service(Path(sys.argv[1]))

    if len(sys.argv) > 2:
        run_http(opening, lambda: None, port=int(sys.argv[2]))
    else:
        run_stdio(opening, lambda: None)
