"""`rag index --watch`: what changes in a folder is built."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from live import eventually, live
from rag.assemble import index_token, open_service
from rag.errors import CorpusError, IndexBusy, UserError
from rag.serve.app import create_app
from rag.settings import Settings
from rag.watch import changes, follow


def scripted(*outcomes: Exception | None) -> tuple[Callable[[], None], list[Exception | None]]:
    """A build that comes out as the script has it, and what is left of that."""
    left = list(outcomes)

    def build() -> None:
        outcome = left.pop(0)
        if outcome:
            raise outcome

    return build, left


def test_it_builds_at_once_and_after_every_change() -> None:
    build, left = scripted(None, None, None)
    follow(["one", "two"], build, pytest.fail)
    assert left == []


def test_a_document_that_cannot_be_read_is_said_and_tried_again_after_the_next_change() -> None:
    said: list[str] = []
    build, left = scripted(CorpusError("a.md", 3, "a mistyped key", "mend it"), None)
    follow(["saved again"], build, said.append)
    assert left == []
    assert len(said) == 1
    assert said[0].startswith("not built: a.md")


def test_another_build_is_waited_for_and_said_once() -> None:
    said: list[str] = []
    waited: list[float] = []
    build, left = scripted(IndexBusy("another build"), IndexBusy("another build"), None)
    follow([], build, said.append, waited.append)
    assert left == []
    assert (said, len(waited)) == (["waiting: another build"], 2)


def test_what_nobody_foresaw_ends_it() -> None:
    build, _ = scripted(RuntimeError("no"))
    with pytest.raises(RuntimeError):
        follow([], build, pytest.fail)


def seen(corpus: Path, index: Path) -> tuple[Iterator[object], threading.Event]:
    """Changes as they come, and whether one has."""
    came = threading.Event()
    following = changes(corpus, index)

    def pull() -> None:
        for _ in following:
            came.set()
            return

    threading.Thread(target=pull, daemon=True).start()
    return following, came


def test_hidden_files_an_editor_s_own_and_the_index_itself_are_no_change(tmp_path: Path) -> None:
    _, came = seen(tmp_path, tmp_path / "index")
    (tmp_path / "index").mkdir()
    for name in (".hidden.md", "a.md.swp", "a.md~", ".#a.md", "index/vectors.npy"):
        (tmp_path / name).write_text("x")
    assert not came.wait(1.5)
    (tmp_path / "a.md").write_text("x")
    assert came.wait(10)


def test_a_folder_that_goes_away_is_said(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    following = changes(corpus, tmp_path / "index")
    shutil.rmtree(corpus)
    with pytest.raises(UserError, match="is gone"):
        next(iter(following))


def test_a_folder_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        changes(tmp_path / "none", tmp_path / "index")


def test_a_server_takes_up_what_is_watched_without_a_dropped_request(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.md").write_text("The walrus costs forty dollars E001.\n")
    settings = Settings(corpus=corpus, index=tmp_path / "index")
    command = [sys.executable, "-m", "rag", "index", "--corpus", str(corpus), "--watch", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as watching:
        assert watching.stdout is not None
        try:
            first = json.loads(watching.stdout.readline())
            app = create_app(lambda: open_service(settings), lambda: index_token(settings))
            with live(app) as url, httpx.Client(base_url=url) as client:
                eventually(lambda: client.get("/readyz").status_code == 200)
                (corpus / "b.md").write_text("The ferry costs nine dollars E002.\n")
                second = json.loads(watching.stdout.readline())
                generations = set[str]()

                def taken_up() -> bool:
                    answer = client.post("/v1/ask", json={"question": "What does the walrus cost?"})
                    assert answer.status_code == 200
                    assert "forty dollars" in answer.json()["answer"]
                    generations.add(answer.json()["index"]["generation"])
                    return second["generation"] in generations

                eventually(taken_up)
                assert generations <= {first["generation"], second["generation"]}
        finally:
            watching.send_signal(signal.SIGTERM)
        assert watching.wait(10) == 0
    assert (first["documents"], second["documents"]) == (1, 2)
