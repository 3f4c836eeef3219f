"""The server's log: one line an event, with its request's ID, and without what was asked."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from fakes import service_of
from live import eventually, live
from rag.answer.answerer import Answerer
from rag.errors import IndexUnusable
from rag.records import Document, Paragraph
from rag.serve.app import create_app
from rag.serve.log import Format, Lines, path_of

ASKED = "marmalade"
TEXT = "Contrastive training on 50 problems costs $25 E026."
DOCUMENTS = [Document("reviews/r", "review", "R", TEXT, (Paragraph(0, len(TEXT)),))]


@contextmanager
def logged(format: Format, questions: bool = False) -> Iterator[io.StringIO]:
    """What is logged as `rag serve` would, in place of the process's own log."""
    written, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(written)
    handler.setFormatter(Lines(format, questions))
    levels = {name: logging.getLogger(name).level for name in ("rag", "uvicorn", "uvicorn.access")}
    root.addHandler(handler)
    for name in levels:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)  # `rag serve` has it off
    try:
        yield written
    finally:
        root.removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def everything_asked(url: str) -> None:
    """The same words by every way in: answers, streams, chat, pages, and requests that are refused."""
    asked = {"question": f"what does {ASKED} cost?"}
    with httpx.Client(base_url=url, timeout=30) as client:
        client.post("/v1/ask", json=asked, headers={"x-request-id": "mine"})
        client.post("/v1/ask", json=asked | {"stream": True})
        client.post("/v1/search", json={"query": ASKED})
        model = client.get("/v1/models").json()["data"][0]["id"]
        client.post("/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": ASKED}]})
        client.get("/", params={"q": ASKED}, headers={"accept": "text/html"})
        client.post("/v1/ask", json={ASKED: ASKED})
        client.post("/v1/ask", content=ASKED.encode())
        client.get("/v1/episodes", params={"nothing": ASKED})


@pytest.mark.parametrize("format", ["json", "text"])
def test_no_line_holds_what_was_asked(format: Format, tmp_path: Path) -> None:
    service = service_of(DOCUMENTS, tmp_path / "index")
    with logged(format) as written, live(create_app(lambda: service)) as url:
        everything_asked(url)
    assert "/v1/ask" in written.getvalue()
    assert ASKED not in written.getvalue()


def test_what_was_asked_is_there_where_it_is_wanted(tmp_path: Path) -> None:
    service = service_of(DOCUMENTS, tmp_path / "index")
    app = create_app(lambda: service, log_questions=True)
    with logged("json", questions=True) as written, live(app) as url:
        everything_asked(url)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert any(ASKED in line.get("body", "") for line in lines if line.get("route") == "/v1/ask")
    assert any(ASKED in line.get("query", "") for line in lines if line.get("route") == "/")


def test_a_request_is_a_json_object_on_one_line_under_its_id(tmp_path: Path) -> None:
    service = service_of(DOCUMENTS, tmp_path / "index")
    with logged("json") as written, live(create_app(lambda: service)) as url:
        everything_asked(url)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    [mine] = [line for line in lines if line.get("request_id") == "mine"]
    assert (mine["route"], mine["method"], mine["status"], mine["level"]) == ("/v1/ask", "POST", 200, "INFO")
    assert mine["milliseconds"] > 0
    assert mine["time"].endswith("+00:00")
    requests = [line for line in lines if "route" in line]
    assert len({line["request_id"] for line in requests}) == len(requests)


def test_an_error_is_told_by_its_kind_and_place_and_not_by_its_message(tmp_path: Path) -> None:
    service = service_of(DOCUMENTS, tmp_path / "index")

    class Breaks:
        name = "breaks"

        def retrieve(self, *_: object) -> None:
            raise ValueError(f"no such thing as {ASKED}")

    broken = replace(service, retriever=Breaks())  # type: ignore[arg-type]
    with logged("json") as written, live(create_app(lambda: broken)) as url:
        response = httpx.post(f"{url}/v1/search", json={"query": "x"}, headers={"x-request-id": "mine"})
        assert response.status_code == 500
    failed = [json.loads(line) for line in written.getvalue().splitlines() if "exception" in json.loads(line)]
    assert {line["request_id"] for line in failed} == {"mine"}
    assert all("ValueError" in line["exception"] and "retrieve" in line["exception"] for line in failed)
    assert ASKED not in written.getvalue()


class Fragile:
    """An answerer that logs from the thread that it works in, and repeats the question where it breaks."""

    def stream(self, text: str, *_: object, **__: object) -> Iterator[Any]:
        logging.getLogger("rag.answer").info("at work")
        try:
            raise ValueError(f"cannot read {text!r}")
        except ValueError as error:
            raise ExceptionGroup(text, [RuntimeError(text)]) from error


def test_an_answer_that_breaks_tells_no_question_by_any_way_in(tmp_path: Path) -> None:
    service = replace(service_of(DOCUMENTS, tmp_path / "index"), answerer=cast("Answerer", Fragile()))
    question = f"what does {ASKED} cost?"
    chat = {"model": "podcast-rag", "messages": [{"role": "user", "content": question}]}
    with logged("json") as written, live(create_app(lambda: service)) as url, httpx.Client(base_url=url) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        ids = {
            client.post("/v1/ask", json={"question": question}).headers["x-request-id"],
            client.post("/v1/ask", json={"question": question, "stream": True}).headers["x-request-id"],
            client.post("/v1/chat/completions", json=chat).headers["x-request-id"],
            client.post("/v1/chat/completions", json=chat | {"stream": True}).headers["x-request-id"],
            client.get("/", params={"q": question}, headers={"accept": "text/html"}).headers["x-request-id"],
        }
    assert ASKED not in written.getvalue()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    at_work = {line["request_id"] for line in lines if line["message"] == "at work"}
    told = {line["request_id"]: line["exception"] for line in lines if "exception" in line}
    assert at_work == told.keys() == ids
    for exception in told.values():
        assert all(kind in exception for kind in ("ValueError", "ExceptionGroup", "RuntimeError", "in stream"))


def test_outside_a_request_a_library_s_error_is_told_without_its_message() -> None:
    error = RuntimeError(ASKED)
    record = logging.LogRecord("asyncio", logging.ERROR, __file__, 1, "a task failed", (), (RuntimeError, error, None))
    assert "RuntimeError" in Lines("json").format(record)
    assert ASKED not in Lines("json").format(record)


def test_a_process_that_is_configured_writes_every_line_as_json() -> None:
    code = (
        "import logging, warnings; from rag.serve.log import configure; configure('json')\n"
        "logging.getLogger('uvicorn.error').info('up'); warnings.warn('old'); logging.getLogger('faiss').info('no')"
    )
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("INFO", "uvicorn.error"),
        ("WARNING", "py.warnings"),
    ]


def test_what_happens_outside_a_request_is_told_whole() -> None:
    record = logging.LogRecord("rag.serve", logging.ERROR, __file__, 1, "no index", (), None)
    try:
        raise IndexUnusable("columns.npz is damaged")
    except IndexUnusable as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = json.loads(Lines("json").format(record))
    assert "columns.npz is damaged" in line["exception"]
    assert "request_id" not in line


def test_a_path_cannot_break_its_line() -> None:
    assert path_of("/a\n\x1b[31m/ü") == "/a%0A%1B%5B31m/%C3%BC"
    record = logging.LogRecord("rag.serve", logging.INFO, __file__, 1, "GET /a\nb\x1b", (), None)
    assert len(Lines("text").format(record).splitlines()) == 1
    assert "\x1b" not in Lines("text").format(record)
