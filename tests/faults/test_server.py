"""A server that is killed, again and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
from httpx_sse import connect_sse

from endpoint import endpoint, hangs
from faults.conftest import Record
from faults.forks import LONGEST, Forks
from faults.serving import Server
from faults.tiny import AFTER, ANSWER, NEW_ANSWER, QUESTION, left, write_corpus


def broken_off(server: Server) -> list[str]:
    """Kill the server in the middle of an answer: the events that its reader had, and how the stream ended."""
    asked, had = {"question": QUESTION, "stream": True, "generator": "llm"}, list[str]()
    with httpx.Client(timeout=LONGEST) as client, connect_sse(client, "POST", f"{server.url}/v1/ask", json=asked) as s:
        try:
            for event in s.iter_sse():
                had.append(event.event)
                server.kill()
        except httpx.RemoteProtocolError:
            had.append("no more: the connection breaks off")
    return had


def test_a_server_killed_again_and_again(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record
) -> None:
    index, corpus = fresh(), write_corpus(tmp_path / "corpus", AFTER)
    before = sorted(index.rglob("*"))
    with (
        endpoint(hangs("Random")) as model,
        Server(index, tmp_path, environment={"RAG_LLM_BASE_URL": model.url, "RAG_LLM_MODEL": "m"}) as server,
    ):
        server.start()
        seen = ", ".join(broken_off(server))
        server.start(ready=None)  # its index may be half open
        server.kill()
        server.start()
        assert server.answer() == ANSWER
        assert sorted(index.rglob("*")) == before
        server.kill()
        assert forks.run("--index", index, "index", "--corpus", corpus).code == 0
        server.start()
        served = server.answer()
        server.kill()
        lost = [*left(index), *server.left()]
    assert "Traceback" not in server.log
    record(
        "kill -9",
        "`rag serve`, as it opens its index, idle, and in the middle of a streamed answer",
        sees=seen,
        lost=", ".join(lost) or "the answers under way; the next server starts at once on the same index and port",
        served={NEW_ANSWER: "the index, and what the next build makes of it"}.get(served, served),
    )
