"""What becomes of an index in Milvus when Milvus, or who builds it, is killed, stands still or is full."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from faults.tiny import AFTER, ANSWER, BEFORE, NEW_ANSWER, QUESTION, tiny_encoder, write_corpus
from lite import ENVIRONMENT, Lite, settings_for
from live import eventually, live
from rag.assemble import build_index, index_token, open_service
from rag.errors import IndexAway, IndexBusy, IndexUnusable, IndexUnwritable
from rag.index.encode import OnnxEncoder, Progress, silent
from rag.records import Question
from rag.serve.app import create_app
from rag.settings import Settings

pytest.importorskip("pymilvus", reason="the engine milvus needs the extra `milvus`")
pytest.importorskip("milvus_lite", reason="a Milvus is killed here; it has to be our own")

Made = TypeVar("Made")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lite]:
    lite = Lite(tmp_path_factory.mktemp("lite"))
    lite.start()
    yield lite
    lite.kill()


@pytest.fixture
def lite(started: Lite) -> Iterator[Lite]:
    yield started
    if started.process.poll() is not None:
        started.start()


@pytest.fixture
def settings(started: Lite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of an index that serves, while its corpus has an edit that is not built yet."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr("rag.assemble.PATIENCE", 0.0)
    monkeypatch.setattr("rag.index.milvus.client.AGAIN", 0.1)
    chosen = settings_for(started.uri, tmp_path / "index", corpus=write_corpus(tmp_path / "corpus", BEFORE))
    chosen = replace(chosen, milvus=replace(chosen.milvus, timeout=2.0))
    soon(lambda: built(chosen))
    write_corpus(tmp_path / "corpus", AFTER)
    return chosen


def built(settings: Settings, progress: Progress = silent) -> None:
    with tiny_encoder():
        build_index(settings, rebuild=False, progress=progress, say=lambda _: None, on_bad=None)


def answer(settings: Settings) -> str:
    return open_service(settings).answerer.ask(QUESTION).sentences[0].text


def soon(work: Callable[[], Made], seconds: float = 20) -> Made:
    """What work gives, as soon as a Milvus that was started again is found."""
    until = time.monotonic() + seconds
    while True:
        try:
            return work()
        except IndexAway:
            assert time.monotonic() < until
            time.sleep(0.05)


def at(what: str, number: int, then: Callable[[], object]) -> Progress:
    """A Progress that does something before it gives an item of something."""

    def progress(items: Iterable[Any], total: int, name: str) -> Iterator[Any]:
        for place, item in enumerate(items):
            if name == what and place == number:
                then()
            yield item

    return progress


@pytest.fixture
def row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that some are acknowledged when a build ends early."""
    monkeypatch.setattr("rag.index.milvus.tables.ROWS", 1)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is encoded."""
    texts: list[str] = []
    encode = OnnxEncoder.encode

    def counting(self: OnnxEncoder, given: Sequence[str], progress: Progress = silent) -> np.ndarray:
        texts.extend(given)
        return encode(self, given, progress)

    monkeypatch.setattr(OnnxEncoder, "encode", counting)
    return texts


def test_an_edit_costs_what_it_changes(settings: Settings, encoded: list[str]) -> None:
    built(settings)
    assert answer(settings) == NEW_ANSWER
    changed = [text for text in encoded if text != QUESTION]
    assert changed
    assert not {text for text in changed if "yeast" in text.casefold()}
    encoded.clear()
    built(settings)
    assert encoded == []


@pytest.mark.parametrize("what", ["indexing", "encoding (sentence)"])
def test_milvus_killed_while_it_is_written_to_serves_what_served_and_the_build_goes_on(
    what: str, settings: Settings, lite: Lite, encoded: list[str], row_by_row: None
) -> None:
    with pytest.raises(IndexAway, match="does not answer"):
        built(settings, at(what, 2, lite.kill))
    with pytest.raises(IndexAway):
        answer(settings)
    once = list(encoded)
    lite.start()
    assert soon(lambda: answer(settings)) == ANSWER
    encoded.clear()
    built(settings)
    assert answer(settings) == NEW_ANSWER
    assert set(once) & set(encoded) <= {QUESTION}
    open_service(settings).check()


BUILD = """
import json, os, signal, sys
from pathlib import Path
from faults.tiny import tiny_encoder
from rag.assemble import build_index
from rag.records import Question
from rag.settings import read_settings

def progress(items, total, name):
    for place, item in enumerate(items):
        if name == "encoding (sentence)" and place == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

settings = read_settings(None, {}, json.loads(sys.argv[1]))
with tiny_encoder():
    build_index(settings, rebuild=False, progress=progress, say=print, on_bad=None)
"""


def test_a_build_that_is_killed_leaves_what_served_and_the_next_goes_on(settings: Settings, encoded: list[str]) -> None:
    tests = str(Path(__file__).resolve().parents[1])
    paths = {"PYTHONPATH": ":".join([tests, *filter(None, sys.path)])}
    given = json.dumps(to_builtins(settings, enc_hook=str))
    killed = subprocess.run([sys.executable, "-c", BUILD, given], env=paths, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert answer(settings) == ANSWER
    encoded.clear()
    built(settings)
    assert answer(settings) == NEW_ANSWER
    assert not [text for text in encoded if text.startswith("E002\n")]  # its passage was written before
    assert [p.name for p in settings.index.iterdir() if p.name.startswith(".milvus-building")] == []


def test_what_is_there_in_part_is_never_served(settings: Settings, row_by_row: None) -> None:
    token = index_token(settings)
    with pytest.raises(ZeroDivisionError):
        built(settings, at("encoding (sentence)", 2, lambda: 1 // 0))
    assert index_token(settings) == token
    service = open_service(settings)
    texts = {passage.document: passage.text for passage in service.library.all_passages()}
    assert len(texts) == len(BEFORE)
    assert texts["episodes/E002"].startswith(ANSWER)
    hits = service.retriever.retrieve(Question(NEW_ANSWER), 10)
    assert NEW_ANSWER not in " ".join(hit.passage.text for hit in hits)


def test_a_full_disk_is_said_and_the_build_goes_on_once_there_is_room(settings: Settings, lite: Lite) -> None:
    limits = resource.prlimit(lite.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    with pytest.raises(IndexUnwritable, match="does not take what is written"):
        built(settings)
    resource.prlimit(lite.process.pid, resource.RLIMIT_FSIZE, limits)
    assert answer(settings) == ANSWER
    built(settings)
    assert answer(settings) == NEW_ANSWER


def test_rows_that_are_lost_are_found_missing_and_mended(settings: Settings, encoded: list[str]) -> None:
    from pymilvus import MilvusClient

    built(settings)
    client = MilvusClient(settings.milvus.uri)
    (name,) = (n for n in client.list_collections() if n.startswith(settings.milvus.prefix) and n.endswith("_passages"))
    client.delete(name, filter="start == 0")
    with pytest.raises(IndexUnusable, match=r"has 0 rows, wanted 3; mend it with `rag index`"):
        open_service(settings).check()
    encoded.clear()
    built(settings)
    assert encoded == []
    open_service(settings).check()


def test_while_somebody_builds_nobody_else_does(settings: Settings, tmp_path: Path) -> None:
    elsewhere = replace(settings, index=tmp_path / "elsewhere")

    def too() -> None:
        for other in (settings, elsewhere):
            with pytest.raises(IndexBusy):
                built(other)

    built(settings, at("indexing", 0, too))
    assert answer(elsewhere) == NEW_ANSWER


def test_a_server_says_that_milvus_is_away_and_answers_once_it_is_back(
    settings: Settings, lite: Lite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rag.serve.state.LOOK_SECONDS", 0.05)
    caplog.set_level("INFO", "rag")
    lite.kill()
    app = create_app(lambda: open_service(settings), lambda: index_token(settings))
    with live(app) as url, httpx.Client(base_url=url, timeout=20) as client:

        def asked() -> httpx.Response:
            return client.post("/v1/ask", json={"question": QUESTION})

        def answers() -> bool:
            return client.get("/readyz").status_code == 200 and ANSWER in asked().text

        def is_away() -> bool:
            found = [client.get("/readyz"), asked()]
            return all(
                r.status_code == 503 and r.headers.get("retry-after") and "does not answer" in r.json()["detail"]
                for r in found
            )

        eventually(is_away, 20)
        assert "does not answer" in caplog.text
        lite.start()
        eventually(answers, 20)
        caplog.clear()
        lite.kill()
        assert is_away()
        assert "does not answer" in caplog.text
        assert client.get("/healthz").status_code == 200
        lite.start()
        eventually(answers, 20)
        assert "answers again" in caplog.text
        with lite.stopped():
            assert is_away()
        eventually(answers, 20)
        built(settings)
        eventually(lambda: NEW_ANSWER in asked().text, 20)
