"""Files of an index that is open, changed under whoever answers from it."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from faults.conftest import Record
from faults.forks import Forks, be_plain
from faults.serving import Server
from faults.table import normal
from faults.tiny import ANSWER, QUESTION, write_corpus
from rag.assemble import Service, open_service
from rag.errors import IndexUnusable
from rag.index.store import IndexFolder
from rag.settings import Settings

ABSTAINED = "The corpus does not say"


def after(index: Path, name: str, change: Callable[[Path], object]) -> str:
    """What is answered by a process that has opened the index before one of its files changes, or what ended it."""
    folder, _ = IndexFolder(index).current()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        try:
            service = open_service(Settings(index=index))
            change(folder / name)
            os.write(write, answered(service).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if code == 0 else signal.Signals(-code).name


def answered(service: Service) -> str:
    """The answer, that there is none, or why."""
    try:
        found = service.answerer.ask(QUESTION)
    except IndexUnusable as error:
        return str(error)
    return " ".join(sentence.text for sentence in found.sentences) or ABSTAINED


def renamed_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    other.replace(path)


def test_files_replaced_or_removed_under_an_open_index(built: Path, tmp_path: Path, record: Record) -> None:
    changes: dict[str, Callable[[Path], None]] = {"another renamed over it": renamed_over, "removed": Path.unlink}
    for what, change in changes.items():
        seen = set[str]()
        for name in IndexFolder(built).current()[1].files:
            seen.add(after(shutil.copytree(built, tmp_path / "index"), name, change))
            shutil.rmtree(tmp_path / "index")
        assert seen == {ANSWER}
        record(
            f"a file {what}",
            "each file of an index that is open",
            sees="nothing",
            lost="nothing, until it is opened",
            served="the same answer",
        )


def writable(path: Path) -> Path:
    """For whoever is not root, who may not write to it as it is."""
    path.chmod(0o644)
    return path


def zeros(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def test_files_that_become_zeros_under_an_open_index(built: Path, tmp_path: Path, record: Record) -> None:
    """Never another answer than the right one, or none."""
    seen = set[str]()
    for name in IndexFolder(built).current()[1].files:
        index = shutil.copytree(built, tmp_path / "index")
        seen.add(normal(after(index, name, lambda path: zeros(writable(path))), index))
        shutil.rmtree(index)
    refusals = {told for told in seen if told.startswith("INDEX/generations/GENERATION/")}
    assert {ANSWER, ABSTAINED} < seen == refusals | {ANSWER, ABSTAINED}
    assert {told.split("/")[3].split()[0] for told in refusals} == {"bm25", "documents.jsonl", "passages.jsonl"}
    record(
        "a file overwritten with zeros in place",
        "each file of an index that is open",
        sees="that FILE cannot be read, with the mend *or* that the corpus does not say *or* nothing",
        lost="answers, until it is opened again: then it is refused by name",
        served="the same answer, where it does not need the file, or none",
    )


def test_files_that_someone_writes_to_in_place(built: Path, record: Record) -> None:
    """No file of an index is to be written to once it is published; root may none the less."""

    def write_to_all(manifest: Path) -> None:
        be_plain()
        for path in (manifest, *(manifest.parent / name for name in IndexFolder(built).current()[1].files)):
            with pytest.raises(PermissionError):
                zeros(path)

    assert after(built, "manifest.json", write_to_all) == ANSWER
    record(
        "a file written to in place, by whoever is not root",
        "each file of an index that is open",
        sees="whoever writes: Permission denied",
        lost="nothing",
        served="the same answer",
    )


def test_a_file_cut_in_place_under_an_open_index(
    forks: Forks, built: Path, fresh: Callable[[], Path], tmp_path: Path, record: Record
) -> None:
    """No build does this, nor may anyone but root; root copying over an index in place does, as `rsync --inplace`."""
    seen = set[str]()
    for name in ("dense.faiss", "keys.npy", "vectors.npy"):
        seen.add(after(fresh(), name, lambda path: os.truncate(writable(path), 0)))
    index = fresh()
    with Server(index, tmp_path) as server:
        server.start()
        server.takes_up(index)  # who reads it whole only now says that it is damaged, and does not end
        os.truncate(writable(IndexFolder(index).current()[0] / "vectors.npy"), 0)
        with pytest.raises(httpx.TransportError):
            server.ask()
        seen.add(server.ended())
        server.start(ready=503)
        told = normal(server.refusal("vectors.npy is damaged"), index)
        corpus = write_corpus(tmp_path / "corpus")
        assert forks.run("--index", index, "index", "--corpus", corpus).code == 0
        server.takes_up(index)
        assert server.answer() == ANSWER
    assert seen == {"SIGBUS"}
    record(
        "a file cut in place, which only root may do",
        "a mapped file of an index that is open, and of `rag serve`",
        sees=f"the connection breaks off: SIGBUS ends the process; started again, it answers {told}",
        lost="the process, until it is started again, as systemd does; then the index, until `rag index`",
        served="nothing",
    )
