"""`rag index --watch`: what changes in a folder is built."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from live import eventually, live
from rag.assemble import build_index, index_token, open_service
from rag.cli import main
from rag.errors import CorpusError, IndexAway, IndexBusy, IndexUnusable, RagError, SettingsError, UserError
from rag.index.build import BuildReport
from rag.index.encode import silent
from rag.index.store import IndexFolder
from rag.serve.app import create_app
from rag.settings import Settings
from rag.watch import changes, follow

ASKED = {"question": "What does the walrus cost?"}
WALRUS = "The walrus costs forty dollars E001.\n"


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


@pytest.mark.parametrize("error", [CorpusError("a.md", 3, "a mistyped key", "mend it"), UserError("no document here")])
def test_what_cannot_be_read_is_said_and_tried_again_after_the_next_change(error: RagError) -> None:
    said: list[str] = []
    build, left = scripted(error, None, error, None)
    follow(["saved", "half saved", "saved"], build, said.append)
    assert left == []
    assert said == [f"not built: {error}"] * 2


@pytest.mark.parametrize("kind", [IndexBusy, IndexAway])
def test_another_build_or_an_engine_that_is_away_is_waited_for_and_said_once(kind: type[RagError]) -> None:
    said: list[str] = []
    waited: list[float] = []
    build, left = scripted(kind("another build"), kind("another build"), None)
    follow([], build, said.append, waited.append)
    assert left == []
    assert (said, len(waited)) == (["waiting: another build"], 2)


@pytest.mark.parametrize("error", [RuntimeError("no"), SettingsError("no such model"), IndexUnusable("damaged")])
def test_what_no_change_of_a_document_mends_ends_it(error: Exception) -> None:
    build, _ = scripted(error)
    with pytest.raises(type(error)):
        follow(["a change"], build, pytest.fail)


class Following:
    """A folder that is followed in a thread: how often it changed, and what was said."""

    def __init__(self, corpus: Path, index: Path) -> None:
        self.corpus, self.said, self.count, self.ended = corpus, list[str](), 0, False
        self.slow = threading.Event()
        self.slow.set()
        self._changes = changes(corpus, index, self.said.append)
        self._thread = threading.Thread(target=self._pull)
        self._thread.start()

    def _pull(self) -> None:
        for _ in self._changes:
            if self.ended:
                return
            self.count += 1
            self.slow.wait(20)

    def end(self) -> None:
        self.ended = True
        self.slow.set()
        if not self.corpus.exists():
            self.corpus.mkdir()
        eventually(self._poked)

    def _poked(self) -> bool:
        top = self.corpus if self.corpus.is_dir() else self.corpus.parent
        (top / "a.md").write_text(f"the end {time.monotonic()}")
        self._thread.join(0.2)
        return not self._thread.is_alive()

    def changed(self) -> None:
        """Once, and not once more."""
        before, self.count = self.count, 0
        assert before == 0
        eventually(lambda: self.count > 0)
        self.quiet()
        assert self.count == 1
        self.count = 0

    def quiet(self) -> None:
        before = self.count
        time.sleep(1.0)
        assert self.count == before


@contextmanager
def followed(corpus: Path, index: Path) -> Iterator[Following]:
    following = Following(corpus, index)
    try:
        yield following
    finally:
        following.end()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("node_modules/corpus/a.md", "node_modules/corpus/reviews/r.md"):  # the name of the folder is no matter
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(WALRUS)
    return tmp_path / "node_modules" / "corpus"


def test_a_burst_is_one_change_and_what_changes_during_a_build_is_another(corpus: Path) -> None:
    with followed(corpus, corpus / "index") as following:
        for n in range(20):
            (corpus / f"{n}.md").write_text("x")
        following.changed()
        following.slow.clear()  # a build that takes long
        (corpus / "a.md").write_text("y")
        eventually(lambda: following.count == 1)
        for text in ("z", "zz"):
            (corpus / "a.md").write_text(text)
            time.sleep(0.1)
        following.count = 0
        following.slow.set()
        eventually(lambda: following.count == 1)
        following.quiet()


def test_what_is_never_read_is_no_change(corpus: Path) -> None:
    index = corpus / "index"
    with followed(corpus, index) as following:
        (index / "generations").mkdir(parents=True)
        (corpus / ".git").mkdir()
        names = (".hidden.md", ".a.md.swp", "a.md~", ".#a.md", "#a.md#", "4913", "README.md", "x.png", ".git/a.md")
        for name in (*names, "index/a.md", "index/generations/passages.jsonl"):
            (corpus / name).write_text("x")
            following.quiet() if name == "4913" else None
            (corpus / name).unlink()
        following.quiet()
        assert following.count == 0
        (corpus / "a.md").write_text("x")
        following.changed()


def test_an_index_around_the_corpus_hides_no_change(corpus: Path) -> None:
    with followed(corpus, corpus.parent) as following:
        (corpus / "a.md").write_text("x")
        following.changed()


def test_files_and_folders_that_come_go_or_are_renamed_are_changes(corpus: Path) -> None:
    with followed(corpus, corpus / "index") as following:
        (corpus / "a.md").rename(corpus / "b.md")
        following.changed()
        (corpus / "reviews").rename(corpus.parent / "away")
        following.changed()
        (corpus.parent / "away").rename(corpus / "reviews")
        following.changed()
        (corpus / "reviews" / "r.md").write_text("in a folder that was moved")
        following.changed()
        (corpus / ".saved").write_text("as editors save")
        (corpus / ".saved").replace(corpus / "b.md")
        following.changed()
        (corpus / "b.md").unlink()
        following.changed()


def remade(corpus: Path) -> None:
    shutil.rmtree(corpus)
    corpus.mkdir()
    (corpus / "a.md").write_text("x")


def swapped(corpus: Path) -> None:
    shutil.copytree(corpus, corpus.parent / "new")
    corpus.rename(corpus.parent / "old")
    (corpus.parent / "new").rename(corpus)


@pytest.mark.parametrize("put", [remade, swapped])
def test_a_folder_put_in_the_place_of_the_old_one_is_followed(corpus: Path, put: Callable[[Path], None]) -> None:
    with followed(corpus, corpus / "index") as following:
        put(corpus)
        following.changed()
        (corpus / "a.md").write_text("later")
        following.changed()


def test_a_link_that_leads_elsewhere_is_followed_there(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "second")
    link = tmp_path / "link"
    link.symlink_to(corpus)
    with followed(link, tmp_path / "index") as following:
        (tmp_path / "next").symlink_to(tmp_path / "second")
        (tmp_path / "next").replace(link)
        following.changed()
        (tmp_path / "second" / "a.md").write_text("later")
        following.changed()


def test_a_folder_that_goes_away_is_said_once_and_followed_when_it_is_back(corpus: Path) -> None:
    with followed(corpus, corpus / "index") as following:
        corpus.rename(corpus.parent / "away")
        eventually(lambda: bool(following.said))
        following.quiet()
        assert following.said == [f"{corpus} is gone; the index stays as it is until it is back"]
        (corpus.parent / "away").rename(corpus)
        eventually(lambda: following.count > 0)
        following.quiet()
        following.count = 0
        (corpus / "a.md").write_text("later")
        following.changed()
        assert len(following.said) == 1


def test_a_lone_file_is_followed_however_it_is_saved(corpus: Path) -> None:
    file = corpus / "a.md"
    with followed(file, corpus / "index") as following:
        (corpus / "other.md").write_text("x")
        following.quiet()
        assert following.count == 0
        for n in range(2):
            (corpus / "saved").write_text(f"x{n}")
            (corpus / "saved").replace(file)
            following.changed()
        file.write_text("in place")
        following.changed()


def test_a_folder_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        changes(tmp_path / "none", tmp_path / "index", pytest.fail)


def test_without_watchfiles_it_is_said_what_to_install(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(UserError, match=r"podcast-rag\[watch\]"):
        changes(corpus, corpus / "index", pytest.fail)


def test_a_folder_that_the_system_refuses_to_watch_is_one_line(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> Iterator[object]:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr("watchfiles.watch", refused)
    with pytest.raises(RagError, match=r"^.*corpus cannot be watched \(OS file watch limit reached.*POLLING=true$"):
        changes(corpus, corpus / "index", pytest.fail)


def test_only_the_first_build_is_one_from_scratch_and_each_is_a_line_of_json(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew: list[bool] = []

    def build(chosen: Settings, *, rebuild: bool, on_bad: Callable[[CorpusError], None], **_: object) -> BuildReport:
        anew.append(rebuild)
        on_bad(CorpusError("a.md", 1, "empty", "write it"))
        if len(anew) == 1:
            raise UserError("none of its documents can be read")
        return BuildReport("g", len(anew), 1, 1, 0, True, 0.5)

    monkeypatch.setattr("rag.assemble.build_index", build)
    monkeypatch.setattr("rag.watch.changes", lambda *_: ["one", "two", "three"])
    monkeypatch.setattr("rag.cli.until_stopped", nullcontext)
    done = CliRunner().invoke(main, ["index", "--corpus", str(corpus), "--watch", "--rebuild", "--skip-bad", "--json"])
    assert done.exit_code == 0
    assert anew == [True, True, False, False]  # the first one came to nothing
    assert [json.loads(line)["documents"] for line in done.stdout.splitlines()] == [2, 3, 4]
    assert done.stderr.count("skipped a.md:1: empty; write it\n") == 4


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, whose encoder need not be exported again."""
    pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")
    folder = tmp_path_factory.mktemp("donor")
    (folder / "a.md").write_text(WALRUS)
    built(Settings(corpus=folder, index=folder / "index"))
    return folder / "index"


@pytest.fixture
def settings(donor: Path, tmp_path: Path) -> Settings:
    """A corpus of one document whose index lies within it."""
    corpus = tmp_path / "served"
    corpus.mkdir()
    (corpus / "a.md").write_text(WALRUS)
    shutil.copytree(donor, corpus / "index")
    return Settings(corpus=corpus, index=corpus / "index")


def built(settings: Settings) -> str:
    report = build_index(settings, rebuild=False, progress=silent, say=lambda _: None, on_bad=None)
    return report.generation


def test_an_index_within_its_corpus_is_no_document(settings: Settings) -> None:
    assert built(settings) == built(settings)
    (settings.corpus / "b.md").write_text("The ferry costs nine dollars E002.\n")
    built(settings)
    assert len({passage.document for passage in open_service(settings).library.all_passages()}) == 2


def test_no_request_is_dropped_while_new_generations_are_taken_up(settings: Settings) -> None:
    first = built(settings)
    app = create_app(lambda: open_service(settings), lambda: index_token(settings))
    answered: list[tuple[str, str]] = []
    done = threading.Event()
    with live(app) as url:
        eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200, 30)

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=30) as client:
                while not done.is_set():
                    assert len(answered) < 2000
                    answer = client.post("/v1/ask", json=ASKED)
                    found = answer.json()
                    assert answer.status_code == 200, found
                    answered.append((found["answer"], found["index"]["generation"]))
                    time.sleep(0.02)

        with ThreadPoolExecutor(2) as pool:
            askers = [pool.submit(ask) for _ in range(2)]
            published = [first]
            for n in range(2):
                (settings.corpus / "b.md").write_text(f"The ferry costs {n} pounds E002.\n")
                published.append(built(settings))
                eventually(lambda: published[-1] in {generation for _, generation in answered}, 30)
            done.set()
            for asker in askers:
                asker.result(30)
    assert len(set(published)) == 3
    assert len(answered) >= 50
    assert {answer for answer, _ in answered} == {"The walrus costs forty dollars. [E001]"}
    assert [*dict.fromkeys(generation for _, generation in answered)] == published


def test_who_began_before_still_reads_the_generation_that_it_began_with(settings: Settings) -> None:
    (settings.corpus / "b.md").write_text("The ferry costs nine dollars E002.\n")
    first = built(settings)
    service = open_service(settings)
    for n in range(3):  # the second one sweeps away the files of the first
        (settings.corpus / "b.md").write_text(f"The ferry costs {n} pounds E002.\n")
        built(settings)
    assert not (settings.index / "generations" / first).exists()
    answer = service.answerer.ask("What does the ferry cost?")
    assert [sentence.text for sentence in answer.sentences] == ["The ferry costs nine dollars."]
    assert answer.index is not None
    assert answer.index.generation == first
    assert {service.library.document(hit.passage.document).text for hit in answer.hits} == {
        WALRUS,
        "The ferry costs nine dollars E002.\n",
    }


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_folder_is_followed_until_it_is_stopped(settings: Settings, stop: signal.Signals) -> None:
    folder = IndexFolder(settings.index)
    command = ["index", "--corpus", str(settings.corpus), "--watch", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "rag", "--index", str(settings.index), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        try:
            first = json.loads(watching.stdout.readline())
            (settings.corpus / "b.md").write_bytes(b"The ferry costs \xff")  # somebody is still saving it
            assert re.match(r"not built: .*b\.md:1: byte 0xff", watching.stderr.readline())
            assert folder.current()[1].generation == first["generation"]
            (settings.corpus / "b.md").write_text("The ferry costs nine dollars E002.\n")
            second = json.loads(watching.stdout.readline())
            assert folder.checked()[1].generation == second["generation"] != first["generation"]
        finally:
            watching.send_signal(stop)
        left = watching.communicate(timeout=20)
    assert (watching.returncode, *left) == (0, "", "")
    counted = [[report[name] for name in ("documents", "reused", "encoded")] for report in (first, second)]
    assert counted == [[1, 1, 0], [2, 1, 1]]
    assert not list(settings.index.glob(".building-*"))


def test_a_stop_before_the_first_build_ends_it_well(settings: Settings) -> None:
    command = [sys.executable, "-m", "rag", "--index", str(settings.index), "index", "--corpus", str(settings.corpus)]
    with (
        IndexFolder(settings.index).writing(),
        subprocess.Popen([*command, "--watch"], stderr=subprocess.PIPE, text=True) as watching,
    ):
        assert watching.stderr is not None
        assert watching.stderr.readline().startswith("waiting: another build is writing")
        watching.send_signal(signal.SIGTERM)
        assert (watching.wait(20), watching.stderr.read()) == (0, "")
